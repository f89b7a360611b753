"""What the games of a spec are about, held against the records: found wrong before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptaudit.errors import DataError
from ptaudit.games.game_play import play_of
from ptaudit.spec.defenses import DefenseSpec

if TYPE_CHECKING:
    from ptaudit.context.session import Session


def with_whole_users(
    user: NDArray[np.generic], members: NDArray[np.int64], wanted: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Members of random users, all their records, until there are enough: a user game needs several of each.

    Args:
        user: user of every record.
        members: records to choose from.
        wanted: how many.
        generator: of the order.
    """
    order = generator.permutation(members)
    _, place, count = np.unique(user[order], return_inverse=True, return_counts=True)
    rank = generator.permutation(len(count))
    chosen = order[np.argsort(rank[place], kind="stable")][:wanted]
    return np.asarray(generator.permutation(chosen))


def check_secrets(session: Session) -> None:
    """Refuses games and defenses that do not fit the records.

    Raises:
        DataError: a secret that is the same for all, or a number where classes are needed; users with few records.
        SpecError: values that no record has; settings or gates that these records leave without use.
    """
    for game in session.spec.audit.games:
        play_of(game).check(session, game)
    for view in session.spec.audit.views:
        if view.defense is not None:
            _check_defense(session, view.defense, f"view {view.name}", trained=False)
    for defense in session.spec.defenses:
        _check_defense(session, defense, f"defense {defense.title}", trained=True)


def _check_defense(session: Session, defense: DefenseSpec, where: str, trained: bool) -> None:
    """As for `train.defense`: a defense that is trained with too learns from members as well."""
    own = {"held-out records": session.others, **({"members": session.split.members} if trained else {})}
    try:
        defense.check_records(session.records, session.split, own)
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from error
