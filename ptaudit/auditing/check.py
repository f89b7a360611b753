"""`ptaudit check`: everything short of training, and what training and audit would cost."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ptaudit.auditing.checkpoint_alarm import alarm_of
from ptaudit.auditing.columns import column_entries
from ptaudit.auditing.cost_estimate import games_seconds, once
from ptaudit.auditing.cost_probe import CostProbe
from ptaudit.auditing.foretell import foretell
from ptaudit.auditing.gradient_memory import gradient_bytes
from ptaudit.auditing.opening import defended_sessions, layer_entries, open_session
from ptaudit.auditing.over_ray import check_engine
from ptaudit.auditing.reference import reference_bytes, reference_seconds
from ptaudit.auditing.seed import prove, trajectory
from ptaudit.auditing.warnings import of_check
from ptaudit.auditing.warnings.epochs import unreliable
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.session import Session
from ptaudit.errors import ModelError
from ptaudit.report.check import CheckReport
from ptaudit.report.columns import CheckpointEntry, FrozenEntry
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.checkpoint_labels import CheckpointLabel
from ptaudit.spec.load import load
from ptaudit.spec.model import Spec
from ptaudit.training.device import pick_device
from ptaudit.training.evaluate import evaluate, members_evaluated
from ptaudit.training.sampling import steps_per_epoch
from ptaudit.training.saved import load_into, load_state
from ptaudit.training.trainer import Replay
from ptaudit.training.walk import Walk

T = TypeVar("T")

_PROBE_RECORDS = 256
_PROBE_STEPS = 3

_BATCHES_HELD = 2048
"""Batches of which a game holds what is seen in every layer, by its peak."""


def check(spec_path: Path | str, *, device: str = "auto", overrides: Sequence[str] = ()) -> CheckReport:
    """Load all that the spec names, list the layers, take a few steps, read a few tokens, play one game.

    Nothing is written. The estimate scales what was timed on a sample by the size of the run.

    Raises:
        PtauditError: what `run` would refuse.
    """
    spec = load(spec_path, overrides)
    check_engine(spec)
    session = open_session(spec, pick_device(device))
    seed = spec.train.all_seeds[0]
    model = session.model(seed)
    reader = session.reader(model)
    for defended in defended_sessions(session):
        prove(defended)
    step, training = _training_seconds(session, model, seed)
    alarm = _alarm(session, model, seed)
    probe = CostProbe.of(session, model, reader)
    layers = layer_entries(reader.layers)  # which may have changed: of more records, more may reach a layer
    games = games_seconds(probe)
    epochs, seeds = len(spec.audited_epochs), len(spec.train.all_seeds)
    trainings = 1 + len(spec.defenses)
    records = len(session.members) + _others(session)
    captured = sum(layer.parameters for layer in layers if layer.capture != "none")
    gradients, more = gradient_bytes(session, reader)
    about = Subject(session, model, _unreliable(session, model, probe.inside), layers, alarm)
    memory = _memory(session, probe.inside, records) + gradients + more + reference_bytes(session, model)
    limits, gates = foretell(about)
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
            "training": seeds * trainings * training,
            **_fleet_seconds(session, model, trainings),
            "capture": seeds * trainings * epochs * records * probe.read_seconds,
            "games": seeds * epochs * games,
        },
        memory_bytes=memory,
        gradient_bytes=gradients,
        limits=limits,
        gate_limits=gates,
        warnings=of_check(about),
        columns=column_entries(session),
        class_names=session.records.class_names,
        frozen=frozen_entries(model),
        checkpoints=checkpoint_entries(spec),
    )


def _unreliable(session: Session, model: nn.Module, tokens: Tokens) -> dict[int, dict[str, str]]:
    """What makes numbers unreliable at the weights at hand: those of the last checkpoint, or before training."""
    epoch = max(session.spec.replay.saved) if session.spec.replay else 0
    return {epoch: unreliable(session, model, tokens)}


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    work()  # the first call pays for kernels and buffers
    return once(work)


def _training_seconds(session: Session, model: nn.Module, seed: int) -> tuple[float, float]:
    """Seconds of a training step, and of the training; or 0, and of walking over the checkpoints.

    The weights are then as they were.
    """
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    replay = trajectory(session, model, seed)
    if isinstance(replay, Replay):
        _is_a_number(session, model, "the untrained model", "check its initial weights and the scale of the inputs")
        replay.prove()
        step, train = replay.time_steps(_PROBE_STEPS), session.spec.train
        looking = (train.epochs + 1) * _evaluated(session) * _evaluation_seconds(session, model)
        found = step, train.epochs * steps_per_epoch(train, len(session.split.members)) * step + looking
    else:
        found = 0.0, _walk_seconds(session, replay)
    model.load_state_dict(saved)
    return found


def _fleet_seconds(session: Session, model: nn.Module, trainings: int) -> dict[str, float]:
    """Of reference models, for the training as it is and each with a defense, on one machine: how many there will be is
    not known here."""
    if session.spec.fleet is None:
        return {}
    name = "reference models" + (" on one machine" if session.spec.fleet.engine == "ray" else "")
    return {name: trainings * reference_seconds(session, _PROBE_STEPS, _evaluation_seconds(session, model))}


def _alarm(session: Session, model: nn.Module, seed: int) -> str:
    """What is badly wrong with checkpoints; the weights are then those of the last one, which say most."""
    walk = trajectory(session, model, seed)
    return alarm_of(session, walk) if isinstance(walk, Walk) else ""


def _walk_seconds(session: Session, walk: Walk) -> float:
    began = time.perf_counter()
    walk.prove()
    loading = time.perf_counter() - began
    epoch, path = next(iter(walk.saved.items()))
    load_into(walk.model, load_state(path, walk.key)[0], path)
    _is_a_number(session, walk.model, f"the checkpoint of epoch {epoch}", "leave it out of replay.checkpoints")
    return 2 * loading + len(walk.saved) * _evaluated(session) * _evaluation_seconds(session, walk.model)


def _evaluated(session: Session) -> int:
    """Records whose loss is looked at after every epoch."""
    return len(members_evaluated(session.split.members)) + len(session.split.held_out)


def _evaluation_seconds(session: Session, model: nn.Module) -> float:
    """Of the loss of one record."""
    probe = session.split.members[:_PROBE_RECORDS]
    return _timed(lambda: evaluate(model, session.records, session.loss, probe))[1] / len(probe)


def _is_a_number(session: Session, model: nn.Module, what: str, remedy: str) -> None:
    """Find the loss of the first members finite, before hours are spent on it."""
    first = session.split.members[:_PROBE_RECORDS]
    loss, _ = evaluate(model, session.records, session.loss, first)
    if not math.isfinite(loss):
        said = f"the loss of {what} on the first {len(first)} members is {loss}"
        raise ModelError(said, where=session.spec.model.entry, remedy=remedy)


def _others(session: Session) -> int:
    return len(session.others) if session.reads_held_out else 0


def _memory(session: Session, tokens: Tokens, records: int) -> int:
    """Peak memory so far, with games played on few layers; plus the tokens of all records in both precisions, and what
    games hold of the batches that they look at in all layers.
    """
    if session.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(session.device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    per_record = tokens.values.shape[0] * tokens.values.shape[2]
    games = [game for game in session.spec.games if game.on_views]
    batches = _BATCHES_HELD if games and session.views else 0
    return int(peak + (records * (4 + 8) + batches * 8) * per_record)


def frozen_entries(model: nn.Module) -> tuple[FrozenEntry, ...]:
    """What of a model is not trained, in its order: layers by their path, single parameters by theirs."""
    found: dict[str, int] = {}
    counted: set[int] = set()
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        alone = any(parameter.requires_grad for parameter in own.values())
        for name, parameter in own.items():
            if parameter.requires_grad or id(parameter) in counted:
                continue
            counted.add(id(parameter))
            place = path if path and not alone else f"{path}.{name}".lstrip(".")
            found[place] = found.get(place, 0) + parameter.numel()
    return tuple(FrozenEntry(name, parameters) for name, parameters in found.items())


def checkpoint_entries(spec: Spec) -> tuple[CheckpointEntry, ...]:
    """All files that are walked over, by epoch; none where the spec trains."""
    if spec.replay is None:
        return ()
    labels = spec.replay.numbering.labels
    return tuple(
        CheckpointEntry(epoch, "/".join(Path(path).parts[-2:]), _words(labels.get(epoch)), epoch in spec.audited_epochs)
        for epoch, path in spec.replay.saved.items()
    )


def _words(label: CheckpointLabel | None) -> str:
    if label is None:
        return ""
    step = "" if label.step is None else f", step {label.step}"
    return f"epoch {label.epoch:g}{step}{f' ({label.tool})' if label.tool else ''}"
