"""`fisher-information`: how much of a record's input can be told through the noise of a view, by any estimator?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Count
from ptaudit.spec.game import SEES_SUMS, GameSpec, Loc, no_noise

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec


class FisherInformationGame(GameSpec):
    """`fisher-information`: how much of a record's input can be told through the noise of a view, by any estimator?"""

    name: Literal["fisher-information"]
    """Which game."""
    records: Annotated[Count, Field(ge=8)] = 32
    """Records whose Fisher information is taken."""
    steps: Annotated[Count, Field(ge=8)] = 16
    """Lanczos steps for the largest singular value of a Jacobian; inputs of at most 64 numbers need none."""
    probes: Annotated[Count, Field(ge=2)] = 16
    """Random directions for the sum of its squared singular values; inputs of at most 64 numbers need none."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("reconstruction",)
    metrics: ClassVar[tuple[str, ...]] = ("fisher_loss", "fisher_loss_max", "fisher_loss_training", "psnr_hi_db")
    players: ClassVar[tuple[str, ...]] = ("cramer-rao", "inversion-influence")
    is_of_noise: ClassVar[bool] = True
    growth: ClassVar[float] = 0.0

    @property
    def sees(self) -> str:
        """Sums; what it knows is in a sentence of its own."""
        return SEES_SUMS

    def threat(self, spec: Spec) -> str:
        """Whom the bounds hold for."""
        return (
            "Fisher-information: bounds on whoever estimates the input of a record, and knows the weights, its label "
            "and all other records of the batch."
        )

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses views without noise, of which there is no bound."""
        super().check_gate(gate, at, view, spec)
        if not (view and view.noisy):
            raise no_noise(gate, at)
