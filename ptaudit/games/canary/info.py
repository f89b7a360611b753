"""`canary`: what the records that `canaries` made give away; played where the spec has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import fault, nearest
from ptaudit.spec.canaries import ATTACK, KINDS, REPORTS, RUN_TESTS, STEP_TESTS, About, CanarySpec, adversary
from ptaudit.spec.game import GameSpec, Loc, no_noise

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

_ABOUT: tuple[About, ...] = ("membership", "attribute")


class CanaryGame(GameSpec):
    """`canary`: what the records that `canaries` made give away; played where the spec has them."""

    name: Literal["canary"] = "canary"
    """Which game."""
    canaries: CanarySpec
    """The part of the spec that asks for it."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("membership inference",)
    finds: ClassVar[str] = "gives away records that were made to be found,"
    told_by: ClassVar[tuple[str, ...]] = ("epsilon_lo", "auc")
    metrics: ClassVar[tuple[str, ...]] = ("epsilon_lo", "auc", "bits")
    players: ClassVar[tuple[str, ...]] = tuple(
        adversary(kind, test, about) for kind in KINDS for test in (*STEP_TESTS, ATTACK, *RUN_TESTS) for about in _ABOUT
    )
    of_part: ClassVar[str] = "canaries"
    gated_over: ClassVar[str] = "joint"
    reads_model: ClassVar[bool] = True
    counts: ClassVar[str] = "canaries"

    @property
    def on_model(self) -> bool:
        """Whether canaries were trained on."""
        return self.canaries.train

    @property
    def sees(self) -> str:
        """What its own sentence says."""
        return ""

    def threat(self, spec: Spec) -> str:
        """The worst case."""
        return "Canary: the worst case of differential privacy, who knows every other record of the batch."

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses gates on single layers, on tests that do not report the metric, and on several bounds at once."""
        if gate.over not in ("joint", "all"):
            what = f"gate `{gate.id}`: canaries are about all layers jointly, not about `{gate.over}`"
            raise fault(what, at=(*at, "over"), remedy="set over: joint")
        names = self.canaries.step_adversaries if view else self.canaries.run_adversaries
        if gate.adversary is not None and gate.adversary not in names:
            what = f"gate `{gate.id}`: adversary `{gate.adversary}` does not play on view `{gate.view}`"
            raise fault(what, at=(*at, "adversary"), remedy=nearest(gate.adversary, names))
        if gate.measure == "epsilon_lo" and view and not view.noisy:
            raise no_noise(gate, at)
        asked = names.values() if gate.adversary is None else (names[gate.adversary],)
        if not any(gate.measure in REPORTS[test] for test in asked):
            who = "the canaries of a training do" if gate.adversary is None else f"adversary `{gate.adversary}` does"
            what = f"gate `{gate.id}`: {who} not report `{gate.measure}`"
            known = dict.fromkeys(metric for test in asked for metric in REPORTS[test])
            raise fault(what, at=(*at, "metric"), remedy=f"there are: {', '.join(known)}")
        if gate.measure == "epsilon_lo":
            _check_alone(gate, at, [name for name, test in names.items() if gate.measure in REPORTS[test]], spec)


def _check_alone(gate: GateSpec, at: Loc, names: list[str], spec: Spec) -> None:
    """Refuses a gate on several bounds: each holds with its own 95 %, and the largest of them with less."""
    why, epochs = "each holds at 95 % by itself, not the largest of them", len(spec.audited_epochs)
    if gate.adversary is None and len(names) > 1:
        what = f"gate `{gate.id}` is on the bounds on epsilon of {len(names)} adversaries: {why}"
        raise fault(what, at=at, remedy=f"name one adversary: {', '.join(names)}")
    if gate.epoch in ("all", "max") and epochs > 1:
        what = f"gate `{gate.id}` is on the bounds on epsilon of {epochs} epochs: {why}"
        raise fault(what, at=(*at, "epoch"), remedy="name one epoch: `last`, `first` or a number")
