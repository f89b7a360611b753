"""Perturbation in the spec, in words, and as a function of the gradient."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr

from ptaudit.errors import DataError
from ptaudit.spec.base import Text
from ptaudit.spec.defenses import DefenseSpec, OnePositive, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ptaudit.data.records import Records
    from ptaudit.data.split import Split
    from ptaudit.defenses.perturb.probe import Probe
    from ptaudit.spec.train import TrainSpec
    from ptaudit.training.defender import Defender

_NUMBERS = 1 << 28
"""Numbers of all gradients that a probe is fitted on: 1 GiB."""

_MOST_VALUES = 32


class PerturbDefense(DefenseSpec):
    """`perturb`: the gradient is moved so that a probe of the defender's guesses the secret wrong."""

    name: Literal["perturb"]
    """Which defense."""
    size: Positive = 0.1
    """Length of the change relative to the gradient's."""
    attribute: Text | None = None
    """The secret that the defender's probe looks for, a column of `data.attributes`; default the label."""

    parameter: ClassVar[str] = "size"
    unused: ClassVar[tuple[str, ...]] = ("sam",)

    _probe: Probe | None = PrivateAttr(None)

    @property
    def detail(self) -> str:
        """The attribute, if it is not the label; what cannot be in the name of a folder becomes `_`."""
        return re.sub(r"[^\w.\-]", "_", self.attribute or "")

    @property
    def guarded(self) -> str | None:
        """The attribute."""
        return self.attribute

    def prepared(self, defender: Defender) -> PerturbDefense:
        """The same with a probe, fitted on batches of the defender's own records at the weights of this moment.

        All records of such a batch have the same value of the secret: of mixed ones a probe learns next to nothing.
        """
        import torch

        secret = secret_of(defender.records, self.attribute)[defender.own]
        own, values = defender.own[secret >= 0], torch.from_numpy(secret[secret >= 0])
        names = torch.unique(values)
        generator = torch.Generator().manual_seed(defender.seed)
        count = max(2 * len(names), min(defender.most_batches, _NUMBERS // defender.parameters))
        about = names[torch.randperm(count, generator=generator) % len(names)]
        batches = torch.empty(count, defender.batch_size, dtype=torch.long)
        for name in names:
            mine, there = about == name, torch.nonzero(values == name).squeeze(1)
            drawn = torch.randint(len(there), (int(mine.sum()), defender.batch_size), generator=generator)
            batches[mine] = there[drawn]
        return self.with_probe(defender.gradients(own, batches), about)

    def with_probe(self, gradients: Tensor, secrets: Tensor) -> PerturbDefense:
        """The same with a probe of the secrets `(n,)` fitted on gradients `(n, d)`; see `fit_probe`."""
        from ptaudit.defenses.perturb.probe import fit_probe

        ready = self.model_copy()
        ready._probe = fit_probe(gradients, secrets)
        return ready

    def gradient(self, gradients: Tensor, generator: torch.Generator) -> Tensor:
        """Every gradient, moved along the direction that raises the probe's loss for its present guess.

        An L2 step as in Goodfellow et al. (arXiv 1412.6572); as a defense of gradients in arXiv 2408.16913. It is a
        function of the gradient alone: the secret itself has no part in it, so that what is shown tells nothing that
        the gradient does not. The adversary's own probe may differ.

        Raises:
            RuntimeError: nobody has fitted its probe.
        """
        if self._probe is None:
            raise RuntimeError("call prepared() first")
        moved: Tensor = gradients + self.size * gradients.norm(dim=1, keepdim=True) * self._probe.uphill(gradients)
        return moved

    def check_records(self, records: Records, split: Split, own: Mapping[str, NDArray[np.int64]]) -> None:
        """What it hides are classes, of which the defender's own records have several."""
        secret = secret_of(records, self.attribute)
        for who, index in own.items():
            if len(np.unique(secret[index][secret[index] >= 0])) < 2:
                raise DataError(
                    f"the secret that gradients are perturbed for has one value among the {who}",
                    where="train.defense",
                    remedy="name an attribute with several values, or use more records",
                )

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """By how much, and against what."""
        secret = f"attribute {self.attribute}" if self.attribute else "the label"
        yield (
            f"Training moved each step's gradient by {self.size:g} of its length against a linear probe for {secret}, "
            f"fitted anew every epoch{before}"
        )


class PerturbTraining(PerturbDefense):
    """`perturb`: each step's gradient is moved so that a probe of the defender's guesses the secret wrong."""

    size: OnePositive = 0.1
    """Length of the change relative to the gradient's."""


def secret_of(records: Records, attribute: str | None) -> NDArray[np.int64]:
    """Value of an attribute, or of the label, of every record as 0..K-1; -1 where it is missing.

    Raises:
        DataError: it is no class.
    """
    from ptaudit.data.tensors import MISSING

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
