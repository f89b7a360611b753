"""`content`: what decoders rebuild of a record from the gradient of the batch that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.attacks.registry import OF_CONTENT
from ptaudit.games.common.settings import listed
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import unique
from ptaudit.spec.game import GameSpec, Titled
from ptaudit.spec.registry import NameIn

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

Family = Annotated[str, NameIn(OF_CONTENT)]

_GROWTH = {"linear": 1.0, "mlp": 0.5, "conv": 0.4}
"""Power of the records with which the time of each grows: of networks the steps are given."""


class ContentGame(Titled):
    """`content`: what decoders rebuild of a record from the gradient of the batch that it is in."""

    name: Literal["content"]
    """Which game."""
    family: Annotated[
        list[Family],
        BeforeValidator(listed, json_schema_input_type=Family | list[Family]),
        Field(min_length=1),
    ] = ["linear"]  # noqa: RUF012 - pydantic copies defaults
    """One family of decoders or several: `linear`, `mlp`, and for pictures `conv`."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("reconstruction",)
    finds: ClassVar[str] = "lets decoders rebuild"
    told_by: ClassVar[tuple[str, ...]] = ("explained_variance",)
    metrics: ClassVar[tuple[str, ...]] = (
        "bits", "explained_variance", "psnr_db", "psnr_gain_db", "ssim", "ssim_gain", "fields", "fields_gain", "tokens",
        "tokens_gain",
    )  # fmt: skip

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every family."""
        return tuple(OF_CONTENT)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Its families."""
        return tuple(self.family)

    @property
    def sees(self) -> str:
        """It learns from audited records alone."""
        return "Sees the summed gradients of a view; knows the weights and three quarters of the audited records."

    def threat(self, spec: Spec) -> str:
        """What it wants."""
        return (
            f"{self.title.capitalize()}: rebuilds one record of the batch by decoders that it fits to its own records."
        )

    def alone(self) -> list[tuple[GameSpec, float]]:
        """Each family alone."""
        return [(self.model_copy(update={"family": [one]}), _GROWTH[one]) for one in self.family]

    @model_validator(mode="after")
    def _families_differ(self) -> ContentGame:
        unique(self.family, "family", lambda index: ("family", index))
        return self
