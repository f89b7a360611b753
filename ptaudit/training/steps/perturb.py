"""Adversarial perturbation: each step's gradient is moved so that a probe of the defender's guesses its batch wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit import defenses
from ptaudit.data.records import Records
from ptaudit.data.tensors import MISSING
from ptaudit.errors import DataError
from ptaudit.training.seeding import PROBE, derived_seed, seeded
from ptaudit.training.steps.base import Batch
from ptaudit.training.steps.passes import Passes
from ptaudit.training.steps.sam import frozen_statistics

_BATCHES = 64
_NUMBERS = 1 << 28
"""Numbers of all gradients that a probe is fitted on: 1 GiB."""
_MOST_VALUES = 32


class Perturb:
    """What a perturbation shows of the gradient (see `ptaudit.defenses.perturb`).

    Its probe is fitted anew before every epoch at the weights of that moment, on gradients of batches of her own
    members. All records of such a batch have the same value of the secret, for a
    gradient of mixed values lies between theirs. They are drawn, with the dropout of these passes, from (seed, epoch).

    Args:
        passes: how gradients come about.
        size: length of the change, relative to the gradient's.
        secret: value of the secret of every record, 0..K-1; -1 where it is missing.
        members: what is trained on.
        batch: makes a batch of some records.
        largest: most records in one forward pass.
        seed: seed of the training.

    Raises:
        DataError: the secret does not vary among the members.
    """

    def __init__(
        self,
        passes: Passes,
        size: float,
        secret: NDArray[np.int64],
        members: NDArray[np.int64],
        batch: Callable[[NDArray[np.int64]], Batch],
        largest: int,
        seed: int,
    ) -> None:
        self._passes, self._batch, self._seed = passes, batch, seed
        of = secret[members]
        self._groups = {int(value): members[of == value] for value in np.unique(of[of >= 0])}
        if len(self._groups) < 2:
            raise DataError(
                "the secret that gradients are perturbed for has one value among the members",
                where="train.defense",
                remedy="name an attribute with several values",
            )
        width = sum(p.numel() for p in passes.parameters)
        self._batches = max(2 * len(self._groups), min(_BATCHES, _NUMBERS // width))
        self._records = min(largest, max(2, len(members) // self._batches))
        self._perturb = defenses.Perturb(size)

    def begin(self, epoch: int) -> None:
        """Fit the probe at the weights of this moment."""
        draws = np.random.default_rng(derived_seed(self._seed, PROBE, epoch))
        values = draws.permutation([list(self._groups)[i % len(self._groups)] for i in range(self._batches)]).tolist()
        device = self._passes.parameters[0].device
        with seeded(derived_seed(self._seed, PROBE, epoch), device), frozen_statistics(self._passes.model):
            gradients = [self._passes.gradient(self._batch(self._drawn(value, draws))) for value in values]
        self._perturb = self._perturb.fit(torch.stack(gradients), torch.tensor(values))

    def __call__(self, gradient: Tensor, batch: Batch) -> Tensor:
        """The moved gradient, (d,)."""
        return self._perturb(gradient[None])[0]

    def _drawn(self, value: int, draws: np.random.Generator) -> NDArray[np.int64]:
        """Records with a value; over again where there are too few."""
        group = self._groups[value]
        return draws.choice(group, self._records, replace=len(group) < self._records)


def secret_of(records: Records, attribute: str | None) -> NDArray[np.int64]:
    """Value of an attribute, or of the label, of every record as 0..K-1; -1 where it is missing.

    Raises:
        DataError: it is no class.
    """
    if attribute is None:
        if records.classes is None or records.targets.dim() != 1:
            raise DataError(
                "defense `perturb` hides classes, and the targets are none",
                where="train.defense",
                remedy="one integer class for each record, or name an attribute",
            )
        return records.targets.cpu().numpy().astype(np.int64)
    column = records.columns[attribute]
    known = column != MISSING if column.dtype.kind == "U" else ~np.isnan(column.astype(np.float64))
    names, codes = np.unique(column[known], return_inverse=True)
    if column.dtype.kind in "iuf" and (len(names) > _MOST_VALUES or (names != np.floor(names)).any()):
        raise DataError(
            f"attribute `{attribute}` is a number, and defense `perturb` hides classes",
            where="train.defense",
            remedy=f"name one of text, or of at most {_MOST_VALUES} whole numbers",
        )
    values = np.full(len(column), -1, np.int64)
    values[known] = codes
    return values
