"""The whole gradient of every record, whatever its layers are: side by side by `torch.func`, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from ptaudit.gradients.agreement import agrees
from ptaudit.gradients.autograd import differentiate, filled, parameters_of
from ptaudit.gradients.layers import Capture, Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses, loss_at, over_records
from ptaudit.gradients.rules.base import Contribution, from_gradients, pieces
from ptaudit.model_input import as_real

Parameters = Mapping[str, nn.Parameter]
"""By path in the model."""


@dataclass(frozen=True)
class WholeGradients:
    """What a batch of n records gave.

    Attributes:
        of: gradients (n, ...) of parameters by path; one that was not used has zeros, or none.
        losses: (n,).
    """

    of: dict[str, Tensor]
    losses: Tensor


def side_by_side(losses: RecordLosses, parameters: Parameters, randomness: str = "error") -> WholeGradients:
    """By `vmap(grad)` of the model as a function of its weights; see `over_records`."""
    each = grad_and_value(loss_at(losses.model, losses.loss))
    weights = {path: p.detach() for path, p in parameters.items()}
    return WholeGradients(*over_records(each, weights, losses.inputs, losses.targets, randomness=randomness))


def one_by_one(losses: RecordLosses, parameters: Parameters) -> WholeGradients:
    """By one forward and backward pass for each record: slow, and right for every model."""
    parts: dict[str, list[Tensor]] = {path: [] for path in parameters}
    found = []
    for i in range(len(losses)):
        own = losses.some(slice(i, i + 1))()
        for path, g in differentiate(own, losses.model, parameters).items():
            parts[path].append(filled(g, parameters[path]).detach())
        found.append(own.detach())
    return WholeGradients({path: torch.stack(part) for path, part in parts.items()}, torch.cat(found))


def holds(way: Callable[[], WholeGradients], alone: WholeGradients, allowed: float) -> bool:
    """Whether a way gives the gradients that `one_by_one` gave, but for rounding: a relative error of `allowed`."""

    def given() -> list[Tensor]:
        found = way().of
        return [found[path] if path in found else torch.zeros_like(g) for path, g in alone.of.items()]

    return agrees(given, list(alone.of.values()), allowed)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its trainable parameters by path."""
    return {path: p for path, p in model.named_parameters() if p.requires_grad}


Sketches = Mapping[str, LayerSketch | None]
"""By layer name; None where only the norm is wanted."""

_Way = Callable[[RecordLosses, Parameters], WholeGradients]


def by_vmap(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from all records side by side, in pieces that bound memory."""
    size = sum(p.numel() for p in parameters_of(layers).values())
    return _contributions(side_by_side, [losses.some(s) for s in pieces(len(losses), 2 * size)], layers, sketches)


def by_loop(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from one forward and backward pass per record."""
    alone = [losses.some(slice(i, i + 1)) for i in range(len(losses))]
    return _contributions(one_by_one, alone, layers, sketches)


def by_fallback(
    losses: RecordLosses, layers: Mapping[Capture, Sequence[Layer]], sketches: Sketches
) -> dict[str, Contribution]:
    """Contributions of the layers that are captured in each of the slower ways."""
    found: dict[str, Contribution] = {}
    if by := layers.get("vmap"):
        found |= by_vmap(losses, by, sketches)
    if by := layers.get("loop"):
        found |= by_loop(losses, by, sketches)
    return found


def _contributions(
    way: _Way, parts: Iterable[RecordLosses], layers: Sequence[Layer], sketches: Sketches
) -> dict[str, Contribution]:
    """The whole gradients of one part at a time are in memory."""
    parameters = parameters_of(layers)
    found: dict[str, list[Contribution]] = {layer.name: [] for layer in layers}
    for part in parts:
        grads = {path: as_real(g) for path, g in way(part, parameters).of.items()}
        for layer in layers:
            own = {name: grads[layer.path(name)] for name in layer.parameters}
            found[layer.name].append(from_gradients(own, sketches[layer.name]))
    return {name: _joined(contributions) for name, contributions in found.items()}


def _joined(parts: Sequence[Contribution]) -> Contribution:
    tokens = [token for token, _ in parts if token is not None]
    return torch.cat(tokens) if tokens else None, torch.cat([norm_sq for _, norm_sq in parts])
