"""Label differential privacy: labels are randomised before the gradient is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr

from ptaudit.errors import DataError
from ptaudit.spec.base import fault
from ptaudit.spec.defenses import DefenseSpec, OnePositive, Positive
from ptaudit.stats.randomised_response import kept_labels, randomise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ptaudit.data.records import Records
    from ptaudit.data.split import Split
    from ptaudit.spec.train import TrainSpec
    from ptaudit.training.defender import Defender


class LabelDpDefense(DefenseSpec):
    """`label_dp`: labels are randomised (randomised response with a prior) before the gradient is computed."""

    name: Literal["label_dp"]
    """Which defense."""
    epsilon: Positive
    """Privacy of one label."""

    parameter: ClassVar[str] = "epsilon"
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "labels"
    stochastic: ClassVar[bool] = True

    _prior: tuple[float, ...] = PrivateAttr(())

    def prepared(self, defender: Defender) -> LabelDpDefense:
        """The same, with the class frequencies of the held-out records as prior."""
        return self.with_prior(*label_prior(defender.records, defender.split).tolist())

    def with_prior(self, *prior: float) -> LabelDpDefense:
        """The same with a probability of every class, known without looking at the records that are defended."""
        known = self.model_copy()
        known._prior = prior
        return known

    @property
    def answers(self) -> int:
        """Every class may be named."""
        return len(self._prior)

    def labels(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Randomised response with a prior (Ghazi et al., arXiv 2102.06062), drawn anew for every batch that is seen.

        Epsilon is that of ONE label in ONE batch: r rounds with fresh responses spend r times as much. Inputs are not
        protected at all.
        """
        import torch

        draws = torch.rand(targets.shape, generator=generator, dtype=torch.float64).numpy()
        return torch.from_numpy(randomise(targets.cpu().numpy(), self._prior, self.epsilon, draws)).to(targets)

    def relabelled(self, records: Records, split: Split, seed: int) -> Records:
        """Those of members are randomised, once for the whole run.

        The one-stage algorithm of Ghazi et al. (LP-1ST). The prior is the same for all members, so nothing but the
        response itself depends on a member's label, and its epsilon holds for changing the label of one member.

        Raises:
            DataError: the targets are no classes.
        """
        import torch

        from ptaudit.training.seeding import LABELS, derived_seed

        prior = label_prior(records, split)
        targets, members = records.targets.clone(), torch.from_numpy(split.members).to(records.targets.device)
        labels = targets[members].cpu().numpy().astype(np.int64)
        draws = np.random.default_rng(derived_seed(seed, LABELS)).random(len(labels))
        targets[members] = torch.from_numpy(randomise(labels, prior, self.epsilon, draws)).to(targets)
        return replace(records, targets=targets)

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """Targets that are no classes."""
        return "label_dp needs one class a record as target" if classes is None else ""

    def is_mechanism(self, about_label: bool) -> bool:
        """For games about the label alone."""
        return about_label

    def check_training(self, train: TrainSpec) -> None:
        """Labels are classes."""
        if train.loss == "mse":
            what = "defense `label_dp` randomises classes, and loss `mse` is about numbers"
            raise fault(what, at=("defense",), remedy="use loss `cross_entropy` or `bce`, or another defense")

    def check_records(self, records: Records, split: Split, own: Mapping[str, NDArray[np.int64]]) -> None:
        """Labels are classes."""
        label_prior(records, split)

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """Which labels were seen, and by whom they are known."""
        yield (
            "Training saw labels of members that were randomised once (label DP); its training loss and accuracy are "
            "on those. Gradients were read with the true labels unless a view randomises them."
        )
        yield (
            "Labels were randomised from the seed of the run, so that the run can be replayed: they are private only "
            "towards those who do not know the seed."
        )

    def record_notes(self, records: Records, split: Split) -> Iterator[str]:
        """Classes that are never named, where the prior is more telling than so private an answer."""
        prior = label_prior(records, split)
        kept = int(kept_labels(prior, self.epsilon))
        if kept < len(prior):
            likely = f"the {kept} likeliest of {len(prior)} classes" if kept > 1 else "the likeliest class"
            yield (
                f"At epsilon {self.epsilon:g} randomised labels only ever name {likely}: with these class frequencies "
                f"that is the most honest answer (arXiv 2102.06062, Algorithm 2), and training learns nothing of the "
                f"others."
            )

    @property
    def promise(self) -> str:
        """Epsilon of a label."""
        return (
            f"Epsilon {self.epsilon:g} of label DP: for changing the label of one member, whose inputs it does not "
            f"hide; by randomised response, with the class frequencies of the held-out records as public prior."
        )


class LabelDpTraining(LabelDpDefense):
    """`label_dp`: labels of the members are randomised once, before training."""

    epsilon: OnePositive
    """Privacy of one label."""


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
    labels = records.targets.cpu().numpy()[split.held_out]
    counts = np.bincount(labels.astype(np.int64), minlength=records.classes).astype(np.float64)
    return np.asarray(counts / counts.sum())
