"""What a view shows to those who do not need tokens that add up: sketches, or what an encoder makes of them."""

from __future__ import annotations

import torch

from ptaudit.attacks.pairs import Encoded
from ptaudit.context.epoch_context import EpochContext, clipped, groups_of
from ptaudit.context.observations import adaptive, why_not_seen
from ptaudit.views import View
from ptaudit.views import records_needed as needed


def why_not(context: EpochContext, view: View, places: list[int]) -> str:
    """Why nothing can be said of a view; empty if something can. Before an encoder is trained for nothing."""
    if reason := context.why_not(view, places) or why_not_seen(context, view):
        return reason
    records = torch.arange(len(context.inside.loss)) if context.encoders is None else context.encoders.left
    too_few = needed.why_not(context.inside.values[places][:, records], view)
    half = "" if context.encoders is None else "; the other half trains the encoder"
    return f"{too_few}{half}" if too_few else ""


def observe(context: EpochContext, view: View, places: list[int]) -> Encoded:
    """Sketches of the layers and of all jointly; or the tokens of the view's encoder."""
    if context.encoders is None:
        groups = groups_of(view, len(places))
        who = adaptive(context, view, places)
        every = torch.arange(who.tokens.shape[1])
        return Encoded(who.tokens, every, view, lambda seen: seen, groups, who.observation)
    tokens = clipped(view, context.inside, places)
    encode = context.encoders.of(view, tokens, context.epoch)
    return Encoded(tokens, context.encoders.left, view, encode, [[i] for i in range(1 + len(places))])
