"""What adversaries of each knowledge see of a view at one epoch: as it is, undefended, with weights that are late."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Known
from ptaudit.context.epoch_context import Scene, clip_factor, clipped
from ptaudit.context.held_out import held_out, with_held_out
from ptaudit.gradients.batches import BatchSums
from ptaudit.gradients.matrices import RecordGradients, joined
from ptaudit.training.defender import Defender
from ptaudit.views import View
from ptaudit.views.aggregate import draw_others
from ptaudit.views.gradients import TABLE_BYTES, BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.knowledge import Knowledge
from ptaudit.views.replayed import ReplayedSight, plain, why_not
from ptaudit.views.sight import Sight, TokenSight

_DEFENDER_BATCHES = 400
"""Batches of its own records that the defender of a view may look at."""

_PROBED, _MOST_LOST = 128, 0.05
"""Updates that are computed to see whether their local steps diverge, and how many may."""

_LOOKS = 4
"""Looks at a record alone of which the mean is taken, where a defense is random."""


@dataclass(frozen=True)
class Sights:
    """One view as it is played and as adversaries know it.

    Attributes:
        now: what the played batches look like.
        plain: the undefended view; None where the view has no defense.
        known: what her own batches look like to an adversary who knows the defense: `now`, unless her weights are late.
    """

    now: Sight
    plain: Sight | None
    known: Sight


def sights(scene: Scene, view: View, places: Sequence[int], late: bool = False) -> Sights:
    """The view at this epoch.

    Args:
        scene: the epoch.
        view: the view.
        places: the layers that it shares, as rows of the tokens.
        late: whether the adversary knows the weights of the epoch before only.
    """
    now = sight(scene, view, places)
    bare = undefended(view)
    known = now
    if late:
        earlier = before(scene)
        assert earlier is not None
        known = sight(earlier, view, places)
        scene = earlier
    return Sights(now, None if bare == view else sight(scene, bare, places, view.noise_std > 0.0), known)


def adaptive(scene: Scene, view: View, places: Sequence[int]) -> Known:
    """Who knows the view as it is."""
    if view.linear:
        return _knows_sums(scene, summed(scene, view, places), view, places)
    now = sight(scene, view, places)
    own = Candidates([scene.gradients[place] for place in places], sums=False)
    return Known(summed(scene, plain_sums(view), places).tokens, view, now, now, Algebra(now, own))


def under_noise(scene: Scene, view: View, places: Sequence[int], sigma: float) -> Known:
    """Who knows a view that adds up, with noise on it: of so many clips, or median norms where nothing is clipped."""
    norm = float(scene.inside.total_norm_sq.double().sqrt().median())
    noisy = replace(view, noise_std=sigma * (view.clip or norm))
    return _knows_sums(scene, _linear(scene, noisy, places, True), noisy, places)


def _knows_sums(scene: Scene, seen: TokenSight, view: View, places: Sequence[int]) -> Known:
    assert seen.sums is not None
    classes = None if scene.session.records.classes is None else scene.targets.cpu()
    own = Candidates(seen.sums.layers, view.noise_std, classes=classes)
    return Known(seen.tokens, view, algebra=Algebra(seen, own), further=held_out(scene, view, places))


def wider(scene: Scene, view: View, places: Sequence[int]) -> TokenSight | None:
    """What is seen of members, and of held-out records after them; None where that is not to be had."""
    return with_held_out(scene, view, places, summed(scene, view, places)) if view.linear else None


def static(scene: Scene, view: View, places: Sequence[int], late: bool = False) -> Known | None:
    """Who knows of no defense; None where there is none. With late weights she computes tokens of the epoch before."""
    bare = undefended(view)
    if bare == view:
        return None
    known = (before(scene) if late else None) or scene
    tokens = summed(known, plain_sums(view), places, view.noise_std > 0.0).tokens
    return Known(tokens, bare, sight(scene, view, places))


def players(scene: Scene, view: View, places: Sequence[int]) -> Iterator[tuple[Knowledge, Known]]:
    """Who plays on a view: one who knows it as it is, and where it has a defense one who knows of none."""
    yield "adaptive", adaptive(scene, view, places)
    if (unaware := static(scene, view, places)) is not None:
        yield "static", unaware


def summed(scene: Scene, view: View, places: Sequence[int], noisy: bool | None = None) -> TokenSight:
    """The sight of a view that adds up."""
    found = sight(scene, view, places, noisy)
    assert isinstance(found, TokenSight)
    return found


def plain_sums(view: View) -> View:
    """The same view without defense and update."""
    return replace(undefended(view), update=None)


def undefended(view: View) -> View:
    """The same view without its defense."""
    return replace(view, defense=None, clip=None, noise_std=0.0)


def sight(scene: Scene, view: View, places: Sequence[int], noisy: bool | None = None) -> Sight:
    """What is seen of batches, made once for all games of the epoch.

    Args:
        scene: the epoch.
        view: the view.
        places: the layers that it shares, as rows of the tokens.
        noisy: whether its joint rows are those of a noisy view; default as the view is.
    """
    noisy = view.noise_std > 0.0 if noisy is None else noisy
    key = ("sight", replace(view, name="", rounds=1, fixed_batch=False), tuple(places), noisy)
    if key not in scene.kept:
        scene.kept[key] = _linear(scene, view, places, noisy) if view.linear else _replayed(scene, view, places)
    found: Sight = scene.kept[key]
    return found


def why_not_seen(scene: Scene, view: View, late: bool = False) -> str:
    """Why a view cannot be shown, or not with late weights; empty if it can."""
    if late and scene.before is None:
        return "there is no epoch before this one, whose weights the adversary would know"
    if view.linear:
        return ""
    return why_not(view, scene.model, scene.session.records.classes) or _diverging(scene, view)


def _diverging(scene: Scene, view: View) -> str:
    """Whether the local steps of an update lead nowhere; empty if they do not."""
    if view.update is None:
        return ""
    key = ("diverging", view.update, view.batch_size)
    if key not in scene.kept:  # once for all games
        seen, members = sight(scene, view, scene.places(view)), len(scene.session.members)
        assert isinstance(seen, ReplayedSight)
        generator = torch.Generator().manual_seed(scene.seed)
        batches = draw_others(members, _PROBED, min(view.batch_size, members), generator)
        scene.kept[key] = seen.diverged(batches, generator)
    lost: float = scene.kept[key]
    if lost <= _MOST_LOST:
        return ""
    steps = f"{view.update.local_steps} local steps at lr {view.update.lr:g}"
    return f"{lost:.0%} of its updates are not finite after {steps}: take fewer steps or a smaller lr"


def before(scene: Scene) -> Scene | None:
    """The same members read with the weights of the epoch before; None where there is none."""
    if scene.before is None:
        return None
    if "before" not in scene.kept:
        model = copy.deepcopy(scene.model)
        model.load_state_dict({name: value.to(scene.session.device) for name, value in scene.before.items()})
        reader = scene.session.reader(model)
        inside = reader.read(*scene.session.batch(scene.session.members))
        scene.kept["before"] = replace(
            scene, model=model, reader=reader, layers=reader.layers, inside=inside, before=None
        )
    found: Scene = scene.kept["before"]
    return found


def _linear(scene: Scene, view: View, places: Sequence[int], noisy: bool) -> TokenSight:
    layers = clipped(view, scene.inside, places)
    sums = BatchSums([scene.gradients[place] for place in places], view.noise_std, scene.cells)
    if view.clip is not None:
        sums = sums.clipped(clip_factor(view.clip, scene.inside))
    return TokenSight(Joint.of(layers, noisy).rows(layers), view.noise_std, sums)


def _replayed(scene: Scene, view: View, places: Sequence[int]) -> ReplayedSight:
    session = scene.session
    inputs, targets = session.batch(session.members)
    layers = [scene.inside.layers[place].name for place in places]
    joint = Joint.of(scene.inside.values[list(places)].double())
    # The gradients of all records are the same for all views.
    replayed = (seen for seen in scene.kept.values() if isinstance(seen, ReplayedSight))
    share = next((seen for seen in replayed if plain(seen.view)), None)
    return ReplayedSight.of(
        scene.reader, inputs, targets, layers, prepared(scene, view), joint, session.records.classes, share,
        [scene.gradients[place] for place in places],
    )  # fmt: skip


def prepared(scene: Scene, view: View) -> View:
    """The view with what its defender finds out beforehand from held-out records, which nobody else looks at."""
    if view.defense is None:
        return view
    session, source = scene.session, scene.reader.source

    def gradients(own: NDArray[np.int64], batches: Tensor) -> Tensor:
        found = BatchGradients(source, *session.batch(own), update=view.update)
        return torch.cat(list(found.read(batches, None, torch.Generator().manual_seed(scene.seed))))

    width = sum(p.numel() for layer in source.layers for p in layer.parameters.values())
    own, most = session.others, _DEFENDER_BATCHES
    defender = Defender(session.records, session.split, own, view.batch_size, most, width, scene.seed, gradients)
    return replace(view, defense=view.defense.prepared(defender))


def counterfactual(scene: Scene, view: View, places: Sequence[int], name: str, noisy: bool) -> Tensor:
    """Tokens of every audited record with each value of an input field, `(A, R, N, k)`, as the view shows a record.

    Those of its own value are the record's own, bit for bit. The joint rows are those of a noisy view, if asked for.
    """
    key = ("counterfactual", name)
    session = scene.session
    if key not in scene.kept:
        index = torch.from_numpy(session.members)
        _, targets = session.batch(session.members)
        levels = range(len(session.records.fields[name].levels))
        scene.kept[key] = [scene.reader.read(session.records.with_level(index, name, v), targets) for v in levels]
    layers = clipped(view, scene.inside, places)
    joint = Joint.of(layers, noisy)
    own, found = joint.rows(layers), []
    codes = torch.from_numpy(session.records.fields[name].codes[session.members])
    for level, tokens in enumerate(scene.kept[key]):
        rows = joint.rows(clipped(view, tokens.of(scene.inside.layers), places))
        rows[:, codes == level] = own[:, codes == level]
        found.append(rows)
    return torch.stack(found)


def counterfactual_gradients(scene: Scene, view: View, places: Sequence[int], name: str) -> list[list[RecordGradients]]:
    """Gradients of every audited record with each value of an input field as matrices, by layer.

    All records with the first value come first; they are clipped where the view clips.
    """
    key = ("counterfactual gradients", name)
    session = scene.session
    levels = range(len(session.records.fields[name].levels))
    if key not in scene.kept:
        index, (_, targets) = torch.from_numpy(session.members), session.batch(session.members)
        read = [scene.reader.gradients(session.records.with_level(index, name, v), targets) for v in levels]
        scene.kept[key] = [joined(same) for same in zip(*read)]
    found: list[list[RecordGradients]] = [scene.kept[key][place] for place in places]
    if view.clip is None:
        return found
    factor = torch.cat([clip_factor(view.clip, tokens) for tokens in scene.kept[("counterfactual", name)]])
    return [[one.scaled(factor) for one in layer] for layer in found]


def counterfactual_alone(scene: Scene, view: View, places: Sequence[int], name: str) -> Tensor:
    """What a view that does not add up shows of every audited record alone with each value of a field, `(A, R, N, k)`.

    That of its own value is what the view shows of the record as it is. Where a defense is random, the mean of some
    looks.
    """
    now, session = sight(scene, view, places), scene.session
    assert isinstance(now, ReplayedSight)
    # Views of other batch sizes show the same of a record alone, where their defenders have found out the same.
    alike = replace(now.view, name="", batch_size=1, rounds=1, users=1, fixed_batch=False)
    key = ("counterfactual alone", name, alike, tuple(places))
    if key in scene.kept:
        found: Tensor = scene.kept[key]
        return found
    field, index = session.records.fields[name], torch.from_numpy(session.members)
    codes, targets = torch.from_numpy(field.codes[session.members]), session.batch(session.members)[1]
    layers = [scene.inside.layers[place].name for place in places]
    # The gradients of all records with a value are the same for all views; they are kept if those of all values fit.
    tables = scene.kept.setdefault(("counterfactual tables", name), {})
    fits = 4 * len(index) * now.batches.layout.size * len(field.levels) <= TABLE_BYTES
    found = _alone(now, torch.arange(len(index)), scene.seed).repeat(len(field.levels), 1, 1, 1)
    for level in range(len(field.levels)):
        inputs = session.records.with_level(index, name, level)
        seen = ReplayedSight.of(
            scene.reader, inputs, targets, layers, now.view, now.joint, session.records.classes, tables.get(level)
        )
        if fits and plain(seen.view):
            tables[level] = seen
        others = torch.nonzero(codes != level).squeeze(1)
        found[level][:, others] = _alone(seen, others, scene.seed)
    if found.nbytes <= TABLE_BYTES:
        scene.kept[key] = found
    return found


def _alone(seen: ReplayedSight, records: Tensor, seed: int) -> Tensor:
    """What is shown of records in batches of their own, `(R, n, k)`."""
    generator = torch.Generator().manual_seed(seed + 1)
    looks = [seen.see(records[:, None], generator) for _ in range(_LOOKS if seen.random else 1)]
    return torch.stack(looks).mean(0)
