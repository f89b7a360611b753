"""The control of games about members: does the untrained model tell members from held-out records?

Where it does, they differ by construction (another source, other dates or users, text that only members have), and what
an attack finds later is not what training gave away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from ptaudit.auditing.rows import rows_of
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.session import Session
from ptaudit.games.game_play import run_game
from ptaudit.model_input import leaves
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.game import GameSpec
from ptaudit.stats.detection import standard_error
from ptaudit.stats.estimate import NOT_COMPARABLE
from ptaudit.tables.row import Row
from ptaudit.tables.run import GroupEntry

ERROR_RATE = 0.01
"""How often members and held-out records of one population are said to differ."""

NAMED = 3
"""Most columns that are named."""

_TELLING = stats.norm.isf(1e-6)
"""Standard errors between the means of a column from which on it is named."""


def compared(session: Session, seed: int, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of a seed; those about members as `not comparable` where members differ before any training.

    Args:
        session: what is audited.
        seed: of the training.
        rows: of all epochs; the control is that of epoch 0, which is played for this where it is not audited.
    """
    game = next((game for game in session.spec.games if game.about_members), None)
    if game is None or not any(row.game == game.title and row.measured for row in rows):
        return tuple(rows)
    untrained = [row for row in rows if row.epoch == 0 and row.game == game.title and row.measured]
    enough = untrained and {row.adversary for row in untrained} >= set(game.own_players)
    if not differ(untrained if enough else _untrained(session, seed, game.control)):
        return tuple(rows)
    status = f"{NOT_COMPARABLE}: the untrained model tells members from held-out records{_because(session)}"
    return tuple(replace(r, status=status) if r.game == game.title and r.measured else r for r in rows)


def compared_groups(groups: Sequence[GroupEntry], rows: Sequence[Row]) -> tuple[GroupEntry, ...]:
    """What was found of groups, as `not comparable` where the game's rows are."""
    status = {row.game: row.status for row in rows if row.status.startswith(NOT_COMPARABLE)}
    return tuple(replace(g, status=status[g.game]) if g.game in status and g.measured else g for g in groups)


def differ(rows: Sequence[Row]) -> bool:
    """Whether an AUC of all layers jointly, of any adversary, is farther from its null than chance allows."""
    found = [row for row in rows if row.metric == "auc" and row.layer == JOINT and row.measured]
    least = stats.norm.isf(ERROR_RATE / 2.0 / max(1, len(found)))
    return any(abs(r.value - r.null) > least * standard_error(r.value, r.lo, r.hi, r.draws) for r in found)


def _untrained(session: Session, seed: int, game: GameSpec) -> list[Row]:
    model = session.model(seed)
    reader = session.reader(model)
    inside = reader.read(*session.batch(session.members))
    outside = reader.read(*session.batch(session.others)) if session.reads_held_out else None
    context = EpochContext(session, 0, 0, model, reader.layers, inside.beside(outside), outside, reader)
    return rows_of(context, game, run_game(context, game))


def _because(session: Session) -> str:
    found = list(_differences(session))
    return f" ({', '.join(found)})" if found else ""


def _differences(session: Session) -> Iterator[str]:
    """What of the records differs, in words."""
    records, members, others = session.records, session.members, session.others
    user = session.spec.data.user
    if user is not None and not len(np.intersect1d(records.columns[user][members], records.columns[user][others])):
        yield f"no {user} is on both sides"
    columns = [(use.name, use.places) for use in records.uses if use.places is not None]
    names = {place: name for name, places in columns for place in range(places.start, places.stop)}
    tensors = leaves(records.inputs)
    for tensor in tensors:
        if tensor.dim() == 2 and tensor.is_floating_point():
            apart = _apart(tensor, members, others)
            far = [place for place in np.argsort(-apart).tolist() if apart[place] > _TELLING]
            named = list(dict.fromkeys(names.get(place, f"input {place}") for place in far))
            yield from (f"{name} differs" for name in named[:NAMED])
    if (
        records.classes is not None
        and _apart(_one_hot(records.targets, records.classes), members, others).max() > _TELLING
    ):
        yield "labels are not as frequent"


def _one_hot(targets: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(targets.clamp(0, classes - 1), classes).float()


def _apart(values: Tensor, members: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard errors between the means of every column `(n, d)` of both sides, `(d,)`."""
    one, two = (values[torch.from_numpy(side).to(values.device)].double().cpu().numpy() for side in (members, others))
    error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
    gap = np.abs(one.mean(0) - two.mean(0))
    found: NDArray[np.float64] = np.divide(gap, error, out=np.where(gap > 0.0, np.inf, 0.0), where=error > 0.0)
    return found
