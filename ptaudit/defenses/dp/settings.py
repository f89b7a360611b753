"""Clipping and noise in the spec and in words: on the sums that a view shows, and in training (DP-SGD)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ptaudit.spec.base import Number, OrList, fault
from ptaudit.spec.defenses import DefenseSpec, OnePositive

if TYPE_CHECKING:
    from ptaudit.spec.train import TrainSpec
    from ptaudit.training.steps.base import Step, StepContext
    from ptaudit.views import View


class DpDefense(DefenseSpec):
    """`dp`: clip the gradient of each record, add Gaussian noise to their sum."""

    name: Literal["dp"]
    """Which defense."""
    clip: OnePositive
    """Norm C that the gradient of a record, over all trainable parameters, is clipped to."""
    noise_multiplier: Annotated[Number, Field(ge=0), OrList()]
    """Standard deviation of the noise in units of C, per coordinate of the sum."""

    parameter: ClassVar[str] = "noise_multiplier"
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "sum"
    stochastic: ClassVar[bool] = True

    @property
    def detail(self) -> str:
        """The clipping norm, if it is not 1: `c2`."""
        return "" if self.clip == 1 else f"c{self.clip:g}"

    @property
    def noisy(self) -> bool:
        """Whether it does more than clip."""
        return self.noise_multiplier > 0

    def training(self) -> dict[str, Any]:
        """DP-SGD with this clipping and noise."""
        return {**self.plain(), "name": "dp_sgd"}

    def on(self, view: View) -> View:
        """Sums of tokens are clipped and noisy, and add up still."""
        return replace(view, clip=self.clip, noise_std=self.noise_multiplier * self.clip)


class DpSgdSpec(DefenseSpec):
    """DP-SGD: every record's gradient is clipped and noise is added to their sum. Needs the extra `dp` (Opacus)."""

    name: Literal["dp_sgd"]
    """Which defense."""
    clip: OnePositive
    """Largest norm of a record's gradient over all parameters."""
    noise_multiplier: Annotated[Number, Field(ge=0)] | None = None
    """Standard deviation of the noise, in units of `clip`; 0 for clipping alone, with infinite epsilon."""
    epsilon: OnePositive | None = None
    """Epsilon to have spent after the last epoch, in place of `noise_multiplier`; the noise is chosen for it."""
    delta: Annotated[Number, Field(gt=0, lt=1)] = 1e-5
    """Delta that epsilon is stated at; it should be below 1 / members."""
    sampling: Literal["poisson", "shuffle"] = "poisson"
    """How a step draws its records: each by itself with probability batch_size / members, as the accountant assumes;
    or in shuffled batches, as is common, to which epsilon does not apply as it stands."""

    parameter: ClassVar[str] = "noise_multiplier"
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "sum"
    stochastic: ClassVar[bool] = True
    unused: ClassVar[tuple[str, ...]] = ("clip_norm", "sam")  # it clips records by itself
    packages: ClassVar[tuple[str, ...]] = ("opacus",)

    @model_validator(mode="after")
    def _noise_is_given_once(self) -> DpSgdSpec:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            found = "neither" if self.epsilon is None else "both"
            raise fault(
                f"defense `dp_sgd` takes `noise_multiplier` or `epsilon`, {found} given", remedy="give one of them"
            )
        return self

    @property
    def draws_poisson(self) -> bool:
        """Whether each record is drawn by itself, as the accountant assumes."""
        return self.sampling == "poisson"

    @property
    def strength(self) -> float:
        """The noise, or the epsilon that it is chosen for."""
        given = self.epsilon if self.noise_multiplier is None else self.noise_multiplier
        assert given is not None
        return given

    @property
    def detail(self) -> str:
        """The clipping norm, if it is not 1: `c2`."""
        return "" if self.clip == 1 else f"c{self.clip:g}"

    @property
    def noisy(self) -> bool:
        """Given as an epsilon it is never without noise."""
        return self.strength > 0

    def check_training(self, train: TrainSpec) -> None:
        """Clipping is exact in float32."""
        if train.precision != "float32":
            what = f"clipping of single records is not exact in {train.precision}"
            raise fault(what, at=("precision",), remedy="train with `defense: dp_sgd` in float32")

    def step(self, context: StepContext, train: TrainSpec) -> Step:
        """Steps of Opacus' optimizer."""
        from ptaudit.defenses.dp.accounting import need_opacus

        need_opacus()
        from ptaudit.defenses.dp.step import DpSgd

        return DpSgd(context, train)

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """What was clipped and added, and for whom epsilon holds."""
        from ptaudit.defenses.dp.accounting import noise_multiplier

        yield (
            f"Training clipped every record's gradient to {self.clip:g} and added noise of "
            f"{noise_multiplier(train, members):.4g} times that to their sum (DP-SGD){before}"
        )
        yield (
            "The noise of DP-SGD comes from the seed of the run, so that the run can be replayed: a model trained here "
            "is private only towards those who do not know the seed."
        )
        if self.sampling == "shuffle":
            yield (
                "Epsilon assumes Poisson sampling, but batches were shuffled (sampling: shuffle): it does not hold as "
                "is."
            )
        if self.delta >= 1 / members:
            yield (
                f"Delta {self.delta:g} is not below 1 / {members} members: an epsilon at such a delta promises little."
            )

    @property
    def promise(self) -> str:
        """Epsilon of a member."""
        return (
            f"Epsilon: for adding or removing one member of the training, at delta {self.delta:g}, by Opacus' RDP "
            f"accountant under Poisson sampling."
        )
