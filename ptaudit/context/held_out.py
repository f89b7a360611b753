"""What a view shows of held-out records, which are an adversary's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ptaudit.attacks.known import Further
from ptaudit.context.epoch_context import EpochContext, clip_factor, clipped
from ptaudit.gradients.matrices import RecordGradients, joined
from ptaudit.views import View
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation


def held_out(context: EpochContext, view: View, places: Sequence[int]) -> Further | None:
    """The held-out records as a view that adds up shows them; None where they were not read or are not finite."""
    outside = context.outside
    if outside is None:
        return None
    joint = Joint.of(clipped(view, context.inside, places), view.noise_std > 0.0)
    factor = None if view.clip is None else clip_factor(view.clip, outside)

    def read(records: int) -> list[list[RecordGradients]]:
        session = context.session
        layers = context.reader.gradients(*session.batch(session.others[:records]))
        some = [layers[place] for place in places]
        return some if factor is None else [[one.scaled(factor[:records]) for one in layer] for layer in some]

    tokens = joint.rows(clipped(view, outside, places))
    return Further(tokens, read) if bool(torch.isfinite(tokens).all()) else None


def with_held_out(
    context: EpochContext, view: View, places: Sequence[int], seen: TokenObservation
) -> TokenObservation | None:
    """An observation of members that adds up, with held-out records after them; None where these were not read, or
    their gradients have another form."""
    further = held_out(context, view, places)
    if further is None or seen.sums is None:
        return None
    layers = [joined(pair) for pair in zip(seen.sums.layers, further.read(further.count(1.0)))]
    if any(len(both) < len(own) for both, own in zip(layers, seen.sums.layers)):
        return None
    return TokenObservation(
        torch.cat([seen.tokens, further.tokens], 1), seen.noise_std, replace(seen.sums, layers=layers)
    )
