"""`ptaudit run` and `ptaudit.audit`: replay the training of a spec, audit it, write the run folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ptaudit.auditing import folder as places
from ptaudit.auditing.code import sources
from ptaudit.auditing.defended_runs import Arm, of_arms, run_arms, table_of
from ptaudit.auditing.live import LIVE, publish
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.result import AuditResult
from ptaudit.auditing.resume_check import check_same
from ptaudit.auditing.run_key import model_digest, versions
from ptaudit.auditing.seed import SeedRun, prove, run_seeds
from ptaudit.auditing.threat_model import threat_model
from ptaudit.auditing.training import training_versions
from ptaudit.context import encoding, samples
from ptaudit.context.session import Session
from ptaudit.data import preprocess
from ptaudit.errors import PtauditError, SpecError, TrainingDivergedError
from ptaudit.files import write_whole
from ptaudit.gate import decide, exit_code
from ptaudit.progress import Progress, Silent
from ptaudit.report import Page
from ptaudit.report.markdown import render
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import Spec
from ptaudit.tables.folder import read_run, write_run
from ptaudit.tables.run import EpochEntry, Run
from ptaudit.tables.seeds import pool
from ptaudit.tables.table import Table
from ptaudit.training.device import pick_device

DEFAULT_FOLDER = Path("runs")
PREPROCESS = "preprocess.json"


def audit(
    spec_path: Path | str,
    *,
    out: Path | str | None = None,
    device: str = "auto",
    fresh: bool = False,
    resume: bool = False,
    gate: bool = True,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    inconclusive: Literal["pass", "fail"] | None = None,
    keep_records: bool = False,
) -> AuditResult:
    """Audit the training run of a spec. Runs the Python that the spec names.

    Args:
        spec_path: the YAML spec.
        out: the run folder; default `runs/NAME`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        fresh: replace a run that exists, once the new one is whole.
        resume: go on from the last whole epoch.
        gate: decide the gates of the spec.
        overrides: `a.b=value` settings on top of the spec.
        progress: where to report.
        inconclusive: count inconclusive gates as passed or failed.
        keep_records: write scores of single records to `samples.csv`, under hashed names, and how the columns of a
            table became inputs, with levels and medians of members, to `preprocess.json`.

    Returns:
        The tables as DataFrames, the run folder and the exit code.

    Raises:
        PtauditError: anything the user can mend; nothing half-written is left. For a `TrainingDivergedError` the
            tables of the epochs before it have been written, and say so.
    """
    progress = progress or Silent()
    spec = load(spec_path, overrides)
    target = Path(out) if out is not None else DEFAULT_FOLDER / spec.name
    chosen = pick_device(device)
    places.check(target, fresh=fresh, resume=resume)
    session = open_session(spec, chosen)
    scored = keep_records and any(game.scores_records for game in spec.audit.games)
    if keep_records and not (scored or session.records.preprocessing):
        raise SpecError("no game here scores single records", where="--keep-records", remedy="add `uniqueness`")
    if resume and places.is_whole(target) and not places.is_begun(target):
        if scored:
            samples.find(target)
        return _as_it_ended(session, target, progress, gate, inconclusive)
    # What can be wrong is found before the folder is touched.
    for one in (session, *of_arms(session)):
        prove(one)
    started = _now()
    with places.working(target, fresh=fresh) as place:
        seeds = run_seeds(session, place, progress, scored)
        if seeds[0].diverged and not seeds[0].stats:
            raise seeds[0].diverged  # not even the model as it was built: there is nothing to keep
        arms = [] if seeds[-1].diverged else run_arms(session, place, progress)
        run, refused = _run(session, seeds, arms, started), None
        diverged = seeds[-1].diverged
        if diverged and places.is_whole(target):
            raise _kept_before(diverged, target)
        if gate and not diverged:
            run, refused = _judged(run, spec)
            _say_undecided(spec, target, progress)
        place.confirm()
        output = place.output
        publish([(seed, place.state / f"seed-{seed}" / LIVE) for seed in spec.train.all_seeds], output)
        states = [(seed, place.state / f"seed-{seed}") for seed in spec.train.all_seeds[: len(seeds)]]
        if scored:
            samples.publish(states, np.unique(run.rows.number("epoch")).tolist(), output)
        if keep_records and session.records.preprocessing:
            write_whole(output / PREPROCESS, preprocess.written(session.records.preprocessing))
        encoding.publish([(seed, done.encoders) for seed, done in zip(spec.train.all_seeds, seeds)], output)
        write_run(run, output, render(run, Page(folder=str(target))))
        place.publish()
    if diverged:
        raise _with_place(diverged, target)
    if refused:
        raise refused
    return AuditResult(run, target, exit_code(run.verdicts, inconclusive))


def _judged(run: Run, spec: Spec) -> tuple[Run, PtauditError | None]:
    """The run with what its gates decide; the error of a gate that matches no row, which must not cost the tables."""
    try:
        return replace(run, verdicts=tuple(decide([gate for gate in spec.gates if gate.max is not None], run))), None
    except PtauditError as error:
        return run, error


def _run(session: Session, seeds: Sequence[SeedRun], arms: Sequence[Arm], started: str) -> Run:
    """What all seeds found, with and without defenses, as one run."""
    spec = session.spec
    text = dump(spec)
    diverged = seeds[-1].diverged
    tables = [table_of(i, seeds, arms) for i in range(len(seeds))]
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
        "finished": _now(),
        "status": f"diverged: {diverged.what}" if diverged else "complete",
        "threat_model": list(threat_model(spec)),
        "warnings": list(dict.fromkeys((*(w for seed in seeds for w in seed.warnings), *_of_arms(seeds, arms)))),
        **({"alarms": alarms} if (alarms := [seed.alarm for seed in seeds if seed.alarm]) else {}),
        **({"defenses": [asdict(arm.entry) for arm in arms]} if arms else {}),
        **_majority(session),
    }
    every = [*seeds, *(seed for arm in arms for seed in arm.seeds)]
    seconds = {phase: sum(seed.seconds.get(phase, 0.0) for seed in every) for phase in _phases(every)}
    several = tuple(map(Table.of, tables)) if len(tables) > 1 else ()
    return Run(spec.name, Table.of(rows), seeds[0].layers, _epochs(seeds), manifest, seconds, text, seeds=several)


def _majority(session: Session) -> dict[str, float]:
    """Accuracy on held-out records of always naming the most frequent class: what an accuracy is worth."""
    targets = session.records.targets[torch.from_numpy(session.split.held_out)]
    if session.records.classes is None:
        return {}
    return {"held_out_majority": float(torch.bincount(targets.flatten()).max()) / len(targets)}


def _phases(seeds: Sequence[SeedRun]) -> list[str]:
    """Training, capture, games; then each game by its name."""
    return list(dict.fromkeys(phase for seed in seeds for phase in seed.seconds))


def _of_arms(seeds: Sequence[SeedRun], arms: Sequence[Arm]) -> Iterator[str]:
    """What must be known of the trainings with a defense, and not of the training as it is."""
    known = {warning for seed in seeds for warning in seed.warnings}
    for arm in arms:
        for warning in arm.seeds[0].warnings:
            if warning not in known:
                yield f"Defense {arm.entry.title}: {warning}"
        if arm.entry.status != "ok":
            yield f"Defense {arm.entry.title}: {arm.entry.status}."


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


def _as_it_ended(
    session: Session, target: Path, progress: Progress, gate: bool, inconclusive: Literal["pass", "fail"] | None
) -> AuditResult:
    """Resuming a run that has ended: it ends as it did, if it is of this spec, code, data and versions."""
    run = read_run(target)
    check_same(run, session, str(target))
    places.clear(target)
    progress.log(f"{target}: this run is whole; nothing to resume")
    if str(run.manifest.get("status", "")).startswith("diverged"):
        remedy = "leave it out of replay.checkpoints" if session.spec.replay else "lower train.optimizer.lr"
        raise _with_place(TrainingDivergedError(str(run.manifest["status"]), remedy=remedy), target)
    if gate and not run.verdicts:
        run, refused = _judged(run, session.spec)
        if refused:
            raise refused
    return AuditResult(run, target, exit_code(run.verdicts, inconclusive))


def _say_undecided(spec: Spec, target: Path, progress: Progress) -> None:
    for gate in spec.gates:
        if gate.max is None:
            progress.log(f"gate {gate.id} needs a baseline: ptaudit gate {target} --baseline RUN")


def _with_place(error: TrainingDivergedError, target: Path) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"{error.what}; the epochs before it are in {target}", where=error.where, remedy=error.remedy
    )


def _kept_before(error: TrainingDivergedError, target: Path) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"{error.what}; the run that was in {target} before is still there", where=error.where, remedy=error.remedy
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
