"""Gates on games about what records hold: what such a game reports depends on the kind of the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.spec.game import GameSpec


def check_gates(session: Session, game: GameSpec, told_by: Callable[[str | None], Sequence[str]]) -> None:
    """Refuses gates on metrics that no row of these records has.

    Args:
        session: what is audited.
        game: the game.
        told_by: the metrics of an adversary, or of all where it is None.

    Raises:
        SpecError: such a gate.
    """
    for gate in session.spec.gates:
        if gate.game == game.title and gate.measure not in (told := told_by(gate.adversary)):
            raise SpecError(
                f"`{game.title}` does not report `{gate.measure}` of records that are {session.content.kind}",
                where=f"gate {gate.id}",
                remedy=f"rows of {gate.adversary or game.title} report {', '.join(told)}",
            )
