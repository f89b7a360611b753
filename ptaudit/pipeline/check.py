"""`ptaudit check`: everything short of training, and what training and audit would cost."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch

from ptaudit.errors import ModelError
from ptaudit.games.identity import ADVISED_PER_MEMBER, RECORDS_PER_MEMBER, noise_ceiling
from ptaudit.gate import reachable
from ptaudit.pipeline.plays import on_model, on_view
from ptaudit.pipeline.plays.observed import observe, why_not
from ptaudit.pipeline.scene import Scene
from ptaudit.pipeline.seed import encoders, trajectory
from ptaudit.pipeline.session import Session, layer_entries, open_session, shared, warnings
from ptaudit.progress import Silent
from ptaudit.replay import Replay, Walk
from ptaudit.replay.device import pick_device
from ptaudit.replay.evaluate import evaluate
from ptaudit.replay.sampling import steps_per_epoch
from ptaudit.replay.saved import load_into, load_state
from ptaudit.spec import load
from ptaudit.spec.catalog import CRITICS, MODEL_VIEW
from ptaudit.spec.games import make_game
from ptaudit.spec.model import GameSpec, GateSpec, IdentityGame, MutualInformationGame, UsableInformationGame
from ptaudit.tables.run import LayerEntry
from ptaudit.tokens import TokenReader, Tokens
from ptaudit.views import View

T = TypeVar("T")

_PROBE_RECORDS = 256
_PROBE_STEPS = 3
_FEW = 2
"""Records of a batch in which the others of a game are timed: a sample is enough for it."""
_REPEATS = 8
_PER_COORDINATE = 3
_LIKE_IDENTITY = frozenset({"identity", "label", "membership"})


@dataclass(frozen=True)
class CheckReport:
    """What a check found out: times in seconds, memory in bytes, members and the like in records."""

    spec_name: str
    device: str
    layers: tuple[LayerEntry, ...]
    parameters: int
    captured_parameters: int
    members: int
    held_out: int
    audited: int
    step_seconds: float
    estimate_seconds: Mapping[str, float]
    memory_bytes: int
    warnings: tuple[str, ...]


def check(spec_path: Path | str, *, device: str = "auto", overrides: Sequence[str] = ()) -> CheckReport:
    """Load all that the spec names, list the layers, take a few steps, read a few tokens, play one game.

    Nothing is written. The estimate scales what was timed on a sample by the size of the run.

    Raises:
        PtauditError: what `run` would refuse.
    """
    spec = load(spec_path, overrides)
    session = open_session(spec, pick_device(device))
    seed = spec.train.all_seeds[0]
    model = session.model(seed)
    reader = session.reader(model)
    layers = layer_entries(reader.layers)
    step, training = _training_seconds(session, model, seed)
    tokens, reading = _timed(lambda: _probe(session, reader))
    capture = reading / len(tokens.loss)
    games = _games_seconds(session, reader, model, tokens)
    epochs, seeds = len(spec.audited_epochs), len(spec.train.all_seeds)
    records = len(session.members) + _others(session)
    captured = sum(layer.parameters for layer in layers if layer.capture != "none")
    return CheckReport(
        spec_name=spec.name,
        device=str(session.device),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        captured_parameters=captured,
        members=len(session.split.members),
        held_out=len(session.split.held_out),
        audited=len(session.members),
        step_seconds=step,
        estimate_seconds={
            "training": seeds * training,
            "capture": seeds * epochs * records * capture,
            "games": seeds * epochs * games,
        },
        memory_bytes=_memory(session, tokens, records),
        warnings=(*warnings(session, model), *_record_warnings(session), *_gate_warnings(session, layers)),
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    work()  # the first call pays for kernels and buffers
    return _once(work)


def _probe(session: Session, reader: TokenReader) -> Tokens:
    return reader.read(*session.batch(session.members[:_PROBE_RECORDS]))


def _training_seconds(session: Session, model: torch.nn.Module, seed: int) -> tuple[float, float]:
    """Seconds of a training step, and of the training; or 0, and of walking over the checkpoints.

    The weights are then as they were.
    """
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    replay = trajectory(session, model, seed)
    if isinstance(replay, Replay):
        _is_a_number(session, model, "the untrained model", "check its initial weights and the scale of the inputs")
        step, train = replay.time_steps(_PROBE_STEPS), session.spec.train
        found = step, train.epochs * steps_per_epoch(train, len(session.split.members)) * step
    else:
        found = 0.0, _walk_seconds(session, replay)
    model.load_state_dict(saved)
    return found


def _walk_seconds(session: Session, walk: Walk) -> float:
    began = time.perf_counter()
    walk.prove()
    loading = time.perf_counter() - began
    epoch, path = next(iter(walk.saved.items()))
    load_into(walk.model, load_state(path, walk.key)[0], path)
    _is_a_number(session, walk.model, f"the checkpoint of epoch {epoch}", "leave it out of replay.checkpoints")
    probe = session.split.members[:_PROBE_RECORDS]
    _, seconds = _timed(lambda: evaluate(walk.model, session.records, session.loss, probe))
    records = len(session.split.members) + len(session.split.held_out)
    return loading + len(walk.saved) * seconds * records / len(probe)


def _is_a_number(session: Session, model: torch.nn.Module, what: str, remedy: str) -> None:
    """Find the loss of the first members finite, before hours are spent on it."""
    first = session.split.members[:_PROBE_RECORDS]
    loss, _ = evaluate(model, session.records, session.loss, first)
    if not math.isfinite(loss):
        said = f"the loss of {what} on the first {len(first)} members is {loss}"
        raise ModelError(said, where=session.spec.model.entry, remedy=remedy)


def _others(session: Session) -> int:
    games = session.spec.audit.games
    return len(session.others) if any(game.name == "membership" for game in games) else 0


def _games_seconds(session: Session, reader: TokenReader, model: torch.nn.Module, tokens: Tokens) -> float:
    """Seconds of the games of one epoch: each kind timed on a sample, scaled to the views.

    The cost of identity grows with the rows and hardly with the records. Label costs less than it and membership about
    as much, so identity stands for both. All other games are taken to grow with the records, and what trains a network,
    for a number of steps that is bounded, with their square root.
    """
    others = [game for game in session.spec.audit.games if game.name not in _LIKE_IDENTITY]
    alike = [game for game in session.spec.audit.games if game.name in _LIKE_IDENTITY]
    sample = replace(session, members=session.members[: len(tokens.loss)])
    scene = Scene(sample, 0, 0, model, reader.layers, tokens, None, reader, encoders=encoders(sample, Silent()))
    times = sum(len(session.views) if on_view(game) else 1 for game in alike)
    seconds = times * _identity_seconds(scene) if alike else 0.0
    for view in session.views if any(game.needs_encoder for game in others) else ():
        small = replace(view, batch_size=min(view.batch_size, _FEW), rounds=1)
        seconds += _encoder_seconds(scene, small)
        for single, growth in chain.from_iterable(map(_singles, others)):
            seconds += _view_seconds(scene, single, small) * (len(session.members) / len(tokens.loss)) ** growth
    return seconds + sum(_model_seconds(scene, game, len(session.members)) for game in others)


def _identity_seconds(scene: Scene) -> float:
    """Of one view, as large a one as the sample allows."""
    n, views = len(scene.inside.loss), scene.session.views
    playable = [view for view in views if RECORDS_PER_MEMBER * _batches(view) <= n]
    view = max(playable, key=_batches) if playable else View("small", batch_size=_FEW)
    game = make_game("identity")
    play = on_view(game)
    return _once(lambda: play(scene, game, view))[1] if play else 0.0


def _encoder_seconds(scene: Scene, view: View) -> float:
    """Of training the encoder of a view, for all games that look through it; it takes as many steps of any records."""
    places = scene.places(view)
    if scene.encoders is None or why_not(scene, view, places):
        return 0.0
    return _once(lambda: observe(scene, view, places))[1]


def _singles(game: GameSpec) -> list[tuple[GameSpec, float]]:
    """The game with each of its estimators or families alone, and the power of the records that its cost grows with."""
    if isinstance(game, MutualInformationGame):
        return [(game.model_copy(update={"estimator": [e]}), 0.5 if e in CRITICS else 1.0) for e in game.estimator]
    if isinstance(game, UsableInformationGame):
        return [(game.model_copy(update={"family": [f]}), 0.5 if f == "mlp" else 1.0) for f in game.family]
    return []


def _view_seconds(scene: Scene, game: GameSpec, view: View) -> float:
    """Of the sample's records; where a class has too few of them, of the sample several times over."""
    play = on_view(game)
    if play is None:
        return 0.0
    rows, seconds = _once(lambda: play(scene, game, view))
    if any(row.measured for row in rows) or scene.encoders is not None:
        return seconds
    many = _repeated(scene, _REPEATS)
    return _once(lambda: play(many, game, view))[1] / _REPEATS


def _repeated(scene: Scene, times: int) -> Scene:
    """The same sample several times over, with gradients that differ a little."""
    index = torch.arange(len(scene.inside.loss)).repeat(times)
    values = scene.inside.values[:, index]
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0)).to(values.device)
    inside = replace(
        scene.inside,
        values=values + 0.1 * values.std() * noise,
        norm_sq=scene.inside.norm_sq[:, index],
        total_norm_sq=scene.inside.total_norm_sq[index],
        loss=scene.inside.loss[index],
    )
    session = replace(scene.session, members=scene.session.members[index.numpy()])
    return replace(scene, session=session, inside=inside)


def _model_seconds(scene: Scene, game: GameSpec, records: int) -> float:
    """Of a game on the model, on tokens of no record: as many as it needs, if there will be so many."""
    once = on_model(game, scene.session.spec)
    if once is None:
        return 0.0
    layers, n, dim = scene.inside.values.shape
    n = max(n, min(records, _PER_COORDINATE * dim))
    values = torch.randn(layers, n, dim, generator=torch.Generator().manual_seed(0))
    some = replace(scene, inside=replace(scene.inside, values=values.to(scene.inside.values.device)))
    return _once(lambda: once(some, game))[1] * records / n


def _once(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def _memory(session: Session, tokens: Tokens, records: int) -> int:
    """Peak memory so far, plus the tokens of all audited records in both precisions."""
    if session.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(session.device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    per_record = tokens.values.shape[0] * tokens.values.shape[2]
    return int(peak + records * per_record * (4 + 8))


def _batches(view: View) -> int:
    """Records that one game takes: a batch for each round."""
    return view.batch_size * view.rounds


def _record_warnings(session: Session) -> list[str]:
    """Views that have few records for the games on them; those that look through an encoder have half of all."""
    found, n, audit = [], len(session.members), session.spec.audit
    games = [game for game in audit.games if on_view(game)]
    halved = [game for game in games if game.needs_encoder and audit.tokens.encoder != "sketch"]
    kinds = [(1, [game for game in games if game not in halved]), (2, halved)]
    for view in session.views:
        for times, some in kinds:
            needed, advised = (times * each * _batches(view) for each in (RECORDS_PER_MEMBER, ADVISED_PER_MEMBER))
            of = "" if len(some) == len(games) else f" for {' and '.join(game.title for game in some)}"
            why = "" if times == 1 else " (half of them train the encoder)"
            if some and n < needed:
                text = f"will be inconclusive{of}: it needs {needed} audited records{why}, there are {n}."
                found.append(f"View {view.name} {text}")
            elif some and n < advised:
                found.append(f"View {view.name} has {n} audited records; {advised} are advised{of}{why}.")
    return found


def _gate_warnings(session: Session, layers: Sequence[LayerEntry]) -> list[str]:
    """Thresholds that the view can hardly reach."""
    found = []
    for gate in session.spec.gates:
        ceiling = _ceiling(session, gate, layers)
        text = reachable(gate, ceiling=ceiling) if ceiling is not None else None
        if text:
            found.append(text)
    return found


def _ceiling(session: Session, gate: GateSpec, layers: Sequence[LayerEntry]) -> float | None:
    """The largest value that the gate's metric can have on its view; None where it is not known beforehand."""
    if gate.measure == "epsilon_lo":
        return None
    if gate.view == MODEL_VIEW or not gate.measure.endswith("bits"):
        return 1.0
    if gate.measure != "bits":
        return None
    view = next(v for v in session.views if v.name == gate.view)
    game = next(game for game in session.spec.games if game.title == gate.game)
    if isinstance(game, IdentityGame):
        largest = max((layer.parameters for layer in layers if shared(view, layer.name)), default=1)
        total = sum(layer.parameters for layer in layers)
        size = largest if gate.over == "layers" else total
        k = min(game.candidates, len(session.members) // 4)
        return min(math.log2(max(k, 1)), noise_ceiling(view, size))
    classes = session.records.classes
    return math.log2(classes) if game.name == "label" and classes else None
