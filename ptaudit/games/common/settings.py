"""Settings of the games about a secret of a batch, and of others that are about a column of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.attacks.registry import OF_BATCHES
from ptaudit.spec.base import Count, OrList, Text, fault, unique
from ptaudit.spec.game import SEES_SUMS, GameSpec, Loc, Titled
from ptaudit.spec.registry import NameIn
from ptaudit.spec.secrets import check_attribute

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

Adversary = Annotated[str, NameIn(OF_BATCHES)]
Value = str | int | float | bool


def listed(value: Any) -> Any:
    """One name as a list of one."""
    return [value] if isinstance(value, str) else value


class AboutColumn(Titled):
    """A game about a column: the label, or an attribute. Each has these settings, in the place that it gives them."""

    if TYPE_CHECKING:
        secret: Literal["label", "attribute"]
        attribute: Text | None

    def idle(self) -> Mapping[str, str]:
        """`attribute`, where the label is meant."""
        return {} if self.secret == "attribute" else {"attribute": "`secret: label`"}

    @property
    def about_attribute(self) -> bool:
        """Whether it is about a column of `data.attributes`."""
        return self.secret == "attribute"

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses an attribute that the data do not name."""
        if self.about_attribute:
            check_attribute(f"game `{self.title}`", self.attribute, at, spec)


class BatchSecretGame(Titled):
    """What games about a secret of a batch share."""

    weights: Annotated[Literal["exact", "late"], OrList()] = "exact"
    """Which weights it knows: those that the gradient was computed with, or those of one epoch before. A list makes a
    game for each."""

    metrics: ClassVar[tuple[str, ...]] = ("bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
    has_static: ClassVar[bool] = True
    lists: ClassVar[dict[str, str]] = {"weights": ""}

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Those that the game names, else all families of classifiers."""
        return cls.players or tuple(OF_BATCHES)

    @property
    def needs_earlier_weights(self) -> bool:  # type: ignore[override]
        """Whether an adversary has the weights of the epoch before."""
        return self.weights == "late"

    @property
    def sees(self) -> str:
        """Sums; what it knows is in a sentence of its own."""
        return SEES_SUMS

    def wants(self, spec: Spec) -> str:
        """The secret, in words."""
        raise NotImplementedError

    @property
    def own(self) -> str:
        """Records of its own, in words."""
        return "half of the audited records"

    def threat(self, spec: Spec) -> str:
        """What it wants, and which records and weights it knows."""
        weights = " of the epoch before" if self.weights == "late" else ""
        return f"{self.title.capitalize()}: {self.wants(spec)}; knows {self.own} and the weights{weights}."

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses gates on adversaries that are wrong about the weights."""
        if self.weights == "late":
            what = f"gate `{gate.id}` is on game `{gate.game}`, whose adversary is wrong about the weights it looks at"
            raise fault(what, at=(*at, "metric"), remedy="gate a game with `weights: exact`: late ones decide nothing")
        super().check_gate(gate, at, view, spec)


class ProbedGame(BatchSecretGame):
    """A game that is played by classifiers of what is seen."""

    own_records: Annotated[Count, OrList()] | None = None
    """Records that the adversary has of its own; default half of the audited ones, and at most those. A list makes a
    game for each."""
    adversary: Annotated[
        list[Adversary],
        BeforeValidator(listed, json_schema_input_type=Adversary | list[Adversary]),
        Field(min_length=1),
    ] = ["combined"]  # noqa: RUF012 - pydantic copies defaults
    """Who plays: `combined`, which holds several families and all layers as one posterior; or `likelihood-ratio`,
    `linear`, `mlp`, `knn`, `forest` alone; one or several."""

    fit_batches: Annotated[Count, Field(ge=512)] = 4096
    """Most batches of its own records that it learns from; more tell more, and take longer."""
    uses_held_out: ClassVar[bool] = True
    lists: ClassVar[dict[str, str]] = {"own_records": "own", "weights": ""}

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that were asked for."""
        return tuple(self.adversary)

    @property
    def own(self) -> str:
        """Records of its own, in words."""
        if self.own_records is not None:
            return f"{self.own_records} records of its own"
        return super().own + (", held-out ones" if self.weights == "exact" else "")

    @model_validator(mode="after")
    def _adversaries_differ(self) -> ProbedGame:
        unique(self.adversary, "adversary", lambda index: ("adversary", index))
        return self


class AboutValues(ProbedGame, AboutColumn):
    """A game about the records with certain values of a column."""

    secret: Literal["label", "attribute"] = "attribute"
    """Which column: the `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    values: Annotated[list[Value], Field(min_length=1)]
    """Values of the column that make the property."""

    def having(self, spec: Spec) -> str:
        """The property, in words."""
        column = attribute_of(self, spec) if self.about_attribute else "the label"
        return f"{column} {', '.join(map(str, self.values))}"


def attribute_of(game: GameSpec, spec: Spec) -> str:
    """The column of `data.attributes` that a game is about."""
    return str(getattr(game, "attribute", None) or spec.data.attributes[0])
