"""What all trainings of an audit found, as one run: the tables, and the manifest that says how they came about."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from ptaudit.auditing.defended_runs import DefendedRun, groups_of_all, table_of
from ptaudit.auditing.run_key import model_digest, sources, training_versions, versions
from ptaudit.auditing.seed import SeedRun
from ptaudit.context.session import Session
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.game import KNOWS_HALF, SEES_SUMS
from ptaudit.spec.load import dump
from ptaudit.spec.model import Spec
from ptaudit.tables.run import EpochEntry, Run
from ptaudit.tables.seeds import pool
from ptaudit.tables.table import Table


def assemble(session: Session, seeds: Sequence[SeedRun], defended: Sequence[DefendedRun], started: str) -> Run:
    """What all seeds found, with and without defenses, as one run."""
    spec = session.spec
    text = dump(spec)
    diverged = seeds[-1].diverged
    tables = [table_of(i, seeds, defended) for i in range(len(seeds))]
    found = pool(tables) if len(tables) > 1 else tables[0]
    position = {line: i for i, line in enumerate(dict.fromkeys((r.epoch, r.view, r.game) for r in tables[0]))}
    rows = sorted(found, key=lambda r: (r.epoch, position.get((r.epoch, r.view, r.game), 0)))
    manifest = {
        **versions(),
        **training_versions(spec),
        "device": str(session.device),
        "seeds": [] if spec.replay else list(spec.train.all_seeds[: len(seeds)]),
        "audit_seed": spec.audit.seed,
        "spec_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "model_sha256": model_digest(spec),
        "code_sha256": sources(spec),
        "data_sha256": session.records.digest(),
        "split_sha256": session.split.digest(),
        **_checkpoints(session),
        "records": len(session.members),
        "members": len(session.split.members),
        "held_out": len(session.split.held_out),
        "started": started,
        "finished": now(),
        "status": f"diverged: {diverged.what}" if diverged else "complete",
        "threat_model": list(threat_model(spec)),
        "warnings": list(dict.fromkeys([*_warnings(seeds), *_of_defended(seeds, defended)])),
        **({"alarms": alarms} if (alarms := [seed.alarm for seed in seeds if seed.alarm]) else {}),
        **({"defenses": [asdict(one.entry) for one in defended]} if defended else {}),
        **_reference(session),
        **_majority(session),
    }
    every = [*seeds, *(seed for one in defended for seed in one.seeds)]
    seconds = {phase: sum(seed.seconds.get(phase, 0.0) for seed in every) for phase in _phases(every)}
    if session.reference is not None:
        seconds["reference models"] = session.reference.seconds + sum(one.reference_seconds for one in defended)
    several = tuple(map(Table.of, tables)) if len(tables) > 1 else ()
    groups = groups_of_all(seeds, defended)
    whole = (Table.of(rows), seeds[0].layers, _epochs(seeds), manifest, seconds, text)
    return Run(spec.name, *whole, seeds=several, groups=groups)


def _reference(session: Session) -> dict[str, Any]:
    """How many reference models there are, and the ways in which they were trained."""
    if session.reference is None:
        return {}
    trained = session.reference.said.training
    return {"reference_models": {"models": len(trained), "training": list(dict.fromkeys(trained))}}


def _majority(session: Session) -> dict[str, float]:
    """Accuracy on held-out records of always naming the most frequent class: what an accuracy is worth."""
    targets = session.records.targets[torch.from_numpy(session.split.held_out)]
    if session.records.classes is None:
        return {}
    return {"held_out_majority": float(torch.bincount(targets.flatten()).max()) / len(targets)}


def _phases(seeds: Sequence[SeedRun]) -> list[str]:
    """Training, capture, games; then each game by its name."""
    return list(dict.fromkeys(phase for seed in seeds for phase in seed.seconds))


def _warnings(seeds: Sequence[SeedRun]) -> Iterator[str]:
    return (warning for seed in seeds for warning in seed.warnings)


def _of_defended(seeds: Sequence[SeedRun], defended: Sequence[DefendedRun]) -> Iterator[str]:
    """What must be known of the trainings with a defense, and not of the training as it is."""
    known = set(_warnings(seeds))
    for one in defended:
        for warning in one.seeds[0].warnings:
            if warning not in known:
                yield f"Defense {one.entry.title}: {warning}"
        if one.entry.status != "ok":
            yield f"Defense {one.entry.title}: {one.entry.status}."


def _checkpoints(session: Session) -> dict[str, Any]:
    """For the manifest: the files that were walked over."""
    saved = session.spec.replay.saved if session.spec.replay else {}
    entries = [
        {"epoch": epoch, "file": str(path), "sha256": session.checkpoints[epoch]} for epoch, path in saved.items()
    ]
    return {"checkpoints": entries} if entries else {}


def _epochs(seeds: Sequence[SeedRun]) -> tuple[EpochEntry, ...]:
    """The training of all seeds, averaged; an epoch that not every seed reached is left out."""
    entries = []
    for same in zip(*(seed.stats for seed in seeds)):
        numbers = [[s.train_loss, s.train_accuracy, s.held_out_loss, s.held_out_accuracy] for s in same]
        loss, accuracy, held_out_loss, held_out_accuracy = (float(mean) for mean in np.mean(numbers, axis=0))
        spent = math.nan if same[0].epsilon is None else same[0].epsilon
        entries.append(EpochEntry(same[0].epoch, same[0].step, loss, accuracy, held_out_loss, held_out_accuracy, spent))
    return tuple(entries)


def now() -> str:
    """The time as manifests have it: UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def threat_model(spec: Spec) -> tuple[str, ...]:
    """A sentence for each thing that adversaries see or know."""
    return tuple(_sentences(spec))


def _sentences(spec: Spec) -> Iterator[str]:
    seen = {game.sees for game in spec.games}
    yield from [sees for sees in (KNOWS_HALF, SEES_SUMS) if sees in seen][:1]
    # Those who look at views, those who hold the model, and canaries.
    for game in [*sorted(spec.audit.games, key=lambda game: game.on_model), *spec.games[len(spec.audit.games) :]]:
        if sentence := game.threat(spec):
            yield sentence
    encoder = spec.audit.tokens.encoder
    if encoder != "sketch":
        yield f"Mutual and usable information: sees tokens of one {encoder} that half of the records trained."
    defended = any(view.defense is not None or spec.defenses for view in spec.audit.views)
    if defended and any(game.has_static for game in spec.games):
        yield "Adaptive adversaries were fitted on what a defense shows, static ones on undefended views."
    if promised := (spec.train.defense or UNDEFENDED).promise:
        yield promised
    promises: dict[str, list[str]] = {}
    for title, trained in spec.defended.items():
        if promised := (trained.train.defense or UNDEFENDED).promise:
            promises.setdefault(promised, []).append(title)
    for promised, titles in promises.items():
        yield f"Defense{'s' * (len(titles) > 1)} {', '.join(titles)}: {promised}"
