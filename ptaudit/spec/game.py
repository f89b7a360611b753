"""What all games share: settings in the spec, and what is known of a game without playing it.

A game is a folder `games/NAME`: `info.py`, without torch, has its class of settings, a subclass of `GameSpec` whose
class variables say what it measures and needs; `play.py` has a `GamePlay` that plays it. One line in `games.registry`
makes it known to specs, gates, checks, reports and the JSON Schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Label, Part, fault

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec

Loc = tuple[str | int, ...]

SEES_SUMS = "Sees the summed gradients of a view."
KNOWS_HALF = "Sees the summed gradients of a view; knows the weights, half of the audited records and held-out ones."


class GameSpec(Part):
    """A game that is played; a bare name will do."""

    name: str
    """Which game."""

    metrics: ClassVar[tuple[str, ...]] = ()
    """What it reports, the one that stands for it first."""
    finds: ClassVar[str] = ""
    """What the adversary does with what it sees, for people: `a batch of 32` and this, and how well, are a sentence;
    `{candidates}` is among how many. Empty where its numbers are no adversary's success."""
    told_by: ClassVar[tuple[str, ...]] = ("accuracy", "auc", "bits")
    """The metrics that such a sentence may be about, the first that was measured."""
    players: ClassVar[tuple[str, ...]] = ()
    """Those that can play it, where they are no registry, see `all_players`."""
    of_part: ClassVar[str] = ""
    """The part of the spec that asks for it; without one, `audit.games` does."""
    uses_held_out: ClassVar[bool] = False
    """Whether it has a use for the tokens of held-out records."""
    needs_encoder: ClassVar[bool] = False
    """Whether it is played on the tokens of `audit.tokens.encoder`; the others need tokens that can be added up."""
    needs_earlier_weights: ClassVar[bool] = False
    """Whether an adversary has the weights of the epoch before."""
    needs_whole_users: ClassVar[bool] = False
    """Whether the audited records are to be all those of some users."""
    about_members: ClassVar[bool] = False
    """Whether it tells members from held-out records, so that the untrained model is its control."""
    uses_fleet: ClassVar[bool] = False
    """Whether it is played with reference models where the spec has a fleet."""
    follows_fleet: ClassVar[bool] = False
    """Whether it looks at what reference models say at all audited epochs at once."""
    names_records: ClassVar[bool] = False
    """Whether its bits are about the record itself: information about the record is then at least as much."""
    has_static: ClassVar[bool] = False
    """Whether the threat model is to tell adaptive adversaries from static ones."""
    gated_over: ClassVar[str] = "layers"
    """Which rows a gate is on where it does not say."""
    scores_records: ClassVar[bool] = False
    """Whether it scores single records, which `--keep-records` keeps."""
    lists: ClassVar[dict[str, str]] = {}
    """Settings that may be lists, each value making a game, with what its `id` gets in front of the value."""
    growth: ClassVar[float] = 0.1
    """Power of the records with which its time grows on batches, whose number is held."""
    batches: ClassVar[int] = 6000
    """Batches that it looks at: where a view does not add up, their gradients are taken one by one."""
    reads_model: ClassVar[bool] = False
    """Whether it takes gradients through the whole model, whatever layers are audited."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ()
    """Classes of attacks that it plays, as regulators name them, see `spec.attack_classes`."""
    counts: ClassVar[str] = "records"
    """What the column `n` counts, of which more narrow its intervals."""
    is_of_noise: ClassVar[bool] = False
    """Whether it is about noise of known size: of plain sums there is nothing to compute, and views that clip alike
    share its work, however large their batches and their noise are."""

    @classmethod
    def all_players(cls) -> tuple[str, ...]:
        """Every adversary, or estimator, that can play it."""
        return cls.players

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.name

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that were asked for; None for all that can play."""
        return None

    @property
    def control(self) -> GameSpec:
        """The game as it is played on the untrained model, where that is its control."""
        return self

    @property
    def own_players(self) -> tuple[str, ...]:
        """Those without whom it is no control."""
        return ()

    @property
    def on_views(self) -> bool:
        """Whether it is played on the views of the spec."""
        return True

    @property
    def on_model(self) -> bool:
        """Whether it is played on the view `model`, once an epoch."""
        return not self.on_views

    @property
    def queries_each(self) -> int:
        """How many views of each record reference models are asked about."""
        return 1

    @property
    def sees(self) -> str:
        """What its adversary sees and knows, where that is what others do too: a sentence of the threat model."""
        return KNOWS_HALF if self.on_views else ""

    def threat(self, spec: Spec) -> str:
        """Its own sentence in the threat model."""
        return ""

    def alone(self) -> list[tuple[GameSpec, float]]:
        """The game with each of its estimators alone, and the power of the records that their time grows with."""
        return [(self, self.growth)]

    def at_least_identity(self, bare: bool) -> bool:
        """Whether its bits are about something of which the identity game of the same view tells a lower bound.

        Args:
            bare: whether the view has no noise.
        """
        return False

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses what the game cannot be played on, as far as the spec alone tells."""

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses a gate that can match no row; its metric and view are known to be there.

        Args:
            gate: the gate.
            at: its place in the spec.
            view: its view; None for `model`.
            spec: the whole.
        """
        if gate.adversary is not None and self.adversaries is not None and gate.adversary not in self.adversaries:
            raise cannot_play(gate, at, "is not asked in its game", f"there are: {', '.join(self.adversaries)}")


class Titled(GameSpec):
    """A game that may be played twice."""

    id: Label | None = None
    """Name in the tables and gates, without a dot; default the game's name. Needed where a game is played twice."""

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.id or self.name

    @model_validator(mode="after")
    def _id_has_no_dot(self) -> Titled:
        if self.id is not None and "." in self.id:
            what = f"the id `{self.id}` of a game has a dot in it"
            raise fault(what, at=("id",), remedy="a gate's metric is `game.metric`: use `-` or `_`")
        return self


def cannot_play(gate: GateSpec, at: Loc, what: str, remedy: str) -> Exception:
    """The error of a gate whose adversary has no row in its view."""
    return fault(f"gate `{gate.id}`: adversary `{gate.adversary}` {what}", at=(*at, "adversary"), remedy=remedy)


def no_noise(gate: GateSpec, at: Loc) -> Exception:
    """The error of a gate on a metric that needs noise, on a view without any."""
    what = f"gate `{gate.id}`: metric `{gate.metric}` needs noise, which view `{gate.view}` has none of"
    return fault(what, at=(*at, "metric"), remedy="give the view a defense with a noise_multiplier")
