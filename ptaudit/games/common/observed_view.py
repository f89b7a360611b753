"""What is observed of a view in the games about a secret of a batch, and the held-out records of who learns from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.pairs import Encoded
from ptaudit.context.encoding import records_left
from ptaudit.context.epoch_context import EpochContext, clipped, groups_of
from ptaudit.context.observations import adaptive, why_not_seen
from ptaudit.context.session import Session
from ptaudit.games.common.batches import Batches
from ptaudit.views import records_needed as needed
from ptaudit.views.knowledge import Asked, Knowledge, Knows
from ptaudit.views.observation import Observation
from ptaudit.views.view import View

DrawBatches = Callable[[Tensor, int, torch.Generator], Batches]
"""Draws about so many games from the records of a part, the targets of neighbouring games being different."""

FIT_GAMES = 4096
"""Most batches that are fitted on, half as many to choose on, in each half; a quarter where every batch is replayed."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out records as the adversary's own: it learns from them too, where that tells it more of members.

    Nothing is reported of them. Training sets members apart from them, so whether they are of use is tried on members.

    Attributes:
        secret: of each of them what the game's `measure` asks of the audited ones, `(M, ...)`.
        observation: what is seen of batches of audited records and of these after them; None where that is not to be
            had.
    """

    secret: Tensor
    observation: Callable[[], Observation | None]

    def batches(
        self, draw: DrawBatches, like: Batches, audited: int, games: int, generator: torch.Generator
    ) -> Batches:
        """Batches of the records of others and of the held-out ones, of one round."""
        records = torch.cat([torch.unique(like.members), torch.arange(audited, audited + len(self.secret))])
        drawn = draw(records, games, generator)
        return replace(drawn, members=drawn.members[:1])


@dataclass(frozen=True)
class ObservedView:
    """What is observed of batches, by whom, and how much is played.

    Attributes:
        view: batch size, rounds and whether all rounds show one batch.
        now: what the played batches look like.
        known: what its own batches look like to the adversary; `now`, unless its weights are late.
        plain: the undefended view as the adversary knows it: everyone is then also asked as a static adversary, fitted
            and calibrated on it. None where the view has no defense.
        groups: for each reported line the rows that the adversary may choose from.
        seed: of split, draws, noise, classifiers and resamples.
        late: whether the adversary has the weights of the epoch before.
        own: most records that it owns; None for half of all.
        batches: most batches that it fits on, and half as many to choose on.
        wider: shows the audited records, and held-out ones after them, where it may learn from these.
        held_out: held-out records as its own, which come after the audited ones; for who knows the view as it is.
    """

    view: View
    now: Observation
    known: Observation
    plain: Observation | None
    groups: Sequence[Sequence[int]]
    seed: int = 0
    late: bool = False
    own: int | None = None
    batches: int = FIT_GAMES
    wider: Callable[[], Observation | None] | None = None
    held_out: HeldOut | None = None

    def beside(self, secret: Tensor) -> ObservedView:
        """With held-out records of this secret as its own, where it may learn from them and there are some."""
        return self if self.wider is None or not len(secret) else replace(self, held_out=HeldOut(secret, self.wider))

    @property
    def ways(self) -> dict[Knowledge, Observation]:
        """What its own batches look like to each kind of adversary."""
        first: dict[Knowledge, Observation] = {"late" if self.late else "adaptive": self.known}
        return first if self.plain is None else first | {"static": self.plain}

    def with_held_out(self, own: Tensor) -> Tensor:
        """What the game asks of the audited records, then of the held-out ones."""
        return own if self.held_out is None else torch.cat([own, self.held_out.secret.to(own)])


def asked(families: Sequence[str], plain: object | None, late: bool = False, knows: Knows = "none") -> list[Asked]:
    """Who plays: each family, and where there is an undefended view each as the static one too."""
    ways: list[Knowledge] = ["late" if late else "adaptive", *([] if plain is None else ["static"])]  # type: ignore[list-item]
    return [Asked(family, way, knows) for way in ways for family in families]


def why_not_encoded(context: EpochContext, view: View, places: list[int]) -> str:
    """Why nothing can be said of a view; empty if something can. Before an encoder is trained for nothing."""
    if reason := context.why_not(view, places) or why_not_seen(context, view):
        return reason
    records = torch.arange(len(context.inside.loss)) if context.encoders is None else context.encoders.left
    why = needed.why_too_few(context.inside.values[places][:, records], view)
    return _of_half(why, context.encoders is not None)


def left_to_games(session: Session) -> int:
    """How many of the audited records play on encoded views: those that no encoder is trained on."""
    n = len(session.members)
    return n if session.spec.audit.tokens.encoder == "sketch" else records_left(n)


def too_few_encoded(session: Session, view: View) -> str:
    """Why there are too few records for a view, as far as is known beforehand; see `why_not_encoded`."""
    return _of_half(needed.too_few(left_to_games(session), view), session.spec.audit.tokens.encoder != "sketch")


def _of_half(why: str, learned: bool) -> str:
    return f"{why}; the other half trains the encoder" if why and learned else why


def encoded_view(context: EpochContext, view: View, places: list[int]) -> Encoded:
    """Sketches of the layers and of all jointly; or the tokens of the view's encoder."""
    if context.encoders is None:
        groups = groups_of(view, len(places))
        who = adaptive(context, view, places)
        every = torch.arange(who.tokens.shape[1])
        return Encoded(who.tokens, every, view, lambda seen: seen, groups, who.observation)
    tokens = clipped(view, context.inside, places)
    encode = context.encoders.of(view, tokens, context.epoch)
    return Encoded(tokens, context.encoders.left, view, encode, [[i] for i in range(1 + len(places))])
