"""What adversaries of each knowledge see of a view at one epoch: as it is, undefended, with weights that are late."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Further, Known
from ptaudit.context.epoch_context import EpochContext, clip_factor, clipped
from ptaudit.context.memo import Key
from ptaudit.gradients.matrices import BatchSums, RecordGradients, joined
from ptaudit.training.defender import Defender
from ptaudit.views import View
from ptaudit.views.aggregate import draw_others
from ptaudit.views.gradients import BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.knowledge import Knowledge
from ptaudit.views.observation import Observation, TokenObservation
from ptaudit.views.replayed import ReplayedObservation, batch_gradients, plain, why_not_shown

_DEFENDER_BATCHES = 400
"""Batches of its own records that the defender of a view may look at."""

_PROBED, _MOST_LOST = 128, 0.05
"""Updates that are computed to see whether their local steps diverge, and how many may."""

OBSERVATION: Key[Observation] = Key("what is seen of batches")
DIVERGED: Key[float] = Key("share of updates that are not finite")
EARLIER: Key[EpochContext] = Key("the epoch with the weights of the one before")


@dataclass(frozen=True)
class Observations:
    """One view as it is played and as adversaries know it.

    Attributes:
        now: what the played batches look like.
        plain: the undefended view; None where the view has no defense.
        known: what its own batches look like to an adversary that knows the defense: `now`, unless with late weights.
    """

    now: Observation
    plain: Observation | None
    known: Observation


def observations(context: EpochContext, view: View, places: Sequence[int], late: bool = False) -> Observations:
    """The view at this epoch.

    Args:
        context: the epoch.
        view: the view.
        places: the layers that it shares, as rows of the tokens.
        late: whether the adversary knows the weights of the epoch before only.
    """
    bare, known = undefended(view), known_by(context, late)
    now, own = (observation(epoch, view, places) for epoch in (context, known))
    return Observations(now, None if bare == view else observation(known, bare, places, view.noise_std > 0.0), own)


def adaptive(context: EpochContext, view: View, places: Sequence[int]) -> Known:
    """Who knows the view as it is."""
    if view.linear:
        return _knows_sums(context, summed(context, view, places), view, places)
    now = observation(context, view, places)
    own = Candidates([context.gradients[place] for place in places], sums=False)
    return Known(summed(context, plain_sums(view), places).tokens, view, now, now, Algebra(now, own))


def under_noise(context: EpochContext, view: View, places: Sequence[int], sigma: float) -> Known:
    """Who knows a view that adds up, with noise on it: of so many clips, or median norms where nothing is clipped."""
    norm = float(context.inside.total_norm_sq.double().sqrt().median())
    noisy = replace(view, noise_std=sigma * (view.clip or norm))
    return _knows_sums(context, _linear(context, noisy, places, True), noisy, places)


def _knows_sums(context: EpochContext, seen: TokenObservation, view: View, places: Sequence[int]) -> Known:
    assert seen.sums is not None
    classes = None if context.session.records.classes is None else context.targets.cpu()
    own = Candidates(seen.sums.layers, view.noise_std, classes=classes)
    return Known(seen.tokens, view, algebra=Algebra(seen, own), further=held_out(context, view, places))


def wider(context: EpochContext, view: View, places: Sequence[int]) -> TokenObservation | None:
    """What is seen of members, and of held-out records after them; None where that is not to be had."""
    return with_held_out(context, view, places, summed(context, view, places)) if view.linear else None


def static(context: EpochContext, view: View, places: Sequence[int], late: bool = False) -> Known | None:
    """Who knows of no defense; None where there is none. With late weights it computes tokens of the epoch before."""
    bare = undefended(view)
    if bare == view:
        return None
    known = known_by(context, late)
    tokens = summed(known, plain_sums(view), places, view.noise_std > 0.0).tokens
    return Known(tokens, bare, observation(context, view, places))


def players(context: EpochContext, view: View, places: Sequence[int]) -> Iterator[tuple[Knowledge, Known]]:
    """Who plays on a view: one who knows it as it is, and where it has a defense one who knows of none."""
    yield "adaptive", adaptive(context, view, places)
    if (unaware := static(context, view, places)) is not None:
        yield "static", unaware


def summed(context: EpochContext, view: View, places: Sequence[int], noisy: bool | None = None) -> TokenObservation:
    """The observation of a view that adds up."""
    found = observation(context, view, places, noisy)
    assert isinstance(found, TokenObservation)
    return found


def plain_sums(view: View) -> View:
    """The same view without defense and update."""
    return replace(undefended(view), update=None)


def undefended(view: View) -> View:
    """The same view without its defense."""
    return replace(view, defense=None, clip=None, noise_std=0.0)


def observation(context: EpochContext, view: View, places: Sequence[int], noisy: bool | None = None) -> Observation:
    """What is seen of batches, made once for all games of the epoch.

    Args:
        context: the epoch.
        view: the view.
        places: the layers that it shares, as rows of the tokens.
        noisy: whether its joint rows are those of a noisy view; default as the view is.
    """
    noisy = view.noise_std > 0.0 if noisy is None else noisy
    key = (replace(view, name="", rounds=1, fixed_batch=False), tuple(places), noisy)
    make = partial(_linear, noisy=noisy) if view.linear else _replayed
    return context.memo.once(OBSERVATION, key, lambda: make(context, view, places))


def why_not_seen(context: EpochContext, view: View, late: bool = False) -> str:
    """Why a view cannot be shown, or not with late weights; empty if it can."""
    if late and context.before is None:
        return "there is no epoch before this one, whose weights the adversary would know"
    if view.linear:
        return ""
    return why_not_shown(view, context.model, context.session.records.classes) or _diverging(context, view)


def _diverging(context: EpochContext, view: View) -> str:
    """Whether the local steps of an update lead nowhere; empty if they do not."""
    if view.update is None:
        return ""
    lost = context.memo.once(DIVERGED, (view.update, view.batch_size), lambda: _share_diverged(context, view))
    if lost <= _MOST_LOST:
        return ""
    steps = f"{view.update.local_steps} local steps at lr {view.update.lr:g}"
    return f"{lost:.0%} of its updates are not finite after {steps}: take fewer steps or a smaller lr"


def _share_diverged(context: EpochContext, view: View) -> float:
    """Share of some updates that are not finite."""
    seen, members = observation(context, view, context.places(view)), len(context.session.members)
    assert isinstance(seen, ReplayedObservation)
    generator = torch.Generator().manual_seed(context.seed)
    batches = draw_others(members, _PROBED, min(view.batch_size, members), generator)
    return seen.diverged(batches, generator)


def known_by(context: EpochContext, late: bool) -> EpochContext:
    """The epoch with the weights that an adversary knows: its own, or those of the epoch before, if there is one."""
    if not late or context.before is None:
        return context
    earlier = context.before

    def read() -> EpochContext:
        model = copy.deepcopy(context.model)
        model.load_state_dict({name: value.to(context.session.device) for name, value in earlier.items()})
        reader = context.session.reader(model)
        inside = reader.read(*context.session.batch(context.session.members))
        return replace(context, model=model, reader=reader, layers=reader.layers, inside=inside, before=None)

    return context.memo.once(EARLIER, (), read)


def _linear(context: EpochContext, view: View, places: Sequence[int], noisy: bool) -> TokenObservation:
    layers = clipped(view, context.inside, places)
    sums = BatchSums([context.gradients[place] for place in places], view.noise_std, context.cells)
    if view.clip is not None:
        sums = sums.clipped(clip_factor(view.clip, context.inside))
    return TokenObservation(Joint.of(layers, noisy).rows(layers), view.noise_std, sums)


def _replayed(context: EpochContext, view: View, places: Sequence[int]) -> ReplayedObservation:
    session = context.session
    inputs, targets = session.batch(session.members)
    joint = Joint.of(context.inside.values[list(places)].double())
    # The gradients of all records are the same for all views.
    replayed = (seen for seen in context.memo.all(OBSERVATION) if isinstance(seen, ReplayedObservation))
    share = next((seen for seen in replayed if plain(seen.view)), None)
    view = prepared(context, view)
    batches = batch_gradients(context.reader.source, inputs, targets, view, share)
    layers = {context.inside.layers[place].name: context.gradients[place] for place in places}
    return ReplayedObservation.of(context.reader, batches, view, joint, layers)


def prepared(context: EpochContext, view: View) -> View:
    """The view with what its defender finds out beforehand from held-out records, which nobody else looks at."""
    if view.defense is None:
        return view
    session, source = context.session, context.reader.source

    def gradients(own: NDArray[np.int64], batches: Tensor) -> Tensor:
        found = BatchGradients(source, *session.batch(own), update=view.update)
        return torch.cat(list(found.read(batches, None, torch.Generator().manual_seed(context.seed))))

    width = sum(p.numel() for layer in source.layers for p in layer.parameters.values())
    own, most = session.others, _DEFENDER_BATCHES
    defender = Defender(session.records, session.split, own, view.batch_size, most, width, context.seed, gradients)
    return replace(view, defense=view.defense.prepared(defender))


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
