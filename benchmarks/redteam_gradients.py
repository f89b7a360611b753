"""Gradients as the attacker sees them: sums over a batch in float32, one matrix a layer; clipped and noisy, or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from redteam_defended import defended
from redteam_world import Array, Index, World, forward
from torch import Tensor, nn


@dataclass(frozen=True)
class Block:
    """The parameters of one layer as one matrix: weights flattened behind their first dimension, then the bias.

    Attributes:
        name: of the layer.
        module: the layer.
        parameters: its own parameters, in the order of their columns.
        bias: the column of the bias; None where it has none.
    """

    name: str
    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    bias: int | None

    def matrix(self, grads: list[Tensor]) -> Tensor:
        """The gradients of the parameters side by side."""
        return torch.cat([grad.reshape(len(grad), -1) for grad in grads], 1)


def blocks_of(model: nn.Module) -> list[Block]:
    """Every layer with trainable parameters of its own."""
    found = []
    for name, module in model.named_modules():
        mine = [p for p in module.parameters(recurse=False) if p.requires_grad]
        sizes = {len(p) for p in mine}
        for size in sorted(sizes):
            some = tuple(p for p in mine if len(p) == size)
            columns = [p.numel() // len(p) for p in some]
            last = sum(columns) - 1 if len(some) > 1 and columns[-1] == 1 else None
            found.append(Block(name, module, some, last))
    return found


@dataclass(frozen=True)
class Eye:
    """Reads gradients of a world's batches.

    Attributes:
        world: model and records.
        blocks: its layers.
        clip: bound on the norm of every record's whole gradient, or None.
        noise: standard deviation of the noise on every number of the sum.
        defense: what else is done to the sum, see `redteam_defended`.
        update: `local_steps` and `lr` of what is shown in the place of a gradient, where it is an update.
        norms: norm of every record's gradient that was asked for, by record.
    """

    world: World
    blocks: list[Block]
    clip: float | None = None
    noise: float = 0.0
    defense: Mapping[str, Any] = field(default_factory=dict)
    update: Mapping[str, Any] = field(default_factory=dict)
    norms: dict[int, float] = field(default_factory=dict)

    @property
    def processed(self) -> bool:
        """Whether what is shown is no sum."""
        return self.defense.get("name") in ("sign", "prune")

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All of them, block by block."""
        return [p for block in self.blocks for p in block.parameters]

    def batch(self, index: Index, rng: np.random.Generator) -> list[Tensor]:
        """What is seen of a batch: one float32 matrix a layer."""
        x, y = self.world.batch(index)
        if self.update:
            return self._walked(x, y)
        sums = self._matrices(x, y, self.factors(index))
        if not self.noise:
            return defended(sums, self.defense)
        return [one + self.noise * torch.from_numpy(rng.standard_normal(one.shape, np.float32)) for one in sums]

    def factors(self, index: Index) -> Tensor | None:
        """By what clipping multiplies the gradient of each record."""
        if self.clip is None:
            return None
        for record in index.tolist():
            if record not in self.norms:
                x, y = self.world.batch(np.array([record]))
                self.norms[record] = float(torch.cat([m.flatten() for m in self._matrices(x, y)]).norm())
        norms = torch.tensor([self.norms[record] for record in index.tolist()])
        return (self.clip / norms.clamp_min(1e-30)).clamp_max(1.0)

    def _walked(self, x: Any, y: Tensor) -> list[Tensor]:
        """The change of the weights after local steps on the batch's mean gradient, over what one step changes."""
        before, steps, lr = [p.detach().clone() for p in self.parameters], self.update["local_steps"], self.update["lr"]
        for _ in range(steps):
            loss = self.world.loss(forward(self.world.model, x), y).mean()
            grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            with torch.no_grad():
                for p, grad in zip(self.parameters, grads):
                    p -= 0.0 if grad is None else lr * grad
        moved = [(old - new.detach()) * (len(y) / (steps * lr)) for old, new in zip(before, self.parameters)]
        with torch.no_grad():
            for p, old in zip(self.parameters, before):
                p.copy_(old)
        return self._by_block(moved)

    def _matrices(self, x: Any, y: Tensor, factors: Tensor | None = None) -> list[Tensor]:
        losses = self.world.loss(forward(self.world.model, x), y)
        total = losses.sum() if factors is None else (factors * losses).sum()
        grads = list(torch.autograd.grad(total, self.parameters, allow_unused=True))
        return self._by_block([torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, grads)])

    def _by_block(self, grads: list[Tensor]) -> list[Tensor]:
        out = []
        for block in self.blocks:
            out.append(block.matrix(grads[: len(block.parameters)]))
            grads = grads[len(block.parameters) :]
        return out

    def alone(self, index: Index, versions: tuple[str, int] | None = None) -> list[Tensor]:
        """Gradients of single records, `(n, rows, columns)` a layer; of a version of them with another field value."""
        found = []
        for record in np.asarray(index).tolist():
            one = np.array([record])
            x, y = self.world.batch(one) if versions is None else self.world.with_value(one, *versions)
            found.append(self._matrices(x, y, self.factors(one)))
        return [torch.stack(layer) for layer in zip(*found)]

    def sides(self, index: Index, version: tuple[str, int] | None = None) -> dict[str, tuple[Array, Array]]:
        """Layers whose gradient of a record is one product d a^T: `name -> (a (n, in + 1), d (n, out))`, float64."""
        calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
        linear = [block for block in self.blocks if isinstance(block.module, nn.Linear)]
        hooks = [block.module.register_forward_hook(_keeper(calls, block.name)) for block in linear]
        x, y = self.world.batch(index) if version is None else self.world.with_value(index, *version)
        losses = self.world.loss(forward(self.world.model, x), y)
        for hook in hooks:
            hook.remove()
        factors = self.factors(index)
        total = losses.sum() if factors is None else (factors * losses).sum()
        flat = {name: one[0] for name, one in calls.items() if len(one) == 1 and one[0][0].dim() == 2}
        errors = torch.autograd.grad(total, [out for _, out in flat.values()])
        return {name: _numbers(a, d, self._has_bias(name)) for (name, (a, _)), d in zip(flat.items(), errors)}

    def _has_bias(self, name: str) -> bool:
        return any(block.name == name and block.bias is not None for block in self.blocks)


def _keeper(calls: dict[str, list[tuple[Tensor, Tensor]]], name: str) -> Any:
    def keep(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        calls.setdefault(name, []).append((args[0].detach(), out))

    return keep


def _numbers(a: Tensor, d: Tensor, bias: bool) -> tuple[Array, Array]:
    a = torch.cat([a, torch.ones(len(a), 1)], 1) if bias else a
    return a.double().numpy(), d.double().numpy()
