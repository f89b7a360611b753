"""What it means that two ways to the same gradients agree: the one measure by which faster ways are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ptaudit.errors import ModelError
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.rules.base import Contribution

MIXES = (
    "gradients of single records do not add up to that of their batch: records are mixed in the forward pass, "
    "or it is random in eval mode"
)
MIXED = f"{MIXES}; give BatchNorm running statistics or use GroupNorm"

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ModelError)
"""What a model raises that cannot be run in some way."""

HALF = (torch.bfloat16, torch.float16)

_FLOOR = 0.01
"""Of the size of all, for what is 0 in truth."""

T = TypeVar("T")


def agrees(way: Callable[[], Sequence[Tensor]], truth: Sequence[Tensor], allowed: float) -> bool:
    """Whether a faster way can be gone at all, and gives what a slower one gave but for rounding.

    Args:
        way: gives the same tensors as the slower one.
        truth: what that gave.
        allowed: relative error that rounding explains.
    """
    found = attempt(way)
    if found is None:
        return False
    gaps = torch.stack([(ours - true).norm() for ours, true in zip(found, truth, strict=True)])
    sizes = torch.stack([true.norm() for true in truth])
    return bool((gaps <= rounding(sizes, allowed)).all())


def attempt(way: Callable[[], T]) -> T | None:
    """What a faster way gives; None where it cannot be gone, and a slower one, which is more general, has to be."""
    try:
        return way()
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever the operation at hand raises
        return None


def rounding(sizes: Tensor, allowed: float) -> Tensor:
    """Errors (k,) that rounding explains, of k tensors of these norms."""
    explained: Tensor = allowed * (sizes + _FLOOR * sizes.norm())
    return explained


def mixing(alone: Contribution, batch: Contribution) -> float:
    """How far the records' own gradients are from adding up to the batch's, relative to their size."""
    tokens, whole = tokens_of(alone), tokens_of(batch)
    return ratio(float((tokens.sum(0) - whole[0]).norm()), float(tokens.norm()))


def tokens_of(contribution: Contribution) -> Tensor:
    """The tokens of a contribution that has them."""
    tokens = contribution[0]
    assert tokens is not None
    return tokens


def disagreement(found: Contribution | None, reference: Contribution) -> float:
    """Relative error over all records of a layer, the larger of tokens and norms; no gradient found means zeros."""
    worst = 0.0
    for ours, true in zip(found or (None, None), reference):
        assert true is not None
        scale, miss = float(true.norm()), float((true if ours is None else ours - true).norm())
        worst = max(worst, ratio(miss, scale))
    return worst


def ratio(miss: float, scale: float) -> float:
    """Relative error; infinite where a number is not finite, or something was found where there is nothing."""
    if miss == 0 or not math.isfinite(miss) or scale == 0:
        return 0.0 if miss == 0 else math.inf
    return miss / scale


def tolerance(layers: Sequence[Layer], device: torch.device, half: bool = False) -> float:
    """Relative error that rounding explains; a wrong rule is off by far more. CUDA convolutions may use TF32."""
    half = half or any(p.dtype in HALF for layer in layers for p in layer.parameters.values())
    if half or torch.is_autocast_enabled(device.type):
        return 0.1
    return 1e-2 if device.type == "cuda" else 1e-3
