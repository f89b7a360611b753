"""The games about a secret of a batch: attribute, property, distribution and user, and where such secrets lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.spec.base import Count, Text, Whole, unique
from ptaudit.spec.play import Titled
from ptaudit.spec.sweep import OrList

Adversary = Literal["combined", "likelihood-ratio", "linear", "mlp", "knn", "forest"]
Candidates = Annotated[Whole, Field(ge=2)]
Value = str | int | float | bool


def listed(value: Any) -> Any:
    """One name as a list of one."""
    return [value] if isinstance(value, str) else value


class InferenceGame(Titled):
    """What games about a secret of a batch share."""

    weights: Annotated[Literal["exact", "late"], OrList()] = "exact"
    """Which weights it knows: those that the gradient was computed with, or those of one epoch before. A list makes a
    game for each."""


class ProbedGame(InferenceGame):
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
    """Most batches of her own records that she learns from; more tell more, and take longer."""
    uses_held_out: ClassVar[bool] = True

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that were asked for."""
        return tuple(self.adversary)

    @model_validator(mode="after")
    def _adversaries_differ(self) -> ProbedGame:
        unique(self.adversary, "adversary", lambda index: ("adversary", index))
        return self


class AttributeGame(ProbedGame):
    """`attribute`: what is the sensitive value of one record of the batch?"""

    name: Literal["attribute"]
    """Which game."""
    attribute: Text | None = None
    """A column of `data.attributes`; may be left out where there is one only."""
    form: Literal["auto", "input", "latent"] = "auto"
    """`input`: it is an input of the model, and the adversary knows the rest of the record; `latent`: it knows nothing
    of the record; `auto`: input where it is one."""

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that were asked for, in the latent form."""
        return None if self.form == "auto" else ("likelihood-ratio",) if self.form == "input" else super().adversaries

    def idle(self) -> Mapping[str, str]:
        """Classifiers, where the likelihood of the record itself is known."""
        return {"adversary": "`form: input`, which the likelihood ratio plays"} if self.form == "input" else {}

    def plain(self) -> dict[str, Any]:
        """What a spec file would say; of `form: auto` no adversaries that were not asked for, as it may have no use."""
        values = super().plain()
        if self.form == "auto" and "adversary" not in self.model_fields_set:
            del values["adversary"]
        return values


class _AboutValues(ProbedGame):
    """A game about the records with certain values of a column."""

    secret: Literal["label", "attribute"] = "attribute"
    """Which column: the `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    values: Annotated[list[Value], Field(min_length=1)]
    """Values of the column that make the property."""

    def idle(self) -> Mapping[str, str]:
        """`attribute`, where the label is meant."""
        return {} if self.secret == "attribute" else {"attribute": "`secret: label`"}


class PropertyGame(_AboutValues):
    """`property`: does the batch hold a record with the property?"""

    name: Literal["property"]
    """Which game."""


class DistributionGame(_AboutValues):
    """`distribution`: with which share of records with the property was the batch drawn?"""

    name: Literal["distribution"]
    """Which game."""
    ratios: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)] = [0.2, 0.8]  # noqa: RUF012
    """The shares in question."""

    @model_validator(mode="after")
    def _ratios_differ(self) -> DistributionGame:
        unique(self.ratios, "ratio", lambda index: ("ratios", index))
        return self


class UserGame(InferenceGame):
    """`user`: whose records is the batch made of?"""

    name: Literal["user"]
    """Which game."""
    candidates: Candidates = 16
    """Users among whom the adversary looks."""


class LocalisationGame(Titled):
    """`localisation`: which layer depends most on a secret and on the input?"""

    name: Literal["localisation"]
    """Which game."""
    secret: Literal["label", "attribute"] = "attribute"
    """Whose groups are told apart: by the `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    records: Count = 200
    """Records whose sensitivity is measured."""
    probes: Annotated[Count, Field(ge=2)] = 8
    """Random directions for each record."""

    def idle(self) -> Mapping[str, str]:
        """`attribute`, where the label is meant."""
        return {} if self.secret == "attribute" else {"attribute": "`secret: label`"}


__all__ = [
    "AttributeGame",
    "DistributionGame",
    "InferenceGame",
    "LocalisationGame",
    "ProbedGame",
    "PropertyGame",
    "UserGame",
]
