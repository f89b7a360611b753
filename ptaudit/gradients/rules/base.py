"""What a rule is, and the small things that all rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch

Contribution = tuple[Tensor | None, Tensor]
"""Tokens (n, dim), or None where no sketch was asked for, and exact squared gradient norms (n,); both float32."""

MEMORY = 1 << 25
"""Numbers that a rule may hold in one temporary (128 MiB of float32)."""


class UnsupportedError(Exception):
    """The rule does not cover this call of the module; the layer is read by a fallback."""


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module in the forward pass.

    Attributes:
        input: what went in, rows of records in dimension 0.
        grad: gradient of the summed loss with respect to what came out.
        moments: mean and reciprocal standard deviation of the input where the forward pass has kept them, so that they
            need not be computed again; only the fast tokens of normalisation layers look at them.
    """

    input: Tensor
    grad: Tensor
    moments: tuple[Tensor, Tensor] | None = None


ContributionOf = Callable[[Layer, Sequence[ModuleCall], int, LayerSketch | None], Contribution]
"""Tokens and squared norms of n records; raises UnsupportedError where it does not apply."""

TokensOf = Callable[[Layer, Sequence[ModuleCall], int, LayerSketch], Tensor]
"""Tokens (n, dim) alone: what is cheap enough for every step of a training."""


@dataclass(frozen=True)
class Rule:
    """Turns the calls of a module into per-record tokens, with or without norms.

    The calls are summed: a module that is used several times in one forward pass has one gradient.

    Attributes:
        contribution: tokens with norms.
        tokens: tokens alone.
        arrange: brings what calls were given, and its gradient, to records in dimension 0; None where they are there.
    """

    contribution: ContributionOf
    tokens: TokensOf
    arrange: Callable[[Tensor, int], Tensor] | None = None

    def arranged(self, calls: Sequence[ModuleCall], n: int) -> Sequence[ModuleCall]:
        """The calls as the rule takes them; moments kept by the forward pass are in the old order."""
        move = self.arrange
        if move is None:
            return calls
        return [replace(call, input=move(call.input, n), grad=move(call.grad, n), moments=None) for call in calls]


def with_norms_only(contribution: ContributionOf) -> Rule:
    """A rule with no cheaper way to tokens than the one that gives the norms too."""

    def tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
        found, _ = contribution(layer, calls, n, sketch)
        assert found is not None
        return found

    return Rule(contribution, tokens)


def by_record(x: Tensor, n: int) -> Tensor:
    """A view (n, rows per record, ...) of rows in which those of one record follow each other."""
    if x.dim() == 0 or x.shape[0] % n:
        raise UnsupportedError(f"{tuple(x.shape)[:1]} rows are not a multiple of {n} records")
    return x.reshape(n, x.shape[0] // n, *x.shape[1:])


def positions(x: Tensor, n: int) -> Tensor:
    """All positions of each record in (rows, ..., features): (n, positions, features) float32."""
    if x.dim() < 2:
        raise UnsupportedError("no dimension for records")
    return by_record(x, n).flatten(1, -2).float()


def all_positions(tensors: Iterable[Tensor], n: int) -> Tensor:
    """Those of several calls, side by side."""
    return torch.cat([positions(x, n) for x in tensors], dim=1)


def pieces(n: int, numbers: int) -> Iterator[slice]:
    """Slices of n records, each small enough when one record needs that many numbers."""
    step = max(1, MEMORY // max(1, numbers))
    return (slice(start, start + step) for start in range(0, n, step))


def from_gradients(grads: Mapping[str, Tensor], sketch: LayerSketch | None) -> Contribution:
    """Contribution of explicit per-record gradients: parameter name -> (n, *shape)."""
    flat = [grad.float().reshape(len(grad), -1) for grad in grads.values()]
    norm_sq = torch.stack([grad.square().sum(1) for grad in flat]).sum(0)
    if sketch is None:
        return None, norm_sq
    with torch.autocast(norm_sq.device.type, enabled=False):
        return sketch(grads), norm_sq


def ghost_is_cheaper(positions: int, rows: int, columns: int) -> bool:
    """Whether the two Gram matrices over positions cost less than the product (counted in multiplications)."""
    return positions * (rows + columns) <= rows * columns


def ghost_norm_sq(a: Tensor, g: Tensor, bias: bool) -> Tensor:
    """Squared norms (batch,) as the sum over pairs of positions of <a_s, a_t> <g_s, g_t>."""
    gram = a.mT @ a
    if bias:
        gram = gram + 1
    return (gram * (g.mT @ g)).sum((1, 2)).clamp_min(0)
