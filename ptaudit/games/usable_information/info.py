"""`usable-information`: V-information of a record's secret in the gradient of the batch that it is in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.attacks.registry import OF_TOKENS
from ptaudit.games.common.settings import AboutColumn, listed
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Text, unique
from ptaudit.spec.game import GameSpec
from ptaudit.spec.registry import NameIn

Family = Annotated[str, NameIn(OF_TOKENS)]


class UsableInformationGame(AboutColumn):
    """`usable-information`: V-information of a record's secret in the gradient of the batch that it is in."""

    name: Literal["usable-information"]
    """Which game."""
    secret: Literal["label", "attribute"] = "label"
    """What is secret about the record: its `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    family: Annotated[
        list[Family],
        BeforeValidator(listed, json_schema_input_type=Family | list[Family]),
        Field(min_length=1),
    ] = ["linear"]  # noqa: RUF012 - pydantic copies defaults
    """One family of predictors or several: `linear`, `mlp`, `knn`."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("attribute inference",)
    finds: ClassVar[str] = "tells a simple predictor the secret of a record"
    metrics: ClassVar[tuple[str, ...]] = ("bits", "accuracy")
    needs_encoder: ClassVar[bool] = True

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every family."""
        return tuple(OF_TOKENS)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Its families."""
        return tuple(self.family)

    def alone(self) -> list[tuple[GameSpec, float]]:
        """Each family alone; of networks the steps are given."""
        return [(self.model_copy(update={"family": [f]}), 0.5 if f == "mlp" else 1.0) for f in self.family]

    def at_least_identity(self, bare: bool) -> bool:
        """Only without noise, up to its own ceiling."""
        return bare

    @model_validator(mode="after")
    def _families_differ(self) -> UsableInformationGame:
        unique(self.family, "family", lambda index: ("family", index))
        return self
