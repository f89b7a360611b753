"""What is left of gradients whose signs, or largest numbers, alone are shown; and what that says of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from redteam_world import Array
from torch import Tensor

TINY = 1e-9
"""Magnitude from which on a number of a candidate's gradient is not 0."""


def defended(batch: list[Tensor], defense: Mapping[str, Any]) -> list[Tensor]:
    """The signs of all numbers, or the largest ones of all layers together, others 0."""
    if defense.get("name") == "sign":
        return [one.sign() for one in batch]
    if defense.get("name") != "prune":
        return batch
    size = torch.cat([one.abs().flatten() for one in batch])
    gone = round(float(defense["ratio"]) * len(size))
    border = size.kthvalue(gone).values if gone else -1.0
    return [one * (one.abs() > border) for one in batch]


def evidence(batch: list[Tensor], candidates: Tensor) -> Array:
    """Numbers about every candidate in every layer and in all of them, `(K, F)`.

    How many of its numbers are 0 in what is shown; how well its gradient, and its signs, go with what is shown.

    Args:
        batch: what is shown, one matrix a layer.
        candidates: their gradients, layers one after another, `(K, d)`.
    """
    sizes = [one.numel() for one in batch]
    shown = [one.flatten() for one in batch]
    parts = [*zip(shown, torch.split(candidates, sizes, 1)), (torch.cat(shown), candidates)]
    found = []
    for seen, own in parts:
        used = (own.abs() > TINY).float()
        lost = (used @ (seen == 0.0).float()) / used.sum(1).clamp_min(1.0)
        length = own.norm(dim=1).clamp_min(1e-30)
        found += [
            torch.log10(lost + 1e-6),
            lost == 0.0,
            own @ seen / length,
            own.sign() @ seen / used.sum(1).sqrt().clamp_min(1.0),
        ]
    return np.stack([one.double().numpy() for one in found], 1)
