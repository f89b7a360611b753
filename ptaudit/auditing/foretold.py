"""Games that will be inconclusive on these records, known before anything is trained, with the number they need."""

from __future__ import annotations

from ptaudit.context.session import Session
from ptaudit.games.game_play import play_of


def foretold(session: Session) -> tuple[str, ...]:
    """What will be inconclusive, and what would help, one sentence each."""
    return tuple(text for game in session.spec.audit.games for text in play_of(game).inconclusive(session, game))
