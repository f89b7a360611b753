"""Games that will be inconclusive on these records, known before anything is trained, with the number they need."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ptaudit.auditing.data_checks import column_of
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.attribute_encoding import having
from ptaudit.context.session import Session
from ptaudit.estimators.uniqueness import LEAST_RECORDS
from ptaudit.games.membership.measure import LOW_FPRS, MIN_RECORDS, metric
from ptaudit.games.membership.play import who_is_unknown
from ptaudit.games.property.measure import LEAST_WITH
from ptaudit.spec.inference import PropertyGame
from ptaudit.spec.model import UsableInformationGame
from ptaudit.spec.play import GameSpec
from ptaudit.stats.roc import MIN_FALSE_POSITIVES


def inconclusive_games(about: Subject) -> Iterator[str]:
    """What will be inconclusive, and what would help, one sentence each."""
    for game in about.session.spec.audit.games:
        yield from _of(about.session, game)


def _of(session: Session, game: GameSpec) -> Iterator[str]:
    if game.name == "membership":
        yield from _membership(session, game)
    elif game.name == "label" and session.records.classes is None:
        yield f"Game {game.title} will be inconclusive: {_no_classes(session)}, and it is about one class a record."
    elif isinstance(game, UsableInformationGame) and game.secret == "label" and session.records.targets.dim() > 1:
        yield f"Game {game.title} will be inconclusive: {_no_classes(session)}, and it is about one label a record."
    elif game.name == "uniqueness" and len(session.members) < LEAST_RECORDS:
        yield f"Game {game.title} needs {LEAST_RECORDS} audited records, there are {len(session.members)}."
    elif isinstance(game, PropertyGame):
        many = int(having(column_of(session, game), game.values)[session.members].sum())
        if many < LEAST_WITH:
            yield (
                f"Game {game.title} will be inconclusive: it needs {LEAST_WITH} audited records with the property, "
                f"there are {many}."
            )


def _no_classes(session: Session) -> str:
    targets = session.records.targets
    if targets.dim() > 1:
        return f"a record has a label of shape {tuple(targets.shape[1:])}"
    return "the targets are numbers"


def _membership(session: Session, game: GameSpec) -> Iterator[str]:
    if unknown := who_is_unknown(session.spec):
        yield f"Game {game.title} will be inconclusive: {unknown}."
        return
    n, outside = min(len(session.members), len(session.others)), len(session.others)
    if n < MIN_RECORDS:
        yield (
            f"Game {game.title} will be inconclusive: it needs {MIN_RECORDS} members and as many held-out records, "
            f"there are {len(session.members)} and {outside}."
        )
        return
    needs = {metric(fpr): math.ceil(MIN_FALSE_POSITIVES / fpr) for fpr in LOW_FPRS}
    short = [f"{game.title}.{name} needs {needed}" for name, needed in needs.items() if outside < needed]
    if short:
        yield f"Will be inconclusive: {' and '.join(short)} held-out records in the audit, there are {outside}."
