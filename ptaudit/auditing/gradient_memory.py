"""How much memory the gradients take that games keep as matrices, from those of a few records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from ptaudit.attacks.whole import MOST_CELLS, Grams, further_of, noisy_cells
from ptaudit.context.session import Session
from ptaudit.games.game_play import play_of
from ptaudit.gradients.matrices import RecordGradients
from ptaudit.sketches.reader import TokenReader
from ptaudit.views.view import View

FEW = 16
"""Records whose gradients are looked at: what is kept grows with their number and with nothing else."""


def gradient_bytes(session: Session, reader: TokenReader) -> tuple[int, int]:
    """Memory of the gradients of all audited records, and what games at their peak add to it.

    The peak holds a clipped copy for every clip, a copy for every value of an input that is tried out, and the inner
    products of whole gradients, or the gradients of held-out records for games that learn from them. A view that does
    not add up has a table of its own, which is bounded and not counted.

    Args:
        session: the audit.
        reader: of its model, prepared.
    """
    audit, n = session.spec.audit, len(session.members)
    games = [game for game in audit.games if game.on_views and not game.needs_encoder]
    if not games or not session.views:
        return 0, 0
    few = session.members[:FEW]
    kept = [layer for layer in reader.gradients(*session.batch(few)) if layer]
    each = _bytes([one for layer in kept for one in layer]) / len(few)
    factor = torch.ones(len(few), device=session.device)
    scaled = [one.scaled(factor) for layer in kept for one in layer]
    own = {id(tensor) for layer in kept for one in layer for tensor in _tensors(one)}
    copied = sum(t.nbytes for one in scaled for t in _tensors(one) if id(t) not in own) / len(few)
    clips = len({view.clip for view in session.views if view.clip is not None})
    tried = sum(play_of(game).tried_inputs(session, game) for game in games)
    more = (tried * each + (1 + tried) * clips * copied) * n
    learns = any(play_of(game).learns_from_held_out(session, game) for game in games) and any(
        view.linear for view in session.views
    )
    beside = round(each * (n + 2 * len(session.others))) if learns else 0
    return round(each * n), round(more) + max(beside, _whole(session, kept, each))


def _whole(session: Session, kept: Sequence[Sequence[RecordGradients]], each: float) -> int:
    """Inner products of the largest view whose record is named by someone who knows nothing of the others, without and
    with held-out records, and the gradients of these beside those of members."""
    if not any(play_of(game).multiplies_all(game) for game in session.spec.audit.games):
        return 0
    views = [view for view in session.views if view.linear and (view.others or view.noise_std)]
    n = len(session.members)
    wider = n + further_of(n, len(session.others))
    cells = [_cells(view, kept, n) + (_cells(view, kept, wider) if view.others else 0) for view in views]
    return 4 * max(cells) + round(each * (2 * wider - n)) if any(cells) else 0


def _cells(view: View, kept: Sequence[Sequence[RecordGradients]], n: int) -> int:
    if view.noise_std:
        return noisy_cells(kept, n)
    grams = Grams.of(kept, view.records)
    return 0 if grams is None else min(len(grams.gram) * n**2, MOST_CELLS)


def _tensors(one: RecordGradients) -> list[Tensor]:
    values = (getattr(one, field.name) for field in fields(one))  # type: ignore[arg-type]
    return [value for value in values if isinstance(value, Tensor)]


def _bytes(parts: Sequence[RecordGradients]) -> int:
    return sum(tensor.nbytes for one in parts for tensor in _tensors(one))
