"""What every defense is: settings, what it does on a view and in training, what is said of it. Kinds: `defenses/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ptaudit.spec.base import Number, OrList, Part
from ptaudit.spec.registry import DEFENSES, TRAIN_DEFENSES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ptaudit.data.records import Records
    from ptaudit.data.split import Split
    from ptaudit.gradients.record_losses import PerRecordLoss
    from ptaudit.model_input import Inputs
    from ptaudit.spec.train import TrainSpec
    from ptaudit.training.defender import Defender
    from ptaudit.training.steps.base import Step, StepContext
    from ptaudit.views import View

OneShare = Annotated[Number, Field(gt=0, lt=1)]
Share = Annotated[OneShare, OrList()]
OnePositive = Annotated[Number, Field(gt=0)]
Positive = Annotated[OnePositive, OrList()]


class DefenseSpec(Part):
    """Something done to the labels, the pass or the gradient of a batch; by itself it does nothing.

    A defense overrides what it changes. The same methods defend a view and a training, so the two cannot differ.
    """

    name: str
    """Which defense."""

    parameter: ClassVar[str] = ""
    """The setting that says how strong it is; none for some."""
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "gradient"
    """What it changes: the targets; the forward pass; the mean gradient of a batch; or the sum of the gradients of its
    records, each of them clipped, so that what is seen still adds up."""
    stochastic: ClassVar[bool] = False
    """Whether the same batch looks different every time."""
    in_model: ClassVar[bool] = False
    """Whether it is a layer of the model, so that views can show it of a training with it alone."""
    switches_dropout_on: ClassVar[bool] = False
    """Whether dropout layers of the model drop while gradients are read."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Keys of `train` that a training with it has no use for."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Optional packages that decide what a training with it gives."""

    # Settings

    @property
    def strength(self) -> float | None:
        """Value of the setting that says how strong it is."""
        return float(getattr(self, self.parameter)) if self.parameter else None

    @property
    def title(self) -> str:
        """Name, strength and what else tells it from others like it: `prune-0.9`, `dp-1-c2`, `vib-0.1-w16`."""
        strength = None if self.strength is None else f"{self.strength:g}"
        return "-".join(filter(None, [self.name, strength, self.detail]))

    @property
    def detail(self) -> str:
        """Settings beside the strength that are not the usual ones, for the title; empty where there are none."""
        return ""

    @property
    def guarded(self) -> str | None:
        """The column of `data.attributes` that it guards, where it guards one."""
        return None

    @property
    def noisy(self) -> bool:
        """Whether it adds noise of known size to the sum of gradients."""
        return False

    @property
    def draws_poisson(self) -> bool:
        """Whether a step of a training with it draws every record by itself."""
        return False

    @property
    def changes(self) -> bool:
        """Whether the same batch looks different every time, at this strength."""
        return self.stochastic and self.strength != 0

    def is_mechanism(self, about_label: bool) -> bool:
        """Whether it is noise of known size on the secret of a game, which may be the label; that on sums is always."""
        return self.noisy

    def training(self) -> dict[str, Any]:
        """The same as `train.defense`."""
        return self.plain()

    def check_training(self, train: TrainSpec) -> None:
        """Raises a fault if it does not go with other keys of `train`."""

    def check_records(self, records: Records, split: Split, own: Mapping[str, NDArray[np.int64]]) -> None:
        """Refuses records that it cannot defend.

        Args:
            records: all records.
            split: members and held-out records.
            own: records that its defender learns from, each part by what it is called.

        Raises:
            DataError: the remedy is in it.
        """

    # What it does, on a view and in training

    def prepared(self, defender: Defender) -> DefenseSpec:
        """The same, with what its defender has to find out from records of its own before the first batch."""
        return self

    @property
    def answers(self) -> int:
        """How many labels it puts in the place of one, where it acts on labels."""
        return 0

    def labels(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Targets of the records of G batches, `(G, m)`, as their gradient is computed with."""
        return targets

    def during(self, model: nn.Module) -> AbstractContextManager[None]:
        """Entered around passes through a model in evaluation mode, which may draw from the global generators."""
        return nullcontext()

    def gradient(self, gradients: Tensor, generator: torch.Generator) -> Tensor:
        """Mean gradients of G batches over all trainable parameters, `(G, d)`, as they are shown or followed."""
        return gradients

    # On a view

    def on(self, view: View) -> View:
        """An undefended view with it."""
        return replace(view, defense=self)

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """Why no view of a model can have it; empty if one can.

        Args:
            model: the audited model.
            classes: number of classes where targets are classes, else None.
        """
        return ""

    # In training

    def relabelled(self, records: Records, split: Split, seed: int) -> Records:
        """The records as training sees them."""
        return records

    def loss(self, loss: PerRecordLoss) -> PerRecordLoss:
        """The loss that is trained and read. It belongs to one training: `insert` may tie models to it."""
        return loss

    def insert(self, model: nn.Module, inputs: Inputs, loss: PerRecordLoss, seed: int) -> None:
        """Put its layers into the model.

        Args:
            model: as it was built, on any device.
            inputs: a few records on that device, to see which layer comes last.
            loss: what `loss` returned.
            seed: seed of the initial weights of what is inserted.

        Raises:
            ModelError: the model does not take the inputs, or has no place for them.
        """

    def is_inserted(self, model: nn.Module, loss: PerRecordLoss) -> bool:
        """Whether its layers are in the model; without them a training would be taken for a defended one."""
        return True

    def step(self, context: StepContext, train: TrainSpec) -> Step | None:
        """Its own way to take a step; None where an ordinary one will do.

        Raises:
            PtauditError: a package for it is missing, or the model does not fit.
        """
        return None

    # What is said of a training with it

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """What a reader of the tables must know.

        Args:
            train: the spec.
            members: how many records are trained on.
            before: the end of a sentence, which says what views without a defense show.
        """
        return iter(())

    def record_notes(self, records: Records, split: Split) -> Iterator[str]:
        """What a reader must know of how it goes with these records."""
        return iter(())

    @property
    def promise(self) -> str:
        """What it promises the members, with the adjacency; empty if it promises nothing."""
        return ""


UNDEFENDED = DefenseSpec(name="none")
"""In the place of a defense, where there is none."""

Defense = Annotated[DefenseSpec, DEFENSES]
"""Any of the defenses."""
TrainDefense = Annotated[DefenseSpec, TRAIN_DEFENSES]
"""Any of the defenses that a training can have."""


def register(defense: type[DefenseSpec], training: type[DefenseSpec] | None = None) -> None:
    """Take a defense in.

    Args:
        defense: its settings on a view and in the list `defenses`, where a list in the place of a number makes several.
        training: its settings in `train.defense`; left out, the same.
    """
    name, trained = DEFENSES.register(defense), TRAIN_DEFENSES.register(training or defense)
    if name != trained:
        TRAIN_DEFENSES.hints[name] = f"in training it is `{trained}`"


def settings_of(plain: object) -> DefenseSpec | None:
    """The defense that a resolved spec has in plain values; None where it has none, or none that is known here."""
    if not isinstance(plain, Mapping):
        return None
    for registry in (DEFENSES, TRAIN_DEFENSES):
        if plain.get("name") in registry.classes:
            try:
                return registry.read(plain)
            except ValueError:
                return None
    return None
