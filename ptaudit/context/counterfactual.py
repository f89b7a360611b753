"""What a view shows of records with another value of an input field, which an adversary tries out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.context.epoch_context import EpochContext, clip_factor, clipped
from ptaudit.context.memo import Key
from ptaudit.context.observations import observation
from ptaudit.gradients.matrices import RecordGradients, joined
from ptaudit.sketches.tokens import Tokens
from ptaudit.views import View
from ptaudit.views.gradients import TABLE_BYTES
from ptaudit.views.joint import Joint
from ptaudit.views.replayed import ReplayedObservation, batch_gradients, plain

_LOOKS = 4
"""Looks at a record alone of which the mean is taken, where a defense is random."""

TOKENS: Key[list[Tokens]] = Key("tokens with each value of a field")
GRADIENTS: Key[list[list[RecordGradients]]] = Key("gradients with each value of a field")
ALONE: Key[Tensor] = Key("what is shown of records alone with each value of a field")
TABLES: Key[dict[int, ReplayedObservation]] = Key("gradients of whole batches with each value of a field")


def counterfactual(context: EpochContext, view: View, places: Sequence[int], name: str, noisy: bool) -> Tensor:
    """Tokens of every audited record with each value of an input field, `(A, R, N, k)`, as the view shows a record.

    Those of its own value are the record's own, bit for bit. The joint rows are those of a noisy view, if asked for.
    """
    session, read = context.session, _tokens(context, name)
    layers = clipped(view, context.inside, places)
    joint = Joint.of(layers, noisy)
    own, found = joint.rows(layers), []
    codes = torch.from_numpy(session.records.fields[name].codes[session.members])
    for level, tokens in enumerate(read):
        rows = joint.rows(clipped(view, tokens.of(context.inside.layers), places))
        rows[:, codes == level] = own[:, codes == level]
        found.append(rows)
    return torch.stack(found)


def _tokens(context: EpochContext, name: str) -> list[Tokens]:
    """Tokens of every audited record with each value of a field."""
    session = context.session

    def read() -> list[Tokens]:
        index, (_, targets) = torch.from_numpy(session.members), session.batch(session.members)
        levels = range(len(session.records.fields[name].levels))
        return [context.reader.read(session.records.with_level(index, name, v), targets) for v in levels]

    return context.memo.once(TOKENS, name, read)


def counterfactual_gradients(
    context: EpochContext, view: View, places: Sequence[int], name: str
) -> list[list[RecordGradients]]:
    """Gradients of every audited record with each value of an input field as matrices, by layer.

    All records with the first value come first; they are clipped where the view clips.
    """
    session = context.session

    def read() -> list[list[RecordGradients]]:
        index, (_, targets) = torch.from_numpy(session.members), session.batch(session.members)
        levels = range(len(session.records.fields[name].levels))
        each = [context.reader.gradients(session.records.with_level(index, name, v), targets) for v in levels]
        return [joined(same) for same in zip(*each)]

    kept = context.memo.once(GRADIENTS, name, read)
    found = [kept[place] for place in places]
    if view.clip is None:
        return found
    factor = torch.cat([clip_factor(view.clip, tokens) for tokens in _tokens(context, name)])
    return [[one.scaled(factor) for one in layer] for layer in found]


def counterfactual_alone(context: EpochContext, view: View, places: Sequence[int], name: str) -> Tensor:
    """What a view that does not add up shows of every audited record alone with each value of a field, `(A, R, N, k)`.

    That of its own value is what the view shows of the record as it is. Where a defense is random, the mean of some
    looks.
    """
    now, session = observation(context, view, places), context.session
    assert isinstance(now, ReplayedObservation)
    # Views of other batch sizes show the same of a record alone, where their defenders have found out the same.
    alike = replace(now.view, name="", batch_size=1, rounds=1, users=1, fixed_batch=False)
    key = (name, alike, tuple(places))
    if (known := context.memo.get(ALONE, key)) is not None:
        return known
    field, index = session.records.fields[name], torch.from_numpy(session.members)
    codes, targets = torch.from_numpy(field.codes[session.members]), session.batch(session.members)[1]
    layers: dict[str, list[RecordGradients]] = {context.inside.layers[place].name: [] for place in places}
    # The gradients of all records with a value are the same for all views; they are kept if those of all values fit.
    tables = context.memo.once(TABLES, name, dict)
    fits = 4 * len(index) * now.batches.layout.size * len(field.levels) <= TABLE_BYTES
    found = _alone(now, torch.arange(len(index)), context.seed).repeat(len(field.levels), 1, 1, 1)
    for level in range(len(field.levels)):
        inputs = session.records.with_level(index, name, level)
        batches = batch_gradients(context.reader.source, inputs, targets, now.view, tables.get(level))
        seen = ReplayedObservation.of(context.reader, batches, now.view, now.joint, layers)
        if fits and plain(seen.view):
            tables[level] = seen
        others = torch.nonzero(codes != level).squeeze(1)
        found[level][:, others] = _alone(seen, others, context.seed)
    if found.nbytes <= TABLE_BYTES:
        context.memo.put(ALONE, key, found)
    return found


def _alone(seen: ReplayedObservation, records: Tensor, seed: int) -> Tensor:
    """What is shown of records in batches of their own, `(R, n, k)`."""
    generator = torch.Generator().manual_seed(seed + 1)
    looks = [seen.observe(records[:, None], generator) for _ in range(_LOOKS if seen.random else 1)]
    return torch.stack(looks).mean(0)
