"""`reconstruction`: which records can be rebuilt from the gradient of their batch by searching for them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.games.common.settings import listed
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Count, Flag, Part, fault, unique
from ptaudit.spec.defenses import OnePositive
from ptaudit.spec.game import GameSpec, Loc, Titled
from ptaudit.spec.registry import NameIn

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

Attack = Annotated[str, NameIn(ATTACKS)]

LABELS = "labels_found"

LOOKS_AT_BATCH_NORM, KNOWS_COLUMNS = "grad-inversion", "tableak"
"""The attack that makes use of the statistics of a batch, and the one that knows how columns are encoded."""

OF_TEXTS = ("placed_tokens", "placed_tokens_gain")
"""Of texts also what stands at its position."""

OF_BATCH = {"labels": (LABELS,), "tokens": ("tokens_found", "tokens_found_gain")}
"""What is told of attacks that say something of a batch and not of its records, by what that is."""

OF_CONTENT = (
    "explained_variance", "psnr_db", "psnr_gain_db", "ssim", "ssim_gain", "fields", "fields_gain", "tokens",
    "tokens_gain",
)  # fmt: skip
"""How near rebuilt records come: pictures by PSNR and SSIM, tables by fields, texts by tokens."""

WORST = {"picture": "ssim", "table": "fields", "tokens": "tokens"}
"""The score of a kind of records that `rebuilt` and the worst record go by."""

_TRIALS = (2, 6)
"""Iterations of the games that `check` plays: the difference is what each further one costs."""


class ReconstructionBudget(Part):
    """What each attack may spend on all records of a view."""

    seconds: OnePositive = 600
    """After which the attack is inconclusive."""
    iterations: Count = 300
    """Steps of each search, of attacks that search."""
    restarts: Count = 1
    """Searches for each record, from different starts; the one that explains best what is seen is kept."""


class ReconstructionGame(Titled):
    """`reconstruction`: which records can be rebuilt from the gradient of their batch by searching for them?"""

    name: Literal["reconstruction"]
    """Which game."""
    attacks: Annotated[
        list[Attack], BeforeValidator(listed, json_schema_input_type=Attack | list[Attack]), Field(min_length=1)
    ] = ["labels", "analytic", "feature-inversion", "inverting-gradients"]  # noqa: RUF012 - pydantic copies defaults
    """One attack or several; each has a page in docs/attacks/inversion."""
    records: Annotated[Count, Field(ge=2)] = 16
    """Members that are rebuilt, each from a batch of its own."""
    budget: ReconstructionBudget = Field(default_factory=ReconstructionBudget)
    """What each attack may spend on a view."""
    labels: Literal["recovered", "known"] = "recovered"
    """Whether the adversary knows the labels of the batch, or reads them from the gradient."""
    batch_norm: Flag = False
    """Whether it is given the statistics of the batch in BatchNorm layers, as updates of some frameworks hold them."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A record counts as rebuilt where its SSIM, share of fields or share of tokens is above this."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("reconstruction",)
    finds: ClassVar[str] = "lets a search rebuild so that they can be named"
    told_by: ClassVar[tuple[str, ...]] = ("identified",)
    metrics: ClassVar[tuple[str, ...]] = (
        *OF_CONTENT, *OF_TEXTS, "identified", "rebuilt", *(f"worst_{name}" for name in WORST.values()),
        *OF_BATCH["labels"], *OF_BATCH["tokens"],
    )  # fmt: skip
    has_static: ClassVar[bool] = True
    gated_over: ClassVar[str] = "joint"
    scores_records: ClassVar[bool] = True
    reads_model: ClassVar[bool] = True
    batches: ClassVar[int] = 64

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every attack."""
        return tuple(ATTACKS)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """The attacks that are asked."""
        return tuple(self.attacks)

    @property
    def sees(self) -> str:
        """What its own sentence says."""
        return ""

    def threat(self, spec: Spec) -> str:
        """Who sees the gradient of a batch, and what is granted."""
        known = ["the weights", "the mean of held-out records"]
        known += ["which inputs encode one column of a table"] if KNOWS_COLUMNS in self.attacks else []
        known += ["the labels of the batch"] if self.labels == "known" else []
        known += ["the batch's statistics in BatchNorm layers"] if self.batch_norm else []
        return (
            f"{self.title.capitalize()}: sees the gradient of one batch and searches for the records in it; knows "
            f"{', '.join(known[:-1])} and {known[-1]}."
        )

    def alone(self) -> list[tuple[GameSpec, float]]:
        """Each attack alone; it rebuilds as many records however many there are."""
        return [(self.model_copy(update={"attacks": [one]}), 0.0) for one in self.attacks]

    def trials(self) -> list[tuple[ReconstructionGame, float]]:
        """With few iterations and with some more: the time of all lies on the line through both.

        What has a closed form is played as it is, once: a difference of two times would be that of the clock.
        """
        few, some = _TRIALS
        if self.budget.iterations <= some or not any(ATTACKS[one].passes for one in self.attacks):
            return [(self, 1.0)]
        further = (self.budget.iterations - some) / (some - few)
        return [(self._shorter(few), -further), (self._shorter(some), 1.0 + further)]

    def _shorter(self, iterations: int) -> ReconstructionGame:
        budget = self.budget.model_copy(update={"iterations": iterations})
        return self.model_copy(update={"budget": budget})

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses gates on single layers, which no attack is about, and on labels that are known."""
        super().check_gate(gate, at, view, spec)
        if gate.over not in ("joint", "all"):
            what = f"gate `{gate.id}`: records are rebuilt from all layers jointly, not from `{gate.over}`"
            raise fault(what, at=(*at, "over"), remedy="set over: joint; a view with `layers` shares some alone")
        if gate.measure == LABELS and self.labels == "known":
            what = f"gate `{gate.id}`: the adversary knows the labels, and finds none"
            raise fault(what, at=(*at, "metric"), remedy="set labels: recovered in its game")

    @model_validator(mode="after")
    def _parts_fit(self) -> ReconstructionGame:
        unique(self.attacks, "attack", lambda index: ("attacks", index))
        if self.labels == "known" and "labels" in self.attacks:
            what = "attack `labels` reads labels, which `labels: known` grants"
            raise fault(what, at=("attacks",), remedy="set labels: recovered, or leave the attack out")
        if self.batch_norm and LOOKS_AT_BATCH_NORM not in self.attacks:
            what = f"no attack makes use of batch_norm but `{LOOKS_AT_BATCH_NORM}`"
            raise fault(what, at=("batch_norm",), remedy=f"add `{LOOKS_AT_BATCH_NORM}` to the attacks, or leave it out")
        return self
