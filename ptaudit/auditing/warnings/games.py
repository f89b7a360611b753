"""Games that will be inconclusive on these records, known before anything is trained, with the number they need."""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.auditing.warnings.subject import Subject
from ptaudit.games.game_play import play_of


def inconclusive_games(about: Subject) -> Iterator[str]:
    """What will be inconclusive, and what would help, one sentence each."""
    for game in about.session.spec.audit.games:
        yield from play_of(game).inconclusive(about.session, game)
