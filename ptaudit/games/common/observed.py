"""What a view shows to those who do not need tokens that add up: sketches, or what an encoder makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.context.epoch_context import EpochContext, clipped, groups_of
from ptaudit.context.observations import adaptive, why_not_seen
from ptaudit.games.identity import measure as identity
from ptaudit.views import View
from ptaudit.views.sight import Sight


def why_not(context: EpochContext, view: View, places: list[int]) -> str:
    """Why nothing can be said of a view; empty if something can. Before an encoder is trained for nothing."""
    if reason := context.why_not(view, places) or why_not_seen(context, view):
        return reason
    records = torch.arange(len(context.inside.loss)) if context.encoders is None else context.encoders.left
    too_few = identity.why_not(context.inside.values[places][:, records], view, 2)
    half = "" if context.encoders is None else "; the other half trains the encoder"
    return f"{too_few}{half}" if too_few else ""


@dataclass(frozen=True)
class Observed:
    """What can be drawn from.

    Attributes:
        tokens: of the audited records, `(R, N, k)`.
        records: those of the N that games may use.
        encode: from what is seen of G batches, `(R, G, k)`, to observations `(rows, G, w)`.
        groups: for all layers jointly and for each layer, the rows of the observations that belong to it.
        sight: what is seen of batches, where it is no sum of tokens.
    """

    tokens: Tensor
    records: Tensor
    encode: Callable[[Tensor], Tensor]
    groups: list[list[int]]
    sight: Sight | None = None


def observe(context: EpochContext, view: View, places: list[int]) -> Observed:
    """Sketches of the layers and of all jointly; or the tokens of the view's encoder."""
    if context.encoders is None:
        groups = groups_of(view, len(places))
        who = adaptive(context, view, places)
        return Observed(who.tokens, torch.arange(who.tokens.shape[1]), lambda seen: seen, groups, who.sight)
    tokens = clipped(view, context.inside, places)
    encode = context.encoders.of(view, tokens, context.epoch)
    return Observed(tokens, context.encoders.left, encode, [[i] for i in range(1 + len(places))])
