"""One training run of an audit: trained, or walked over from its checkpoints, and read on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from ptaudit.auditing.checkpoint_alarm import worse_than_a_guess
from ptaudit.auditing.control import compared, compared_groups
from ptaudit.auditing.epoch import EpochAudit, Seconds
from ptaudit.auditing.epoch_store import EpochStore
from ptaudit.auditing.folder import Workplace
from ptaudit.auditing.live import LIVE, LiveLog, LiveWatch
from ptaudit.auditing.opening import layer_entries
from ptaudit.auditing.rows import over_epochs
from ptaudit.auditing.run_key import key
from ptaudit.auditing.samples import Samples
from ptaudit.auditing.warnings import of_tables
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.encoding import Encoders
from ptaudit.context.layer_patterns import audited, shared
from ptaudit.context.session import Session
from ptaudit.errors import TrainingDivergedError
from ptaudit.progress import Progress, Task
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.load import dump
from ptaudit.tables.row import Row
from ptaudit.tables.run import GroupEntry, LayerEntry
from ptaudit.tables.table import Table
from ptaudit.tables.wide import primary_rows
from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochSnapshot, EpochStats
from ptaudit.training.evaluate import MOST_MEMBERS
from ptaudit.training.sampling import steps_per_epoch
from ptaudit.training.trainer import Replay
from ptaudit.training.walk import Walk


@dataclass(frozen=True)
class SeedRun:
    """One training run, audited: what is left of it when training diverged, with the reason."""

    rows: tuple[Row, ...]
    stats: tuple[EpochStats, ...]
    layers: tuple[LayerEntry, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    diverged: TrainingDivergedError | None = None
    encoders: Mapping[str, bytes] = field(default_factory=dict)
    alarm: str = ""
    groups: tuple[GroupEntry, ...] = ()


def prove(session: Session) -> None:
    """Show that the model can be read, and trained for a step, or that its checkpoints can be walked over.

    Raises:
        PtauditError: what is wrong.
    """
    seed = session.spec.train.all_seeds[0]
    model = session.model(seed)
    session.reader(model)
    trajectory(session, model, seed).prove()


def trajectory(session: Session, model: nn.Module, seed: int) -> Replay | Walk:
    """Where the weights of the epochs come from: training, or checkpoints."""
    spec = session.spec
    late = any(game.needs_earlier_weights for game in spec.audit.games)
    if spec.replay is None:
        where, augment = session.device, session.augment
        parts = (session.split, spec.train, session.loss, seed, where, augment)
        return Replay(model, session.records, *parts, keep_before=late)
    saved, state = spec.replay.saved, spec.replay.state
    whole = (session.records, session.split, saved, session.loss, session.device)
    return Walk(model, *whole, key=state, keep_before=late)


def run_seeds(session: Session, place: Workplace, progress: Progress, keep_records: bool = False) -> list[SeedRun]:
    """Go through the epochs of every seed in turn, from where they were left, and audit on the way; until one diverges.

    Args:
        session: what is audited.
        place: where the run lives.
        progress: where to report.
        keep_records: whether to keep scores of single records.
    """
    found = list[SeedRun]()
    for seed in session.spec.train.all_seeds:
        one, diverged = go_through(session, seed, place, progress, keep_records)
        found.append(one.ended(diverged))
        if diverged:
            break
    return found


def go_through(
    session: Session, seed: int, place: Workplace, progress: Progress, keep_records: bool
) -> tuple[SeedUnderWay, TrainingDivergedError | None]:
    """Go through the epochs of a seed, from where it was left, and audit on the way; how it diverged, if it did.

    All that is found is kept in the seed's folder, from where the same call takes it up without training again.
    """
    spec, one = session.spec, SeedUnderWay.begun(session, seed, place.of_seed(seed), progress, keep_records)
    with progress.task(_title(session, seed), _ticks_left(session, one.saved)) as task:
        ticker = _ticker(task, spec.last_epoch, one.live)
        epochs = one.trajectory.snapshots(spec.audited_epochs, checkpoint=one.store, progress=ticker, watch=one.live)
        try:
            for snapshot in epochs:
                one.audit(snapshot)
                place.confirm()
                one.keep(snapshot)
        except TrainingDivergedError as error:
            return one, error
        finally:
            if one.live is not None and one.live.passes:
                progress.log(one.live.summary())
    return one, None


@dataclass(frozen=True)
class SeedUnderWay:
    """The training of one seed: its epochs, who audits them, and what is kept of both.

    Attributes:
        saved: what an earlier process left of it.
        seconds: tells those of the training so far.
    """

    seed: int
    trajectory: Replay | Walk
    audit: EpochAudit
    kept: EpochStore
    store: CheckpointStore
    saved: Checkpoint | None
    live: LiveWatch | None
    seconds: Callable[[], float]

    @classmethod
    def begun(cls, session: Session, seed: int, state: Path, progress: Progress, keep_records: bool) -> SeedUnderWay:
        """With a model as the seed builds it, and all that the folder has of audited epochs."""
        spec = session.spec
        model = session.model(seed)
        reader = session.reader(model)
        kept, store = EpochStore(state), CheckpointStore(state, key(session, dump(spec)))
        samples = Samples(state, session) if keep_records else None
        audit = EpochAudit(session, reader, progress, encoders(session, progress), samples)
        epochs, saved = trajectory(session, model, seed), store.latest()
        done = [epoch for epoch in spec.audited_epochs if saved and epoch <= saved.stats[-1].epoch]
        seconds = _training_clock(audit.seconds, kept.load(done, audit))
        live = _live(session, model, reader, state / LIVE, saved)
        return cls(seed, epochs, audit, kept, store, saved, live, seconds)

    def keep(self, snapshot: EpochSnapshot) -> None:
        """Keep what was found at an epoch, and say it in a line."""
        self.kept.save(snapshot.epoch, self.audit, self.seconds())
        several = len(self.audit.session.spec.train.all_seeds) > 1
        rows = self.audit.rows[snapshot.epoch]
        self.audit.progress.log(_headline(snapshot, rows, self.seed if several else None))

    def ended(self, diverged: TrainingDivergedError | None) -> SeedRun:
        """What the audit found; seconds of training are told apart from its own."""
        audit, stats, training = self.audit, tuple(self.trajectory.stats), self.seconds()
        session, reader, learned, log = audit.session, audit.reader, audit.encoders, audit.progress.log
        shown = _captured(session, reader)
        subject = Subject(session, reader.source.model, audit.unreliable, learned=learned, shown=shown)
        single = [row for epoch in sorted(audit.rows) for row in audit.rows[epoch]]
        rows = compared(session, self.seed, [*single, *over_epochs(session.spec.games, single)])
        groups = [replace(entry, seed=self.seed) for epoch in sorted(audit.groups) for entry in audit.groups[epoch]]
        if alarm := _alarm(session, stats):
            log(f"warning: {alarm}")
        return SeedRun(
            rows=rows,
            stats=stats,
            layers=layer_entries(reader.layers),
            warnings=of_tables(subject),
            seconds={"training": training, **audit.seconds.plain()},
            diverged=diverged,
            encoders={} if learned is None else learned.files(),
            alarm=alarm,
            groups=compared_groups(groups, rows),
        )


def _training_clock(spent: Seconds, before: float) -> Callable[[], float]:
    """Tells the seconds of training: those before, and since now all but those of the audit."""
    began, then = time.perf_counter(), spent.audit
    return lambda: before + time.perf_counter() - began - (spent.audit - then)


def _alarm(session: Session, stats: Sequence[EpochStats]) -> str:
    if not stats:
        return ""
    n = min(MOST_MEMBERS, len(session.split.members))
    return worse_than_a_guess(session, stats[-1].train_accuracy, stats[-1].epoch, n)


def _captured(session: Session, reader: TokenReader) -> dict[str, list[str]]:
    """Names of the captured layers of each view."""
    names = [i.name for i in reader.layers if i.capture != "none" and audited(session.spec, i.name)]
    return {view.name: [name for name in names if shared(view, name)] for view in session.views}


def encoders(session: Session, progress: Progress) -> Encoders | None:
    """Learned encoders, if the spec wants them."""
    audit = session.spec.audit
    if audit.tokens.encoder == "sketch":
        return None
    return Encoders(audit.tokens.encoder, len(session.members), audit.seed, progress)


def _title(session: Session, seed: int) -> str:
    if session.spec.replay is not None:
        return "checkpoints"
    return "training" if len(session.spec.train.all_seeds) == 1 else f"training, seed {seed}"


def _ticks_left(session: Session, saved: Checkpoint | None) -> int:
    """How often progress will be told: after every step, or every checkpoint."""
    spec = session.spec
    if spec.replay is not None:
        return len(spec.replay.saved) - (len(saved.stats) if saved else 0)
    first = saved.stats[-1].epoch if saved else 0
    return (spec.train.epochs - first) * steps_per_epoch(spec.train, len(session.split.members))


def _live(
    session: Session, model: nn.Module, reader: TokenReader, log: Path, saved: Checkpoint | None
) -> LiveWatch | None:
    """Who looks on while the seed is trained, if the spec wants it."""
    spec = session.spec
    if spec.audit.live is None:
        return None
    steps = steps_per_epoch(spec.train, len(session.split.members))
    return LiveWatch(
        model,
        spec.audit.live.budget,
        layers=spec.audit.layers,
        checked=reader.layers,
        seed=spec.audit.seed,
        epoch_of=lambda step: 1 + (step - 1) // steps,
        write=LiveLog(log, done=saved.stats[-1].step if saved else 0),
    )


def _ticker(task: Task, epochs: int, live: LiveWatch | None) -> Callable[[int, int, int], None]:
    def tick(epoch: int, batch: int, batches: int) -> None:
        seen = live.headline() if live is not None else ""
        task.advance(note=f"epoch {epoch}/{epochs}{'; ' if seen else ''}{seen}")

    return tick


def _headline(snapshot: EpochSnapshot, rows: Sequence[Row], seed: int | None) -> str:
    """One line for an audited epoch: how training stands and what leaks of all layers jointly."""
    stats = snapshot.stats
    first: dict[tuple[str, str], Row] = {}
    for row in primary_rows(Table.of(rows)):
        if row.layer == JOINT and row.metric == "bits":
            first.setdefault((row.game, row.view), row)
    leaks = [f"{game} on {view} {row.value:.2f}" for (game, view), row in first.items()]
    of_seed = f"seed {seed}, " if seed is not None else ""
    loss = f"loss {stats.train_loss:.3f}, held out {stats.held_out_loss:.3f}"
    loss += "" if stats.epsilon is None else f", epsilon {stats.epsilon:.3g}"
    return f"{of_seed}epoch {snapshot.epoch}: {loss}; bits: {', '.join(leaks) or 'none measured'}"
