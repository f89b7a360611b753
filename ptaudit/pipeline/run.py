"""`ptaudit run` and `ptaudit.audit`: replay the training of a spec, audit it, write the run folder."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ptaudit.errors import PtauditError, RunFolderError, TrainingDivergedError
from ptaudit.gate import decide, exit_code
from ptaudit.pipeline import folder as places
from ptaudit.pipeline.moment import EpochAudit
from ptaudit.pipeline.parts import Parts
from ptaudit.pipeline.result import AuditResult
from ptaudit.pipeline.session import (
    Session,
    key,
    layer_entries,
    model_digest,
    open_session,
    settings,
    versions,
    warnings,
)
from ptaudit.progress import Progress, Silent, Task
from ptaudit.replay import CheckpointStore, EpochStats, Moment, Replay
from ptaudit.replay.checkpoint import difference
from ptaudit.replay.device import pick_device
from ptaudit.report import Page
from ptaudit.report.markdown import render
from ptaudit.spec import Spec, dump, load
from ptaudit.tables.folder import read_run, write_run
from ptaudit.tables.row import JOINT, Row
from ptaudit.tables.run import EpochEntry, LayerEntry, Run
from ptaudit.tables.seeds import pool
from ptaudit.tables.wide import primary_rows

DEFAULT_FOLDER = Path("runs")


@dataclass(frozen=True)
class SeedRun:
    """One training run, audited: what is left of it when training diverged, with the reason."""

    rows: tuple[Row, ...]
    stats: tuple[EpochStats, ...]
    layers: tuple[LayerEntry, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    diverged: TrainingDivergedError | None = None


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
) -> AuditResult:
    """Audit the training run of a spec. Runs the Python that the spec names.

    Args:
        spec_path: the YAML spec.
        out: the run folder; default `runs/NAME`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        fresh: replace a run folder that exists.
        resume: go on from the last whole epoch.
        gate: decide the gates of the spec.
        overrides: `a.b=value` settings on top of the spec.
        progress: where to report.
        inconclusive: count inconclusive gates as passed or failed.

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
    if resume and places.is_whole(target):
        return _already_whole(spec, target, progress, gate, inconclusive)
    session = open_session(spec, chosen)
    session.reader(session.model(spec.train.all_seeds[0]))  # what can be wrong is found before the folder is touched
    started = _now()
    with places.working(target, fresh=fresh) as state:
        seeds: list[SeedRun] = []
        for seed in spec.train.all_seeds:
            seeds.append(_run_seed(session, seed, state / f"seed-{seed}", progress))
            if seeds[-1].diverged:
                break
        if seeds[0].diverged and not seeds[0].stats:
            raise seeds[0].diverged  # not even the model as it was built: there is nothing to keep
        run, refused = _run(session, seeds, started), None
        diverged = seeds[-1].diverged
        if gate and not diverged:
            run, refused = _judged(run, spec)
            _say_undecided(spec, target, progress)
        write_run(run, target, render(run, Page(folder=str(target))))
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


def _run_seed(session: Session, seed: int, state: Path, progress: Progress) -> SeedRun:
    """Train with one seed from where it was left, and audit on the way."""
    spec = session.spec
    model = session.model(seed)
    reader = session.reader(model)
    parts = Parts(state)
    store = CheckpointStore(state, key(session, dump(spec)))
    epochs = spec.audit.audited_epochs(spec.train.epochs)
    observer = EpochAudit(session, reader, progress)
    replay = Replay(model, session.records, session.split, spec.train, session.loss, seed, session.device)
    saved = store.latest()
    done = [epoch for epoch in epochs if saved and epoch <= saved.stats[-1].epoch]
    observer.rows, before = parts.load(done)
    observer.seconds.capture, observer.seconds.games = before.get("capture", 0.0), before.get("games", 0.0)
    trained, began = before.get("training", 0.0), time.perf_counter()
    spent = observer.seconds.capture + observer.seconds.games

    def training() -> float:
        now = observer.seconds.capture + observer.seconds.games
        return trained + time.perf_counter() - began - (now - spent)

    def keep(moment: Moment) -> None:
        parts.save(moment.epoch, observer.rows[moment.epoch], observer.seconds, training())
        progress.log(_headline(moment, observer.rows[moment.epoch], seed if len(spec.train.all_seeds) > 1 else None))

    diverged = None
    batches = math.ceil(len(session.split.members) / spec.train.batch_size)
    first = saved.stats[-1].epoch if saved else 0
    name = "training" if len(spec.train.all_seeds) == 1 else f"training, seed {seed}"
    with progress.task(name, (spec.train.epochs - first) * batches) as task:
        try:
            replay.run(epochs, [observer, keep], checkpoint=store, progress=_ticker(task, spec.train.epochs))
        except TrainingDivergedError as error:
            diverged = error
    seconds = {"training": training(), "capture": observer.seconds.capture, "games": observer.seconds.games}
    rows = tuple(row for epoch in sorted(observer.rows) for row in observer.rows[epoch])
    return SeedRun(rows, tuple(replay.stats), layer_entries(reader.layers), warnings(session, model), seconds, diverged)


def _ticker(task: Task, epochs: int) -> Any:
    def tick(epoch: int, batch: int, batches: int) -> None:
        task.advance(note=f"epoch {epoch}/{epochs}")

    return tick


def _headline(moment: Moment, rows: Sequence[Row], seed: int | None) -> str:
    """One line for an audited epoch: how training stands and what leaks of all layers jointly."""
    stats = moment.stats
    leaks = [
        f"{row.game} on {row.view} {row.value:.2f}"
        for row in primary_rows(rows)
        if row.layer == JOINT and row.metric == "bits" and row.measured
    ]
    of_seed = f"seed {seed}, " if seed is not None else ""
    loss = f"loss {stats.train_loss:.3f}, held out {stats.held_out_loss:.3f}"
    return f"{of_seed}epoch {moment.epoch}: {loss}; bits: {', '.join(leaks) or 'none measured'}"


def _run(session: Session, seeds: Sequence[SeedRun], started: str) -> Run:
    """What all seeds found, as one run."""
    spec = session.spec
    text = dump(spec)
    diverged = seeds[-1].diverged
    tables = [seed.rows for seed in seeds]
    found = pool(tables) if len(tables) > 1 else tables[0]
    position = {line: i for i, line in enumerate(dict.fromkeys((r.epoch, r.view, r.game) for r in tables[0]))}
    rows = sorted(found, key=lambda r: (r.epoch, position.get((r.epoch, r.view, r.game), 0)))
    manifest = {
        **versions(),
        "device": str(session.device),
        "seeds": list(spec.train.all_seeds[: len(seeds)]),
        "audit_seed": spec.audit.seed,
        "spec_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "model_sha256": model_digest(spec),
        "data_sha256": session.records.digest(),
        "split_sha256": session.split.digest(),
        "records": len(session.members),
        "members": len(session.split.members),
        "held_out": len(session.split.held_out),
        "started": started,
        "finished": _now(),
        "status": f"diverged: {diverged.what}" if diverged else "complete",
        "threat_model": list(_threat_model(spec)),
        "warnings": list(dict.fromkeys(w for seed in seeds for w in seed.warnings)),
    }
    seconds = {phase: sum(seed.seconds[phase] for seed in seeds) for phase in ("training", "capture", "games")}
    several = tuple(tables) if len(tables) > 1 else ()
    return Run(spec.name, tuple(rows), seeds[0].layers, _epochs(seeds), manifest, seconds, text, seeds=several)


def _epochs(seeds: Sequence[SeedRun]) -> tuple[EpochEntry, ...]:
    """The training of all seeds, averaged; an epoch that not every seed reached is left out."""
    entries = []
    for same in zip(*(seed.stats for seed in seeds)):
        numbers = [[s.train_loss, s.train_accuracy, s.held_out_loss, s.held_out_accuracy] for s in same]
        loss, accuracy, held_out_loss, held_out_accuracy = (float(mean) for mean in np.mean(numbers, axis=0))
        entries.append(
            EpochEntry(same[0].epoch, same[0].step, loss, accuracy, held_out_loss, held_out_accuracy, math.nan)
        )
    return tuple(entries)


def _threat_model(spec: Spec) -> tuple[str, ...]:
    """Who the adversary is, in words."""
    names = {game.name for game in spec.audit.games}
    found = []
    if names & {"identity", "label"}:
        found.append(
            "Sees the summed gradients of a view; knows the weights and half of the audited records as reference."
        )
    if "membership" in names:
        found.append("Membership: holds the model and labelled members and non-members of the other half.")
    return tuple(found)


def _already_whole(
    spec: Spec, target: Path, progress: Progress, gate: bool, inconclusive: Literal["pass", "fail"] | None
) -> AuditResult:
    """Resuming a run that has ended: it ends as it did, if it is of this spec."""
    run = read_run(target)
    changes = difference(settings(run.spec_text), settings(dump(spec)))
    if changes:
        raise RunFolderError(
            f"holds a run of another spec: {changes}",
            where=str(target),
            remedy="--fresh to replace it, or another --out",
        )
    progress.log(f"{target}: this run is whole; nothing to resume")
    if str(run.manifest.get("status", "")).startswith("diverged"):
        raise _with_place(TrainingDivergedError(str(run.manifest["status"]), remedy="lower train.optimizer.lr"), target)
    if gate and not run.verdicts:
        run, refused = _judged(run, spec)
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
