"""What the games of a spec are about, held against the records: found wrong before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptaudit.context.attribute_encoding import attribute_secret, having
from ptaudit.errors import DataError, SpecError
from ptaudit.games.attribute.known_rest import ADVERSARY
from ptaudit.games.user.draws import records_of
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.inference import (
    AttributeGame,
    DistributionGame,
    LocalisationGame,
    ProbedGame,
    PropertyGame,
    UserGame,
)
from ptaudit.spec.play import GameSpec
from ptaudit.spec.secrets import about_attribute, attribute_of

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


def column_of(session: Session, game: GameSpec) -> NDArray[np.generic]:
    """The column that a game is about, of every record: an attribute, or the label."""
    if about_attribute(game):
        return session.records.columns[attribute_of(game, session.spec)]
    return session.records.targets.cpu().numpy()


def check_secrets(session: Session) -> None:
    """Refuses games and defenses that do not fit the records.

    Raises:
        DataError: a secret that is the same for all, or a number where classes are needed; users with few records.
        SpecError: values that no record has; settings or gates that these records leave without use.
    """
    for game in session.spec.audit.games:
        if isinstance(game, ProbedGame):
            _check_own(session, game)
        if isinstance(game, AttributeGame):
            _check_players(session, game)
        if isinstance(game, AttributeGame | LocalisationGame):
            _check_classes(session, game)
        elif isinstance(game, PropertyGame | DistributionGame):
            _check_values(session, game)
        elif isinstance(game, UserGame):
            _check_users(session, game)
    for view in session.spec.audit.views:
        if view.defense is not None:
            _check_defense(session, view.defense, f"view {view.name}", trained=False)
    for defense in session.spec.defenses:
        _check_defense(session, defense, f"defense {defense.title}", trained=True)


def _check_own(session: Session, game: ProbedGame) -> None:
    most = len(session.members) // 2
    if game.own_records is not None and game.own_records > most:
        what = f"own_records {game.own_records} is more than half of the {len(session.members)} audited records"
        raise SpecError(what, where=f"game {game.title}", remedy=f"at most {most}, or audit more records")


def _check_players(session: Session, game: AttributeGame) -> None:
    """Who plays depends on whether the attribute is an input that can be tried out."""
    name = attribute_of(game, session.spec)
    there = name in session.records.fields
    if game.form == "input" and not there:
        what = f"`{name}` is no input column of a table, so no value of it can be tried out"
        raise SpecError(what, where=f"game {game.title}", remedy="use form: latent")
    exact = is_input(session, game)
    if exact and "adversary" in game.model_fields_set:
        what = f"`{name}` is an input column, of which the likelihood ratio alone plays: `adversary` is not used"
        raise SpecError(what, where=f"game {game.title}", remedy="use form: latent, or remove it")
    players = [ADVERSARY] if exact else game.adversary
    for gate in session.spec.gates:
        if gate.game == game.title and gate.adversary is not None and gate.adversary not in players:
            what = f"adversary `{gate.adversary}` does not play game `{game.title}`"
            raise SpecError(what, where=f"gate {gate.id}", remedy=f"there are: {', '.join(players)}")


def is_input(session: Session, game: AttributeGame) -> bool:
    """Whether the attribute is an input whose values the adversary tries out."""
    return game.form != "latent" and attribute_of(game, session.spec) in session.records.fields


def _check_defense(session: Session, defense: DefenseSpec, where: str, trained: bool) -> None:
    """As for `train.defense`: a defense that is trained with too learns from members as well."""
    own = {"held-out records": session.others, **({"members": session.split.members} if trained else {})}
    try:
        defense.check_records(session.records, session.split, own)
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from error


def _check_classes(session: Session, game: AttributeGame | LocalisationGame) -> None:
    name = attribute_of(game, session.spec) if about_attribute(game) else "the label"
    column = column_of(session, game)
    if column.ndim > 1:
        raise DataError(f"game `{game.title}` needs one label for each record", where="data")
    secret = attribute_secret(column[session.members])
    where = f"game {game.title}"
    if secret.names is None:
        what = f"`{name}` is a number with many values, and the game is about classes"
        raise DataError(what, where=where, remedy="use usable-information, or put it into classes")
    if len(secret.names) < 2:
        what = f"`{name}` has one value among the audited members: {', '.join(secret.names)}"
        raise DataError(what, where=where, remedy="choose another column")


def _check_values(session: Session, game: PropertyGame | DistributionGame) -> None:
    column = column_of(session, game)
    where = f"game {game.title}"
    if column.ndim > 1:
        raise DataError(f"game `{game.title}` needs one label for each record", where="data")
    if not about_attribute(game) and attribute_secret(column).names is None:
        what = "the label is a number with many values, and the game is about classes"
        raise DataError(what, where=where, remedy="choose an attribute, or put the label into classes")
    try:
        mask = having(column, game.values)[session.members]
    except ValueError as error:
        raise SpecError(str(error), where=where, remedy="correct `values`") from error
    if mask.all() or not mask.any():
        what = f"{'every' if mask.all() else 'no'} audited member has the property"
        raise DataError(what, where=where, remedy="change `values`, or audit more records")


def _check_users(session: Session, game: UserGame) -> None:
    assert session.spec.data.user is not None
    _, count = np.unique(session.records.columns[session.spec.data.user][session.members], return_counts=True)
    for view in session.views:
        needed = records_of(view) + 1
        if (count >= needed).sum() < 2:
            what = (
                f"view `{view.name}` shows {needed - 1} records of one user, and the adversary has another one: of "
                f"{len(count)} users among the audited members the largest has {count.max()}"
            )
            raise DataError(
                what, where=f"game {game.title}", remedy="lower batch_size or rounds, or audit more records"
            )
