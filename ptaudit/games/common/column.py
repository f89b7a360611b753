"""The column that a game is about, held against the records: found wrong before anything is trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret, having
from ptaudit.errors import DataError, SpecError
from ptaudit.games.attribute.info import AttributeGame
from ptaudit.games.common.settings import AboutColumn, AboutValues, attribute_of


def column_of(session: Session, game: AboutColumn | AttributeGame) -> NDArray[np.generic]:
    """The column that a game is about, of every record: an attribute, or the label."""
    if game.about_attribute:
        return session.records.columns[attribute_of(game, session.spec)]
    return session.records.targets.cpu().numpy()


def with_property(session: Session, game: AboutValues) -> tuple[Tensor, Tensor]:
    """Which of the audited members, and which of the held-out records, have the property."""
    every = torch.from_numpy(having(column_of(session, game), game.values))
    return every[session.members], every[session.others]


def check_classes(session: Session, game: AboutColumn | AttributeGame) -> None:
    """Refuses a column of numbers, or of one value.

    Raises:
        DataError: what the column is.
    """
    name = attribute_of(game, session.spec) if game.about_attribute else "the label"
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


def check_values(session: Session, game: AboutValues) -> None:
    """Refuses a property that no record has, or every one.

    Raises:
        DataError: what the column is.
        SpecError: a value that is not in the column.
    """
    column = column_of(session, game)
    where = f"game {game.title}"
    if column.ndim > 1:
        raise DataError(f"game `{game.title}` needs one label for each record", where="data")
    if not game.about_attribute and attribute_secret(column).names is None:
        what = "the label is a number with many values, and the game is about classes"
        raise DataError(what, where=where, remedy="choose an attribute, or put the label into classes")
    try:
        mask = having(column, game.values)[session.members]
    except ValueError as error:
        raise SpecError(str(error), where=where, remedy="correct `values`") from error
    if mask.all() or not mask.any():
        what = f"{'every' if mask.all() else 'no'} audited member has the property"
        raise DataError(what, where=where, remedy="change `values`, or audit more records")
