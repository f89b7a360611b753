"""Labels that training is given: those that count, as they are or randomised once for label differential privacy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.data.tensors import IGNORED
from ptaudit.errors import DataError
from ptaudit.spec.defenses import LabelDpDefense
from ptaudit.stats.randomised_response import randomise
from ptaudit.training.seeding import LABELS, derived_seed

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec


def with_ignored(records: Records, ignore_index: int | None) -> Records:
    """The records with -100, PyTorch's own mark, at the positions that `ignore_index` marks as not counting.

    Raises:
        DataError: a record has one target, which then must count.
    """
    if ignore_index is None:
        return records
    if records.targets.dim() == 1:
        raise DataError(
            "the records have one target each, and a record without one has no loss",
            where="train.ignore_index",
            remedy="leave such records out of the data, and the key out of the spec",
        )
    return replace(records, targets=records.targets.masked_fill(records.targets == ignore_index, IGNORED))


def taught(records: Records, split: Split, train: TrainSpec, seed: int) -> Records:
    """The records as training sees them: with `label_dp` the members' labels are randomised, once for the whole run.

    The one-stage algorithm of Ghazi et al. (arXiv 2102.06062, LP-1ST): randomised response with a prior, which is the
    same for all members: the class frequencies of the held-out records. So nothing but the response itself depends on a
    member's label, and its epsilon holds for changing the label of one member.

    Args:
        records: all records.
        split: members, and the held-out records that the prior comes from.
        train: the spec.
        seed: seed of the training.

    Raises:
        DataError: the targets are no classes.
    """
    defense = train.defense
    if not isinstance(defense, LabelDpDefense):
        return records
    prior = label_prior(records, split)
    targets, members = records.targets.clone(), torch.from_numpy(split.members).to(records.targets.device)
    labels = targets[members].cpu().numpy().astype(np.int64)
    generator = np.random.default_rng(derived_seed(seed, LABELS))
    said = torch.from_numpy(randomise(labels, prior, defense.epsilon, generator))
    targets[members] = said.to(targets)
    return replace(records, targets=targets)


def label_prior(records: Records, split: Split) -> NDArray[np.float64]:
    """Class frequencies of the held-out records, (K,).

    Raises:
        DataError: the targets are no classes.
    """
    if records.classes is None or records.targets.dim() != 1:
        raise DataError(
            "defense `label_dp` randomises classes, and the targets are none",
            where="train.defense",
            remedy="one integer class for each record, or another defense",
        )
    labels = records.targets[torch.from_numpy(split.held_out).to(records.targets.device)].cpu().numpy()
    counts = np.bincount(labels.astype(np.int64), minlength=records.classes).astype(np.float64)
    return np.asarray(counts / counts.sum())
