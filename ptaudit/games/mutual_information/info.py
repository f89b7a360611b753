"""`mutual-information`: bits between a record's data features and the gradient of the batch that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.estimators.registry import ESTIMATORS, taking
from ptaudit.games.common.settings import listed
from ptaudit.spec.base import Count, unique
from ptaudit.spec.catalog import CHANNEL
from ptaudit.spec.game import GameSpec, Loc, Titled, cannot_play, no_noise
from ptaudit.spec.registry import NameIn

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

Estimator = Annotated[str, NameIn(ESTIMATORS)]


class MutualInformationGame(Titled):
    """`mutual-information`: bits between a record's data features and the gradient of the batch that it is in."""

    name: Literal["mutual-information"]
    """Which game."""
    features: Literal["activations", "input", "label"] = "activations"
    """What stands for the record: the model's own `activations`, the `input` by random projection, or the `label`."""
    estimator: Annotated[
        list[Estimator],
        BeforeValidator(listed, json_schema_input_type=Estimator | list[Estimator]),
        Field(min_length=1),
    ] = ["infonce"]  # noqa: RUF012 - pydantic copies defaults
    """One estimator or several; `infonce`, `nwj` and `sliced` are lower bounds."""
    critic: Literal["separable", "joint"] = "separable"
    """Network of the estimators that train one: a product of embeddings, or one network of both sides."""
    neighbours: Count = 3
    """Neighbours that the k-NN estimators look at."""

    finds: ClassVar[str] = "has in common with the data of a record"
    told_by: ClassVar[tuple[str, ...]] = ("bits",)
    metrics: ClassVar[tuple[str, ...]] = ("bits", "matched_minus_mismatched_bits", "upper_bits")
    needs_encoder: ClassVar[bool] = True

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every estimator, and the bound of the noise."""
        return (*ESTIMATORS, CHANNEL)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Its estimators; and the bound of the noise, where a view has some."""
        return (*self.estimator, CHANNEL)

    def idle(self) -> Mapping[str, str]:
        """Settings of estimators that are not asked."""
        asked = ", ".join(f"`{name}`" for name in self.estimator)
        return {option: asked for option in ("critic", "neighbours") if not taking(option) & set(self.estimator)}

    def alone(self) -> list[tuple[GameSpec, float]]:
        """Each estimator alone; of those that train a network the steps are given."""
        critics = taking("critic")
        return [(self.model_copy(update={"estimator": [e]}), 0.5 if e in critics else 1.0) for e in self.estimator]

    def at_least_identity(self, bare: bool) -> bool:
        """I(X;G) is; of what the label tells only without noise, up to its own ceiling."""
        return bare or self.features != "label"

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses the upper bound without noise, and mixing it up with estimates."""
        if gate.measure == "upper_bits" and not (view and view.noisy):
            raise no_noise(gate, at)
        super().check_gate(gate, at, view, spec)
        if gate.adversary == CHANNEL and gate.measure != "upper_bits":
            remedy = f"it reports {gate.game}.upper_bits"
            raise cannot_play(gate, at, f"does not report `{gate.measure}`", remedy)
        if gate.adversary not in (None, CHANNEL) and gate.measure == "upper_bits":
            raise cannot_play(gate, at, "reports no `upper_bits`", f"only `{CHANNEL}` does")

    @model_validator(mode="after")
    def _estimators_differ(self) -> MutualInformationGame:
        unique(self.estimator, "estimator", lambda index: ("estimator", index))
        return self
