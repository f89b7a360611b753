"""Canaries of the three kinds, made from the same held-out records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.canaries.gradient_sensitivity import GradientSensitivity
from ptaudit.canaries.space import Space, space_of
from ptaudit.data import Records
from ptaudit.model_input import Inputs, rows

MOST_LABELS = 16
"""A crafted record may have any label of so few; of more classes, its own or the one with the largest loss."""


@dataclass(frozen=True)
class Canaries:
    """C records of one kind.

    Attributes:
        kind: `natural`, `mislabelled` or `crafted`.
        inputs: `(C, ...)`; what stands for the secret is that of the record it was made from.
        targets: `(C,)`.
        source: records they were made from, `(C,)`.
        distance: norm of what the secret changes, `(C,)`, float64.
    """

    kind: str
    inputs: Inputs
    targets: Tensor
    source: NDArray[np.int64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.source)


def make(
    kinds: Sequence[str], records: Records, source: NDArray[np.int64], sensitivity: GradientSensitivity
) -> dict[str, Canaries | str]:
    """Canaries of every kind from the same records, so that kinds can be compared record by record.

    `mislabelled`: with the wrong label that has the largest loss. `crafted`: the better of both to start with, then the
    record's other inputs and its label are chosen to raise the distance further.

    Args:
        kinds: which.
        records: all records.
        source: the records to start from, `(C,)`.
        sensitivity: what the secret changes.

    Returns:
        For each kind its canaries, or why there are none.
    """
    inputs, targets = records.batch(torch.from_numpy(source))
    inputs = rows(inputs, slice(None))
    natural = _canaries("natural", inputs, targets, source, sensitivity)
    found: dict[str, Canaries | str] = {"natural": natural}
    wrong = _wrong_labels(records, inputs, targets, sensitivity)
    if "mislabelled" in kinds or "crafted" in kinds:
        no = "records with one label each are needed"
        found["mislabelled"] = no if wrong is None else _canaries("mislabelled", inputs, wrong, source, sensitivity)
    if "crafted" in kinds:
        found["crafted"] = _crafted(records, natural, found["mislabelled"], sensitivity)
    return {kind: found[kind] for kind in kinds}


def _canaries(
    kind: str, inputs: Inputs, targets: Tensor, source: NDArray[np.int64], sensitivity: GradientSensitivity
) -> Canaries:
    return Canaries(kind, inputs, targets, source, sensitivity.distances(inputs, targets).numpy())


def _crafted(
    records: Records, natural: Canaries, wrong: Canaries | str, sensitivity: GradientSensitivity
) -> Canaries | str:
    space = space_of(records, sensitivity.question)
    if space is None:
        return "inputs that are one tensor of numbers are needed"
    assert isinstance(natural.inputs, Tensor)
    start = Search(natural.inputs, natural.targets, torch.from_numpy(natural.distance))
    labels = natural.targets[None]
    if isinstance(wrong, Canaries):
        start = start.better(natural.inputs, wrong.targets, torch.from_numpy(wrong.distance))
        labels = torch.stack([natural.targets, wrong.targets])
        if records.classes is not None and records.classes <= MOST_LABELS:
            labels = torch.arange(records.classes)[:, None].expand(-1, len(natural))
    best = craft(start, labels, space, sensitivity)
    return Canaries("crafted", best.inputs, best.targets, natural.source, best.distance.numpy())


def _wrong_labels(records: Records, inputs: Inputs, targets: Tensor, sensitivity: GradientSensitivity) -> Tensor | None:
    """The other label with the largest loss; of numbers, the smallest or the largest there is. None for several."""
    if targets.dim() != 1:
        return None
    if records.classes is not None:
        offered = torch.arange(records.classes, dtype=targets.dtype)
    else:
        offered = torch.stack([records.targets.min(), records.targets.max()]).cpu()
    losses = torch.stack([sensitivity.losses(inputs, label.expand(len(targets))) for label in offered])
    own = offered[:, None] == targets.cpu()[None]
    return offered[losses.masked_fill(own, -torch.inf).argmax(0)]


ROUNDS = 3
"""Most times that numbers and fields are searched in turn; it ends where a round gains nothing."""
STEPS = 20
"""Gradient steps in a round."""
_FIRST, _LAST = 0.5, 0.01
"""Length of the first and the last step, as a share of an input's range."""
_GAIN = 1e-6


@dataclass(frozen=True)
class Search:
    """Records on their way: the best seen so far of each.

    Attributes:
        inputs: `(n, ...)`.
        targets: `(n, ...)`.
        distance: `(n,)`.
    """

    inputs: Tensor
    targets: Tensor
    distance: Tensor

    def better(self, inputs: Tensor, targets: Tensor, distance: Tensor) -> Search:
        """Of each record the better one: only a gain beyond rounding counts."""
        won = distance > self.distance * (1.0 + _GAIN)
        return Search(
            torch.where(_wide(won, inputs), inputs, self.inputs),
            torch.where(_wide(won, targets), targets, self.targets),
            torch.where(won, distance, self.distance),
        )


def _wide(which: Tensor, like: Tensor) -> Tensor:
    return which.view(-1, *(1,) * (like.dim() - 1))


def craft(start: Search, labels: Tensor, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Records that are at least as far as those it starts from; the secret's own inputs stay as they are.

    Args:
        start: where to start.
        labels: targets that each record may have, `(L, n, ...)`.
        space: what may be chosen.
        sensitivity: what is to be large.
    """
    best = start
    for _ in range(ROUNDS):
        before = best.distance
        best = _numbers(best, space, sensitivity)
        best = _fields(best, space, sensitivity)
        best = _labels(best, labels, sensitivity)
        if not bool((best.distance > before * (1.0 + _GAIN)).any()):
            break
    return best


def _numbers(best: Search, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Steps of shrinking length along the sign of the slope, put back into the range after each (Madry et al. 2018)."""
    if not bool(space.free.any()):
        return best
    width, inputs = space.high - space.low, best.inputs
    for step in range(STEPS):
        length = _FIRST * (_LAST / _FIRST) ** (step / (STEPS - 1))
        slope, distance = sensitivity.slopes(inputs, best.targets)
        best = best.better(inputs, best.targets, distance)
        inputs = space.nearest(inputs, inputs + length * width * slope.nan_to_num().sign())
    return best.better(inputs, best.targets, sensitivity.distances(inputs, best.targets))


def _fields(best: Search, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Every field in turn with every value it may have, the others held."""
    for field in space.fields:
        tried = field.put(best.inputs)
        values = len(tried)
        targets = best.targets.repeat(values, *(1,) * (best.targets.dim() - 1))
        distance = sensitivity.distances(tried.flatten(0, 1), targets).view(values, -1)
        top, place = distance.max(0)
        best = best.better(tried[place, torch.arange(len(place))], best.targets, top)
    return best


def _labels(best: Search, labels: Tensor, sensitivity: GradientSensitivity) -> Search:
    for label in labels:
        best = best.better(best.inputs, label, sensitivity.distances(best.inputs, label))
    return best
