"""Random changes of the records while training. The audit and the evaluation read the records as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ptaudit.errors import DataError, PtauditError
from ptaudit.model_input import Inputs, count, leaves, rows, shapes
from ptaudit.spec.entry import parse_entry
from ptaudit.training.seeding import AUGMENT, derived_seed

if TYPE_CHECKING:
    from ptaudit.data.records import Records
    from ptaudit.spec.data import AugmentSpec

Augment = Callable[[Inputs, torch.Generator], Inputs]
"""(inputs of a batch, CPU generator) -> changed inputs of the same shapes, types and device, in new tensors."""

_TRIAL_RECORDS = 4


def make_augment(augment: AugmentSpec | str | None, records: Records) -> Augment | None:
    """What changes the inputs of a training batch, tried out on a few records.

    All randomness comes from the generator, which is on the CPU, so that a GPU sees the same draws.

    Args:
        augment: the built-in changes, or `file.py:fn` / `pkg.mod:fn`, a function (inputs, generator) -> inputs.
        records: the records it is for.

    Raises:
        PtauditError: it does not fit the records, fails, or returns other shapes or types.
    """
    if augment is None:
        return None
    trial = rows(records.inputs, slice(_TRIAL_RECORDS))
    if isinstance(augment, str):
        return _checked(parse_entry(augment, Path.cwd()).load(), augment, trial)
    _check_fit(augment, trial)
    return lambda inputs, generator: _augmented(leaves(inputs)[0], augment, generator)


def augment_generator(seed: int, epoch: int) -> torch.Generator:
    """The randomness of all batches of one epoch, drawn in their order; it depends on nothing else."""
    return torch.Generator().manual_seed(derived_seed(seed, AUGMENT, epoch))


def _augmented(inputs: Tensor, augment: AugmentSpec, generator: torch.Generator) -> Tensor:
    if augment.crop:
        inputs = crop(inputs, augment.crop, generator)
    if augment.flip:
        inputs = flip(inputs, generator)
    if augment.cutout:
        inputs = cutout(inputs, augment.cutout, generator)
    if augment.noise:
        noise = torch.randn(inputs.shape, generator=generator)
        inputs = inputs + augment.noise * noise.to(inputs.device)
    return inputs


def crop(pictures: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Pad pictures (n, c, h, w) with zeros on each side, and cut the old size out at a random place of each."""
    n, _, height, width = pictures.shape
    # Every possible cut as a view (n, c, 2 pad + 1, 2 pad + 1, h, w); only the chosen ones are copied.
    cuts = F.pad(pictures, [pad] * 4).unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(2 * pad + 1, (2, n), generator=generator).to(pictures.device)
    return cuts[torch.arange(n, device=pictures.device), :, top, left]


def flip(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each picture (n, c, h, w) left and right with probability 1/2."""
    mirrored = torch.randint(2, (len(pictures), 1, 1, 1), generator=generator, dtype=torch.bool)
    return torch.where(mirrored.to(pictures.device), pictures.flip(3), pictures)


def cutout(pictures: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square of pictures (n, c, h, w) to 0, around a random pixel of each (DeVries & Taylor, arXiv 1708.04552).

    Near the edge part of the square lies outside, so that between a quarter and all of it is taken out.
    """
    n, _, height, width = pictures.shape
    inside = []
    for length in (height, width):
        start = torch.randint(length, (n, 1), generator=generator) - side // 2
        place = torch.arange(length)
        inside.append((place >= start) & (place < start + side))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return pictures.masked_fill(hole.to(pictures.device), 0)


def _check_fit(augment: AugmentSpec, trial: Inputs) -> None:
    where, remedy = "data.augment", "remove it, or write the augmentation as file.py:function"
    asked = [name for name in ("crop", "flip", "cutout", "noise") if getattr(augment, name)]
    if not isinstance(trial, Tensor) or not trial.is_floating_point():
        what = f"{asked[0]} changes one tensor of decimal numbers; the records are {shapes(trial)}"
        kinds = ", ".join(sorted({str(leaf.dtype).removeprefix("torch.") for leaf in leaves(trial)}))
        raise DataError(f"{what}, {kinds}", where=where, remedy=remedy)
    if asked != ["noise"] and trial.dim() != 4:
        raise DataError(
            f"{asked[0]} is for pictures (channels, height, width); the records have the shape {shapes(trial)}",
            where=where,
            remedy=remedy,
        )
    for name in ("crop", "cutout"):
        pixels, least = getattr(augment, name), min(trial.shape[2:]) if trial.dim() == 4 else 0
        if pixels and pixels > least:
            raise DataError(f"{name}: {pixels} is more than the {least} pixels of the pictures", where=where)


def _checked(function: Callable[[Inputs, torch.Generator], Inputs], name: str, trial: Inputs) -> Augment:
    def augment(inputs: Inputs, generator: torch.Generator) -> Inputs:
        try:
            changed = function(inputs, generator)
        except PtauditError:
            raise
        except Exception as error:
            raise DataError(f"the augmentation failed: {type(error).__name__}: {error}", where=name) from error
        if _layout(changed) != _layout(inputs):
            raise DataError(
                f"the augmentation returned {_layout(changed)} for {count(inputs)} records of {_layout(inputs)}",
                where=name,
                remedy="return inputs of the same shapes and types, on the same device",
            )
        return changed

    before = [leaf.clone() for leaf in leaves(trial)]
    first, second = (leaves(augment(trial, torch.Generator().manual_seed(0))) for _ in range(2))
    if not all(torch.equal(leaf, copy) for leaf, copy in zip(leaves(trial), before, strict=True)):
        raise DataError("the augmentation changes its inputs in place", where=name, remedy="work on a copy: x.clone()")
    if not all(torch.equal(one, other) for one, other in zip(first, second, strict=True)):
        raise DataError(
            "the augmentation differs from call to call with the same generator",
            where=name,
            remedy="draw from the generator only, e.g. torch.rand(n, generator=generator)",
        )
    return augment


def _layout(inputs: object) -> str:
    if isinstance(inputs, Tensor):
        return f"{str(inputs.dtype).removeprefix('torch.')}{tuple(inputs.shape)}@{inputs.device.type}"
    if isinstance(inputs, dict):
        return "{" + ", ".join(f"{name}: {_layout(part)}" for name, part in inputs.items()) + "}"
    if isinstance(inputs, tuple):
        return "(" + ", ".join(_layout(part) for part in inputs) + ")"
    return type(inputs).__name__
