"""`membership`: was a record trained on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.spec.game import GameSpec, Loc, cannot_play

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

OF_TOKENS = ("gradient-norm", "gradient-likelihood")
"""Attacks on gradients, of every layer too."""


def with_references() -> tuple[str, ...]:
    """Attacks that hold what the model says of a record against what reference models say."""
    return tuple(name for name, attack in ATTACKS.items() if attack.outside)


class MembershipGame(GameSpec):
    """`membership`: was a record trained on?"""

    name: Literal["membership"]
    """Which game."""

    metrics: ClassVar[tuple[str, ...]] = ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
    uses_fleet: ClassVar[bool] = True
    uses_held_out: ClassVar[bool] = True
    about_members: ClassVar[bool] = True
    gated_over: ClassVar[str] = "joint"

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every attack; those with reference models play where the spec has a fleet."""
        return ("loss", *OF_TOKENS, *with_references())

    @property
    def on_views(self) -> bool:
        """It is played on the trained model."""
        return False

    def threat(self, spec: Spec) -> str:
        """Who holds the model."""
        said = "Membership: holds the model and labelled members and non-members of the other half"
        if spec.fleet is None:
            return f"{said}."
        return f"{said}, and {spec.fleet.models} models trained alike on random halves of all records."

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses outputs of single layers, and reference models that are not there."""
        super().check_gate(gate, at, view, spec)
        if gate.adversary in with_references() and spec.fleet is None:
            raise cannot_play(gate, at, "needs reference models", "add `fleet: {models: 16}`")
        if gate.adversary not in (None, *OF_TOKENS) and gate.over not in ("joint", "all"):
            raise cannot_play(gate, at, "plays on the whole model, not on layers", "set over: joint")
