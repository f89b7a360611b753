"""What a family of decoders is, and the decoder that all of them hold: each number of the record from its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """What one block of features is to be decoded from and to.

    Attributes:
        known: features to fit on, `(n, d)`, float32, coordinates of mean 0 and variance 1.
        targets: V versions of what their records hold, `(V, n, D)`.
        unseen: features to rebuild records from, `(u, d)`.
        truth: of the first c of these what the records hold, to choose a setting on, `(V, c, D)`.
        shape: of a record, its product being D; three numbers where it is a picture.
        seed: the only source of randomness.
    """

    known: Tensor
    targets: Tensor
    unseen: Tensor
    truth: Tensor
    shape: tuple[int, ...]
    seed: int


Decoder = Callable[[Task], Tensor]
"""Rebuilds all unseen records at the setting that is best on the first c, for each version: `(V, u, D)`."""


@dataclass(frozen=True)
class Family:
    """A family of decoders.

    Attributes:
        decode: fits and rebuilds.
        screened: whether it is fitted only to what ridge regression finds best of each layer: for those that take long.
    """

    decode: Decoder
    screened: bool = False


def errors(answers: Tensor, truth: Tensor) -> list[float]:
    """Mean squared error of the first c answers in each version, `(V, u, D)`, `(V, c, D)`; infinite for no number."""
    rest = answers[:, : truth.shape[1]] - truth
    found: list[float] = rest.square().mean((1, 2)).nan_to_num(torch.inf, torch.inf).tolist()
    return found


def best_of(settings: Iterable[Tensor], truth: Tensor) -> Tensor:
    """Of answers at several settings, `(V, u, D)` each, those at the best one of each version."""
    least, chosen = [torch.inf] * len(truth), list(truth)
    for answers in settings:
        for version, error in enumerate(errors(answers, truth)):
            if error < least[version] or len(chosen[version]) != answers.shape[1]:
                least[version], chosen[version] = error, answers[version]
    return torch.stack(chosen)


def coordinatewise(known: Tensor, targets: Tensor, unseen: Tensor) -> Tensor:
    """Each number of the record by least squares from the feature at its own place, `(V, u, D)`.

    As many parameters as two for each number: the input that a gradient gives back needs no more.
    """
    mean, middle = targets.mean(1, keepdim=True), known.mean(0)
    seen = known - middle
    slope = (seen * (targets - mean)).sum(1, keepdim=True) / seen.square().sum(0).clamp_min(1e-30)
    found: Tensor = mean + slope * (unseen - middle)
    return found
