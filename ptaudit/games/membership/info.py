"""`membership`: was a record trained on?"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.games.common.settings import listed
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Text, Whole, fault, nearest, unique
from ptaudit.spec.game import GameSpec, Loc, cannot_play

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

OF_TOKENS = ("gradient-norm", "gradient-likelihood")
"""Attacks on gradients, of every layer too."""

OWN = ("loss", *OF_TOKENS)
"""Attacks that need the model alone."""

UPDATE = "update-product"
"""The attack that has the weights of the epoch before, too; of every layer."""

OF_LAYERS = (*OF_TOKENS, UPDATE)

OF_OUTPUTS = ("modified-entropy", "loss-trace")
"""Attacks on what the model says of records, now or at all audited epochs so far; they need no reference models."""

LEARNED = "quantile-regression"
"""The attack that learns from held-out records how members would be without training."""

DISTANCE = "adversarial-distance"
"""The attack that moves inputs until the model says another class."""

OF_CONFIDENCE = ("modified-entropy", LEARNED)
"""Attacks without reference models that may ask about several views of a record."""

POOLED = ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001", "tpr_at_fpr_0")
TAIL = "tnr_at_fnr_0.01"
"""Of the loss alone: what it foretells of attacks with reference models (arXiv 2510.19773)."""

OF_EACH_RECORD = ("record_tpr_at_fpr_0.01", "record_tpr_at_fpr_0.001")
"""What is reached where every record has the false-positive rate, and not only all of them on average."""

OF_FLEET = ("fleet_auc", "fleet_tpr_at_fpr_0.01")
"""Of every reference model in turn as the target: what another training would give away."""


def with_references() -> tuple[str, ...]:
    """Attacks that hold what the model says of a record against what reference models say."""
    return tuple(name for name, attack in ATTACKS.items() if attack.outside)


def likelihood_ratios() -> tuple[str, ...]:
    """Those of them whose scores can be calibrated for each record: they look at nothing but the confidence."""
    return tuple(name for name in with_references() if ATTACKS[name].needs == ("confidence",))


def metrics_of(adversary: str) -> tuple[str, ...]:
    """What an adversary reports."""
    attack = ATTACKS.get(adversary)
    of_loss = (TAIL,) if adversary == "loss" else ()
    of_each = OF_EACH_RECORD if adversary in likelihood_ratios() else ()
    of_fleet = OF_FLEET if attack is not None and attack.outside and not attack.learns else ()
    return (*POOLED, *of_loss, *of_each, *of_fleet)


class MembershipGame(GameSpec):
    """`membership`: was a record trained on?"""

    name: Literal["membership"]
    """Which game."""
    attacks: (
        Annotated[list[Text], BeforeValidator(listed, json_schema_input_type=Text | list[Text]), Field(min_length=1)]
        | None
    ) = None
    """Which attacks are played, one or several; default `loss`, `gradient-norm` and `gradient-likelihood`, and with a
    `fleet` all but those that have to be asked for: `update-product`, which also has the weights of the epoch before,
    and reads all gradients again; `quantile-regression`; and `adversarial-distance`, which takes some thirty passes."""

    queries: Annotated[Whole, Field(ge=1, le=18)] = 1
    """How many views of each record the model and the reference models are asked about: the record, then pictures
    mirrored and shifted by a pixel, or rows of numbers with a little noise. Attacks on outputs take the mean over as
    many of them as tell the members of reference models best."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("membership inference",)
    finds: ClassVar[str] = "tells who was trained on"
    told_by: ClassVar[tuple[str, ...]] = ("auc",)
    metrics: ClassVar[tuple[str, ...]] = (*POOLED, TAIL, *OF_EACH_RECORD, *OF_FLEET)
    uses_held_out: ClassVar[bool] = True
    about_members: ClassVar[bool] = True
    scores_records: ClassVar[bool] = True
    gated_over: ClassVar[str] = "joint"

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every attack; those with reference models play where the spec has a fleet."""
        return (*OWN, *OF_OUTPUTS, LEARNED, DISTANCE, UPDATE, *with_references())

    def asked(self, spec: Spec) -> tuple[str, ...]:
        """The attacks that are played."""
        if self.attacks is not None:
            return tuple(self.attacks)
        return OWN if spec.fleet is None else (*OWN, *OF_OUTPUTS, *with_references())

    @property
    def uses_fleet(self) -> bool:  # type: ignore[override]
        """Whether an attack with reference models may play."""
        return self.attacks is None or not set(self.attacks).isdisjoint(with_references())

    @property
    def needs_earlier_weights(self) -> bool:  # type: ignore[override]
        """Whether an attack has the weights of the epoch before."""
        return UPDATE in (self.attacks or ())

    @property
    def control(self) -> MembershipGame:
        """All attacks that have the model alone: some others have nothing to look at before training."""
        return self if self.attacks is None else self.model_copy(update={"attacks": list(OWN)})

    @property
    def own_players(self) -> tuple[str, ...]:
        """Those that have the model alone."""
        return OWN

    @property
    def queries_each(self) -> int:
        """How many views of each record models are asked about."""
        return self.queries

    @property
    def on_views(self) -> bool:
        """It is played on the trained model."""
        return False

    def threat(self, spec: Spec) -> str:
        """Who holds the model."""
        model = "the model, its weights of the epoch before," if self.needs_earlier_weights else "the model"
        said = f"Membership: holds {model} and labelled members and non-members of the other half"
        if spec.fleet is None:
            return f"{said}."
        return f"{said}, and {spec.fleet.models} models trained alike on random halves of all records."

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses attacks with reference models that are not there, and queries that no attack asks."""
        asking = (*OF_CONFIDENCE, *with_references())
        if self.queries > 1 and set(self.asked(spec)).isdisjoint(asking):
            what = f"`queries: {self.queries}` is used by no attack of the game"
            remedy = f"add `fleet: {{models: 16}}`, or name one of {', '.join(asking)} in `attacks`"
            raise fault(what, at=(*at, "queries"), remedy=remedy)
        for index, name in enumerate(self.attacks or ()):
            if name in with_references() and spec.fleet is None:
                what = f"attack `{name}` needs reference models"
                raise fault(what, at=(*at, "attacks", index), remedy="add `fleet: {models: 16}`")

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses attacks that are not played, outputs of single layers, and reference models that are not there."""
        if gate.adversary in with_references() and spec.fleet is None:
            raise cannot_play(gate, at, "needs reference models", "add `fleet: {models: 16}`")
        asked = self.asked(spec)
        if gate.adversary is not None and gate.adversary not in asked:
            raise cannot_play(gate, at, "is not asked in its game", "name it in the `attacks` of the game")
        if gate.measure not in POOLED:
            _check_reported(gate, at, asked)
        if gate.over in ("joint", "all"):
            return
        if gate.adversary not in (None, *OF_LAYERS):
            raise cannot_play(gate, at, "plays on the whole model, not on layers", "set over: joint")
        if set(asked).isdisjoint(OF_LAYERS):
            what = f"gate `{gate.id}`: the attacks of its game play on the whole model, not on layers"
            raise fault(what, at=(*at, "over"), remedy="set over: joint")

    @model_validator(mode="after")
    def _attacks_are_known(self) -> MembershipGame:
        known = self.all_players()
        for index, name in enumerate(self.attacks or ()):
            if name not in known:
                raise fault(f"unknown attack `{name}`", at=("attacks", index), remedy=nearest(name, known))
        unique(self.attacks or (), "attack", lambda index: ("attacks", index))
        return self


def _check_reported(gate: GateSpec, at: Loc, asked: Collection[str]) -> None:
    """Refuses a gate on a metric that none of its attacks reports."""
    able = [name for name in asked if gate.measure in metrics_of(name)]
    if not able:
        every = [name for name in MembershipGame.all_players() if gate.measure in metrics_of(name)]
        needs = "`fleet: {models: 16}` and one of" if set(every) <= set(with_references()) else "one of"
        what = f"gate `{gate.id}`: no attack of its game reports `{gate.metric}`"
        raise fault(what, at=(*at, "metric"), remedy=f"it needs {needs}: {', '.join(every)}")
    if gate.adversary not in (None, *able):
        raise cannot_play(gate, at, f"reports no {gate.measure}", f"there are: {', '.join(able)}")
    if gate.over not in ("joint", "all"):
        what = f"gate `{gate.id}`: {gate.measure} is of the whole model"
        raise fault(what, at=(*at, "over"), remedy="set over: joint")
