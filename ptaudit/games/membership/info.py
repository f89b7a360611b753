"""`membership`: was a record trained on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.game import GameSpec, Loc, cannot_play

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec


class MembershipGame(GameSpec):
    """`membership`: was a record trained on?"""

    name: Literal["membership"]
    """Which game."""

    metrics: ClassVar[tuple[str, ...]] = ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
    players: ClassVar[tuple[str, ...]] = ("loss", "gradient-norm", "gradient-likelihood")
    uses_held_out: ClassVar[bool] = True
    about_members: ClassVar[bool] = True
    gated_over: ClassVar[str] = "joint"

    @property
    def on_views(self) -> bool:
        """It is played on the trained model."""
        return False

    def threat(self, spec: Spec) -> str:
        """Who holds the model."""
        return "Membership: holds the model and labelled members and non-members of the other half."

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses the loss of single layers."""
        super().check_gate(gate, at, view, spec)
        if gate.adversary == "loss" and gate.over not in ("joint", "all"):
            raise cannot_play(gate, at, "plays on the whole model, not on layers", "set over: joint")
