"""A Transformer over the layers: one network whose token holds whatever layers it is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.sketches.encoders.network import Network, components

HEADS = 4


class Transformer(Network):
    """The layers' sketches are the sequence, the mean of what comes out is the token (arXiv 2502.02913).

    It is trained to reconstruct the sketches of the layers that it was shown: all, each one alone, random ones. So one
    network serves the joint row and every single layer.

    Args:
        layers: number of layers (L).
        size: numbers of one scaled sketch (d).
        width: numbers in a token, a multiple of 2.
    """

    separate = False

    def __init__(self, layers: int, size: int, width: int) -> None:
        super().__init__()
        model, hidden = 2 * width, 4 * width
        self.embed = nn.Parameter(torch.zeros(layers, size, model))
        self.place = nn.Parameter(torch.zeros(layers, model))
        self.block = EncoderBlock(model)
        self.pools = nn.Parameter(torch.zeros(2, model, width))
        self.decoders = nn.Parameter(torch.zeros(2, layers, width, size))
        self.query = nn.Parameter(torch.zeros(layers, hidden))
        self.unbend_in = nn.Parameter(torch.zeros(width, hidden))
        self.unbend_out = nn.Parameter(torch.zeros(layers, hidden, size))

    @torch.no_grad()
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Principal components: of each layer in one half of the stream, of all layers in the other.

        The block adds nothing yet, and what is pooled is the half that suits the number of layers shown.
        """
        layers, _, size = x.shape
        width = self.pools.shape[-1]
        jointly = x.transpose(0, 1).flatten(1)[None]
        single, joint = components(x, width, generator), components(jointly, width, generator)[0]
        some, all_ = single.shape[-1], joint.shape[-1]
        for weight in (self.embed, self.pools, self.decoders, self.unbend_out):
            weight.zero_()
        self.embed[..., :some] = single
        self.embed[..., width : width + all_] = layers * joint.view(layers, size, -1)
        self.pools[0, :width] = self.pools[1, width:] = torch.eye(width)
        self.decoders[0, :, :some] = single.mT
        self.decoders[1, :, :all_] = joint.view(layers, size, -1).mT
        spread = (jointly[0] @ joint).square().mean(0).sqrt().clamp_min(1e-6)
        self.unbend_in.copy_(torch.randn(self.unbend_in.shape, generator=generator) / width**0.5)
        self.unbend_in[:all_] /= spread[:, None]
        for weight in (self.place, self.query):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
        self.block.start(generator)

    def tokens(self, x: Tensor) -> Tensor:
        """`(L, G, d)` -> `(1 + L, G, width)`."""
        return torch.cat([self._encode(self._sequence(x))[None], self._each(x)])

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Logarithms of the errors of all layers together, of each alone, and of random ones, so that none drowns."""
        layers, batch, _ = x.shape
        some = x[:, : max(1, batch // 8)]
        share = torch.rand(some.shape[1], 1, generator=generator)
        visible = torch.rand(some.shape[1], layers, generator=generator) < share
        visible[visible.sum(1) == 0] = True
        visible = visible.to(x.device)
        shown = self._decode(self._encode(self._sequence(some), visible), visible.sum(1))
        random = ((shown - some).square().mean(-1).T * visible).sum() / visible.sum()
        tiny = 1e-4
        return (self._jointly(x) + tiny).log() + (self._alone(some) + tiny).log().mean() + 0.5 * (random + tiny).log()

    def missed(self, x: Tensor) -> Tensor:
        """Mean squared error of all layers together and of each alone, `(1 + L,)`."""
        return torch.cat([self._jointly(x)[None], self._alone(x)])

    def _jointly(self, x: Tensor) -> Tensor:
        count = torch.tensor([len(x)], device=x.device)
        return (self._decode(self._encode(self._sequence(x)), count) - x).square().mean()

    def _alone(self, x: Tensor) -> Tensor:
        z = self._each(x)
        bent = F.gelu(z @ self.unbend_in + self.query[:, None])
        return (z @ self.decoders[0] + bent @ self.unbend_out - x).square().mean((1, 2))

    def _sequence(self, x: Tensor) -> Tensor:
        """`(L, G, d)` -> `(G, L, model)`."""
        return (x @ self.embed + self.place[:, None]).transpose(0, 1)

    def _each(self, x: Tensor) -> Tensor:
        """Tokens of single layers, `(L, G, width)`: sequences of length one."""
        stream = (x @ self.embed + self.place[:, None]).flatten(0, 1)[:, None]
        found: Tensor = self.block(stream)[:, 0] @ self.pools[0]
        return found.view(*x.shape[:2], -1)

    def _encode(self, stream: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens `(G, width)` of sequences `(G, L, model)`, of which those `visible`, `(G, L)`, are looked at."""
        stream = self.block(stream, visible)
        shown = torch.ones(stream.shape[:2], device=stream.device) if visible is None else visible.to(stream)
        count = shown.sum(1, keepdim=True)
        pooled = ((shown / count)[:, None] @ stream)[:, 0]
        few = self._few(count)
        return few * (pooled @ self.pools[0]) + (1.0 - few) * (pooled @ self.pools[1])

    def _decode(self, z: Tensor, count: Tensor) -> Tensor:
        """All layers `(L, G, d)` from tokens `(G, width)` of so many layers, `(G,)` or `(1,)`."""
        few = self._few(count)[:, None]
        bent = F.gelu(z @ self.unbend_in + self.query[:, None])
        return (few * z) @ self.decoders[0] + ((1.0 - few) * z) @ self.decoders[1] + bent @ self.unbend_out

    def _few(self, count: Tensor) -> Tensor:
        """1 for one layer, 0 for all; the number of layers is known to encoder and decoder, and tells of no record."""
        layers = len(self.place)
        if layers == 1:
            return torch.ones_like(count, dtype=self.place.dtype)
        return (1.0 / count - 1.0 / layers) / (1.0 - 1.0 / layers)


class EncoderBlock(nn.Module):
    """Self-attention and one hidden layer, each after a norm and added to what came in (Vaswani et al. 2017)."""

    def __init__(self, model: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(model) for _ in range(2))
        self.mix_in = nn.Parameter(torch.zeros(model, 3 * model))
        self.mix_out = nn.Parameter(torch.zeros(model, model))
        self.bend_in = nn.Parameter(torch.zeros(model, 2 * model))
        self.bend_out = nn.Parameter(torch.zeros(2 * model, model))

    def start(self, generator: torch.Generator) -> None:
        """Random on the way in, zero on the way out."""
        for norm in self.norms:
            assert isinstance(norm, nn.LayerNorm)
            norm.reset_parameters()
        for weight in (self.mix_in, self.bend_in):
            weight.copy_(torch.randn(weight.shape, generator=generator) / len(weight) ** 0.5)
        for weight in (self.mix_out, self.bend_out):
            weight.zero_()

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """`(G, S, model)`; nobody looks at what is not visible."""
        q, k, v = (self.norms[0](x) @ self.mix_in).unflatten(-1, (3, HEADS, -1)).unbind(2)
        mask = None if visible is None else visible[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        x = x + mixed.transpose(1, 2).flatten(2) @ self.mix_out
        bent: Tensor = F.gelu(self.norms[1](x) @ self.bend_in) @ self.bend_out
        return x + bent
