"""What a reader reads of, and what it gives: tokens of all records, from chunk after chunk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ptaudit.gradients.layers import Layer, LayerInfo
from ptaudit.gradients.per_example_pass import PerExamplePass
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import PerRecordLoss, RecordLosses
from ptaudit.model_input import Inputs, to_device


@dataclass(frozen=True)
class Tokens:
    """Sketched per-record gradients of L layers and N records, on the reader's device.

    Attributes:
        values: (L, N, dim) float32.
        norm_sq: (L, N) exact squared gradient norms.
        total_norm_sq: (N,) over all trainable parameters, those outside the chosen layers included.
        loss: (N,).
        layers: the L layers, in model order.
        complete: whether every trainable parameter that gets a gradient is in `total_norm_sq`.
    """

    values: Tensor
    norm_sq: Tensor
    total_norm_sq: Tensor
    loss: Tensor
    layers: tuple[LayerInfo, ...]
    complete: bool

    def beside(self, other: Tokens | None) -> Tokens:
        """The same records, with the layers of others that were read later: either may have reached what is new."""
        return self if other is None else self.of(other.layers)

    def of(self, layers: Sequence[LayerInfo]) -> Tokens:
        """The same records, with these layers in this order; a layer that no record of theirs reached has zeros."""
        row = {info.name: i for i, info in enumerate(self.layers)}
        if [info.name for info in layers] == list(row):
            return self
        absent = len(row)
        rows = torch.tensor([row.get(info.name, absent) for info in layers], device=self.values.device)
        values, norm_sq = (torch.cat([x, torch.zeros_like(x[:1])])[rows] for x in (self.values, self.norm_sq))
        return replace(self, values=values, norm_sq=norm_sq, layers=tuple(layers))


@dataclass(frozen=True)
class SketchedModel:
    """What a reader reads, for those who compute gradients of their own and show them as it does.

    Attributes:
        model: the model.
        loss: (output, target) -> one loss per record.
        layers: all its trainable layers, in model order.
        sketches: the projection of each, by name.
        device: where model and projections are.
    """

    model: nn.Module
    loss: PerRecordLoss
    layers: tuple[Layer, ...]
    sketches: Mapping[str, LayerSketch]
    device: torch.device

    def losses(self, inputs: Inputs, targets: Tensor) -> RecordLosses:
        """Those of some records, on the device."""
        return RecordLosses(self.model, self.loss, to_device(inputs, self.device), targets.to(self.device))


def joined(parts: Sequence[PerExamplePass], layers: Sequence[LayerInfo], selected: Collection[str], dim: int) -> Tokens:
    """The tokens of all chunks; a layer has zeros in those that did not reach it.

    Args:
        parts: one after the other.
        layers: all trainable layers and how each is read by now.
        selected: names of those whose tokens are wanted.
        dim: numbers in a token.
    """
    captured = [info for info in layers if info.capture != "none"]
    chosen = [info for info in captured if info.name in selected]
    values, norms, totals = [], [], []
    for part in parts:
        none = part.loss.new_zeros(len(part.loss), dim), torch.zeros_like(part.loss)
        found = {info.name: part.found.get(info.name, none) for info in captured}
        tokens = [none[0] if (token := found[info.name][0]) is None else token for info in chosen]
        values.append(torch.stack(tokens) if tokens else none[0].new_zeros(0, *none[0].shape))
        norms.append(torch.stack([found[info.name][1] for info in chosen]) if chosen else values[-1][..., 0])
        totals.append(torch.stack([*(norm for _, norm in found.values()), none[1]]).sum(0))
    missing = any(info.capture == "none" and not info.unused for info in layers)
    return Tokens(
        torch.cat(values, dim=1),
        torch.cat(norms, dim=1),
        torch.cat(totals),
        torch.cat([part.loss for part in parts]),
        tuple(chosen),
        complete=not missing,
    )
