"""Inner products of records' gradients with the last update of the weights: which layer knows who was a member?

The adversary has the weights before and after the last epoch. The update is made of the gradients of members, so that
those of members point against it, and those of others only as far as they have something in common with members.
Gradients are those at the weights before: there the sum began, and after it those of members are small and turned away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.attacks.membership.gradient import update_product
from ptaudit.attacks.membership.signals import Signals
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.observations import known_by
from ptaudit.games.membership.info import UPDATE
from ptaudit.games.membership.measure import Key, Sides
from ptaudit.gradients.autograd import parameters_of
from ptaudit.gradients.products import Directions, Products, products
from ptaudit.model_input import as_real
from ptaudit.sketches.chunks import Chunks
from ptaudit.sketches.tokens import SketchedModel, Tokens

_CHUNK = 256
"""Records in one pass."""


def by_update(context: EpochContext) -> tuple[dict[Key, Sides], dict[Key, str]]:
    """Scores of members and of others for each captured layer, then for all jointly; why there are none.

    Before training there is no update, and neither of the two. Where a layer has none, all layers jointly have none.
    """
    names = [layer.name for layer in context.inside.layers]
    keys: list[Key] = [(UPDATE, row) for row in range(len(names) + 1)]
    if context.epoch == 0:
        return {}, {}
    if context.before is None:
        return {}, dict.fromkeys(keys, "there is no epoch before this one, whose weights the adversary would know")
    assert context.outside is not None
    earlier, session = known_by(context, late=True), context.session
    directions = last_update(context.reader.source, earlier.reader.source)
    outside = earlier.reader.read(*session.batch(session.others))
    tokens = [one.of(context.inside.layers) for one in (earlier.inside, outside)]
    found = [products_of(earlier, names, index, directions) for index in (session.members, session.others)]
    failed = {name: why for one in found for name, why in one.failed.items()}
    inside, others = (_scores(*side) for side in zip(found, tokens))
    lost = {(UPDATE, row): failed[name] for row, name in enumerate(names) if name in failed}
    if why := _why_not_jointly(names, failed):
        lost[UPDATE, len(names)] = why
    return {key: (inside[key[1]], others[key[1]]) for key in keys if key not in lost}, lost


def _why_not_jointly(names: Sequence[str], failed: Mapping[str, str]) -> str:
    """Why all layers jointly have no product: the sum of the others would be of another model."""
    if not names:
        return "no layer is captured"
    lacking = [name for name in names if name in failed]
    if not lacking:
        return ""
    return f"{len(lacking)} of {len(names)} layers have no product, layer {lacking[0]}: {failed[lacking[0]]}"


def last_update(now: SketchedModel, before: SketchedModel) -> Directions:
    """How every parameter moved between two states of a model."""
    late, early = (parameters_of(source.layers) for source in (now, before))
    return {path: (as_real(late[path]) - as_real(early[path])).detach() for path in late}


def products_of(context: EpochContext, names: list[str], index: NDArray[np.int64], directions: Directions) -> Products:
    """Products of some records in some layers, in chunks that fit the memory of the device."""
    source, session = context.reader.source, context.session
    by_name = {layer.name: layer for layer in source.layers}
    layers, parts, failed = [by_name[name] for name in names], [], dict[str, str]()
    chunks = Chunks(len(index), _CHUNK, source.device)
    for part in chunks:
        with chunks.within_memory():
            found = products(source.losses(*session.batch(index[part])), layers, directions)
            parts.append(found.values)
            failed |= found.failed
    return Products(torch.cat(parts, 1), failed)


def _scores(found: Products, tokens: Tokens) -> NDArray[np.float64]:
    """Scores of each layer, and of all jointly, `(L + 1, n)`; NaN where there are none."""
    values, norm_sq = (
        torch.cat([rows, rows.sum(0, keepdim=True)]).numpy() for rows in (found.values, tokens.norm_sq.double().cpu())
    )
    confidence = np.broadcast_to(-tokens.loss.double().cpu().numpy(), values.shape)
    return update_product(Signals(confidence, gradient_norms=np.sqrt(norm_sq), update_products=values), None)
