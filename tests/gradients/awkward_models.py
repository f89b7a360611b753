"""Models that go out of their way to be awkward, each small enough for one-record autograd."""

from dataclasses import dataclass

import torch
from token_models import Readout
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint


class LanguageModel(nn.Module):
    """The output head is the embedding's table; the loss looks at one position."""

    def __init__(self, bias=True, padding_idx=None):
        super().__init__()
        self.embed = nn.Embedding(7, 5, padding_idx=padding_idx)
        self.mix, self.head = nn.Linear(5, 5), nn.Linear(5, 7, bias=bias)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.mix(self.embed(ids))))[:, 1:].mean(1)


class SharedParameter(nn.Module):
    """Two layers with one weight and a bias each; one of them is called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))) + self.second(x.sin()))


class OwnParameters(nn.Module):
    """Parameters of the root, of a module, of a list and of a dictionary, used in ways that broadcast or do not."""

    class Scale(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.gamma = nn.Parameter(torch.rand(width) + 0.5)

        def forward(self, x):
            return x * self.gamma

    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 5, 6))
        self.scale, self.fc = self.Scale(6), nn.Linear(6, 6)
        self.offsets = nn.ParameterList([torch.randn(6), torch.randn(5, 1)])
        self.mixers = nn.ParameterDict({"inner": torch.randn(6, 6)})
        self.table = nn.Module()
        self.table.values = nn.Parameter(torch.randn(9, 6))
        self.register_buffer("index", torch.tensor([0, 3, 3, 8, 1]))
        self.out = Readout()

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.place
        x = self.scale(self.fc(x)) + self.offsets[0]
        x = torch.tanh(x @ self.mixers["inner"]) * self.offsets[1]
        return self.out(x + self.table.values[self.index])


class Sequences(nn.Module):
    """A transformer encoder with a padding mask, given a tuple of sequences and masks."""

    def __init__(self, batch_first=True, **options):
        super().__init__()
        self.batch_first = batch_first
        options = {"nhead": 2, "dim_feedforward": 12, "dropout": 0.1, **options}
        layer = nn.TransformerEncoderLayer(8, batch_first=batch_first, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x, padding):
        h = x if self.batch_first else x.transpose(0, 1)
        h = self.encoder(h, src_key_padding_mask=padding)
        h = h if self.batch_first else h.transpose(0, 1)
        return self.head(h.masked_fill(padding[:, :, None], 0).mean(1))


class Universal(nn.Module):
    """One encoder layer, applied again and again (Dehghani et al. 2018)."""

    def __init__(self):
        super().__init__()
        self.step, self.out = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), Readout()

    def forward(self, x):
        return self.out(self.step(self.step(self.step(x))))


class Decoder(nn.Module):
    """Cross-attention from a sequence of queries to another sequence; time first, as by default."""

    def __init__(self, batch_first=False):
        super().__init__()
        self.batch_first = batch_first
        self.out = Readout()
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=batch_first), 2)

    def forward(self, queries, memory):
        mask = nn.Transformer.generate_square_subsequent_mask(queries.shape[1], device=queries.device)
        if self.batch_first:
            return self.out(self.decoder(queries, memory, tgt_mask=mask, tgt_is_causal=True))
        h = self.decoder(queries.transpose(0, 1), memory.transpose(0, 1), tgt_mask=mask)
        return self.out(h.transpose(0, 1))


class Reader(nn.Module):
    """A recurrent network over sequences."""

    def __init__(self, kind, batch_first=True, **options):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = kind(5, 4, batch_first=batch_first, **options)
        self.fc, self.out = nn.Linear(4 * (1 + self.rnn.bidirectional), 4), Readout()

    def forward(self, x):
        h = self.fc(self.rnn(x if self.batch_first else x.transpose(0, 1))[0])
        return self.out(h if self.batch_first else h.transpose(0, 1))


class UpAndDown(nn.Module):
    """3d convolution, transposed convolution with all its options, instance norm."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv3d(2, 4, 3, stride=(1, 2, 2), padding=1)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2)
        self.out = Readout()

    def forward(self, x):
        return self.out(self.up(self.norm(torch.tanh(self.down(x)).flatten(1, 2))))


class Modern(nn.Module):
    """RMSNorm, a gated unit, and heads split from one projection used in parts."""

    def __init__(self):
        super().__init__()
        self.norm, self.gate_up, self.down = nn.RMSNorm(6), nn.Linear(6, 16, bias=False), nn.Linear(8, 6, bias=False)
        self.out = Readout()

    def forward(self, x):
        h = self.norm(x)
        gate, up = F.linear(h, self.gate_up.weight[:8]), F.linear(h, self.gate_up.weight[8:])
        return self.out(x + self.down(F.silu(gate) * up))


def parametrized():
    """Weights that are computed from others before they are used."""

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

    square = nn.Linear(6, 6)
    parametrize.register_parametrization(square, "weight", Symmetric())
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(5, 6)),
        nn.Tanh(),
        parametrizations.spectral_norm(nn.Linear(6, 6)),
        nn.Tanh(),
        square,
        nn.utils.weight_norm(nn.Linear(6, 4)),
        Readout(),
    )


class Residual(nn.Module):
    """In-place residual and ReLU around depthwise separable convolutions, with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.deep, self.point = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 4, 1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.stem, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        out = self.norm(self.point(self.deep(x)))
        out += x
        return self.head(self.relu(out).mean((2, 3)))


class Two(nn.Module):
    """Two inputs, one of them whole numbers."""

    def __init__(self):
        super().__init__()
        self.embed, self.fc, self.join = nn.Embedding(5, 4), nn.Linear(6, 4), nn.Bilinear(4, 4, 3)

    def forward(self, numbers, category):
        return self.join(torch.tanh(self.fc(numbers)), self.embed(category))


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


class Tokens(nn.Module):
    """Token ids and a padding mask by name; the answer is an object, as in the libraries that do so."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(9, 8, padding_idx=0), nn.Embedding(5, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.head, self.idle = nn.LayerNorm(8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, ids, mask):
        h = self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device)[None])
        h = self.norm(h + self.attend(h, h, h, key_padding_mask=mask.logical_not(), need_weights=False)[0])
        h = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return Answer(self.head(h), self.idle(h))


class Experts(nn.Module):
    """Every record goes to one expert."""

    def __init__(self):
        super().__init__()
        self.route = nn.Linear(6, 3)
        nn.init.eye_(self.route.weight)
        self.experts = nn.ModuleList(nn.Linear(6, 3) for _ in range(3))

    def forward(self, x):
        score, choice = self.route(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 3)
        for k, expert in enumerate(self.experts):
            who = (choice == k).nonzero().squeeze(1)
            if len(who):
                out = out.index_add(0, who, score[who, None] * expert(x[who]))
        return out


class Pixels(nn.Module):
    """Pixel shuffle, squeeze and excite, PReLU."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.back = nn.Conv2d(2, 8, 3, padding=1), nn.PReLU(2), nn.Conv2d(2, 4, 3, bias=False)
        self.squeeze, self.excite, self.out = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1), Readout()

    def forward(self, x):
        x = self.back(self.act(F.pixel_shuffle(self.conv(x), 2)))
        return self.out(x * torch.sigmoid(self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))))


class Bags(nn.Module):
    """Bags of words."""

    def __init__(self):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(6, 4), Readout()

    def forward(self, ids):
        return self.out(self.bag(ids))


class ChannelNorm(nn.Module):
    """A LayerNorm over the channels of pictures, as in ConvNeXt."""

    class Norm(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.scale = nn.Conv2d(2, 4, 3), self.Norm(4), nn.Parameter(torch.rand(4, 1, 1))
        self.out = Readout()

    def forward(self, x):
        return self.out(self.norm(self.conv(x)) * self.scale)


class Rerun(nn.Module):
    """Activation checkpoints of either kind; attention and normalisation inside."""

    def __init__(self, use_reentrant, times=1):
        super().__init__()
        self.kind, self.times = use_reentrant, times
        self.stem, self.inside, self.norm = nn.Linear(6, 8), nn.Linear(8, 8), nn.LayerNorm(8)
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def body(self, x):
        x = self.norm(torch.tanh(self.inside(x)))
        return x + self.attend(x, x, x)[0]

    def forward(self, x):
        x = self.stem(x)
        for _ in range(self.times):
            x = checkpoint(self.body, x, use_reentrant=self.kind)
        return self.head(x.mean(1))
