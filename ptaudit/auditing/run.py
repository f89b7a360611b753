"""`ptaudit run` and `ptaudit.audit`: replay the training of a spec, audit it, write the run folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ptaudit.auditing import folder as places
from ptaudit.auditing import samples, thresholds
from ptaudit.auditing.assemble import assemble, now
from ptaudit.auditing.defended_runs import run_defended, with_defenses
from ptaudit.auditing.folder import Workplace
from ptaudit.auditing.live import LIVE, publish
from ptaudit.auditing.opening import defended_sessions, open_session
from ptaudit.auditing.over_ray import check_engine, cluster_of, goes_over_ray, train_over_ray
from ptaudit.auditing.reference import with_reference_models
from ptaudit.auditing.run_key import key, settings, versions
from ptaudit.auditing.seed import SeedRun, prove, run_seeds
from ptaudit.context.session import Session
from ptaudit.data import preprocess
from ptaudit.errors import PtauditError, RunFolderError, SpecError, TrainingDivergedError
from ptaudit.files import write_whole
from ptaudit.gate import decide_each, exit_code
from ptaudit.progress import Progress, Silent
from ptaudit.report import Gates, Page, UndecidableError, open_format
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import Spec
from ptaudit.tables.folder import ENCODERS, SPEC, read_run, write_run
from ptaudit.tables.row import COLUMNS
from ptaudit.tables.run import Run
from ptaudit.tables.wide import Sheet, epochs_sheet, layer_epoch_sheet, layers_sheet
from ptaudit.training.checkpoint import difference
from ptaudit.training.device import pick_device

DEFAULT_FOLDER = Path("runs")
PREPROCESS = "preprocess.json"
_REPLACE = "--fresh to replace it, or another --out"


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
    address: str | None = None,
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
        address: of the Ray cluster that trains several `train.seeds` and `defenses` side by side, and reference models
            where `fleet.engine` is `ray`: `HOST:PORT`, or `auto` for the one that this machine is part of; default a
            Ray of this machine, where `fleet.engine` is `ray`, else none.

    Returns:
        The tables as DataFrames, the run folder and the exit code.

    Raises:
        PtauditError: anything the user can mend; nothing half-written is left. For a `TrainingDivergedError` the
            tables of the epochs before it have been written, and say so.
    """
    spec = load(spec_path, overrides)
    target = Path(out) if out is not None else DEFAULT_FOLDER / spec.name
    asked = _Asked(target, gate, inconclusive, progress or Silent(), address)
    chosen = pick_device(device)
    places.check(target, fresh=fresh, resume=resume)
    session = open_session(spec, chosen)
    scored = keep_records and _scores_records(session)
    if keep_records and not (scored or session.records.preprocessing):
        raise SpecError("no game here scores single records", where="--keep-records", remedy="add `uniqueness`")
    if resume and places.is_whole(target) and not places.is_begun(target):
        if scored:
            samples.find(target)
        return asked.result(*_as_it_ended(session, asked))
    # What can be wrong is found before the folder is touched.
    check_engine(spec, address)
    for one in (session, *defended_sessions(session)):
        prove(one)
    with places.working(target, fresh=fresh) as place:
        fixed = thresholds.fix(place.state, dump(session.spec), asked.started)
        session = with_reference_models(session, place.state, asked.progress, address=asked.address)
        defended: Iterable[tuple[DefenseSpec, Session]] = with_defenses(session, place, asked.progress, address)
        if goes_over_ray(spec, address):
            defended = list(defended)
            train_over_ray(session, defended, place, cluster_of(session, asked.progress, address), scored)
        seeds = run_seeds(session, place, asked.progress, scored)
        run, error = _concluded(session, seeds, defended, place, asked)
        run = replace(run, manifest={**run.manifest, "thresholds": fixed})
        place.confirm()
        _publish_states(session, seeds, place)
        if keep_records:
            _publish_records(session, run, len(seeds), place)
        page = Page(folder=str(target), kept=place.output if keep_records else None)
        write_run(run, place.output, {f"report.{name}": open_format(name).render(run, page) for name in ("md", "html")})
        place.publish()
    return asked.result(run, error)


@dataclass(frozen=True)
class _Asked:
    """What is asked of an audit beside its spec, see `audit`; and when."""

    target: Path
    gate: bool
    inconclusive: Literal["pass", "fail"] | None
    progress: Progress
    address: str | None = None
    started: str = field(default_factory=now)

    def result(self, run: Run, error: PtauditError | None) -> AuditResult:
        """The run, which has been written; or what was wrong with it all the same."""
        if error:
            raise error
        return AuditResult(run, self.target, exit_code(run.verdicts, self.inconclusive))

    def judged(self, run: Run, spec: Spec) -> tuple[Run, PtauditError | None]:
        """With what its gates decide; the error of a gate that matches no row, which must not cost the tables."""
        if not self.gate:
            return run, None
        verdicts, broken = decide_each([gate for gate in spec.gates if gate.max_increase is None], run)
        if broken:
            return run, UndecidableError(Gates.of(run, verdicts, broken), self.target, next(iter(broken.values())))
        return replace(run, verdicts=verdicts), None


def _concluded(
    session: Session,
    seeds: Sequence[SeedRun],
    defended: Iterable[tuple[DefenseSpec, Session]],
    place: Workplace,
    asked: _Asked,
) -> tuple[Run, PtauditError | None]:
    """The run of seeds with those under defenses and its gates; the error to end with, once it is written."""
    diverged, target = seeds[-1].diverged, asked.target
    if diverged is None:
        run = assemble(session, seeds, run_defended(defended, place, asked.progress), asked.started)
        for gate in session.spec.gates if asked.gate else ():
            if gate.max_increase is not None:
                asked.progress.log(f"gate {gate.id} needs a baseline: ptaudit gate {target} --baseline RUN")
        return asked.judged(run, session.spec)
    if not seeds[0].stats:
        raise diverged  # not even the model as it was built: there is nothing to keep
    if places.is_whole(target):
        raise _told(diverged, f"the run that was in {target} before is still there")
    return assemble(session, seeds, [], asked.started), _told(diverged, f"the epochs before it are in {target}")


def _publish_states(session: Session, seeds: Sequence[SeedRun], place: Workplace) -> None:
    """What was watched live, and learned encoders, beside the tables."""
    every = session.spec.train.all_seeds
    publish([(seed, place.of_seed(seed) / LIVE) for seed in every], place.output)
    for seed, done in zip(every, seeds):
        for name, content in done.encoders.items():
            write_whole(place.output / ENCODERS / f"seed-{seed}-{name}.safetensors", content)


def _publish_records(session: Session, run: Run, trained: int, place: Workplace) -> None:
    """Scores of single records of the seeds that were trained, and how columns became inputs, where there are such."""
    if _scores_records(session):
        every = session.spec.train.all_seeds[:trained]
        epochs = [np.unique(table.number("epoch")).tolist() for table in run.seeds or (run.rows,)]
        samples.publish([(seed, place.of_seed(seed), of) for seed, of in zip(every, epochs)], place.output)
    if session.records.preprocessing:
        write_whole(place.output / PREPROCESS, preprocess.written(session.records.preprocessing))


def _scores_records(session: Session) -> bool:
    return any(game.scores_records for game in session.spec.audit.games)


def _as_it_ended(session: Session, asked: _Asked) -> tuple[Run, PtauditError | None]:
    """Resuming a run that has ended: it ends as it did, if it is of this spec, code, data and versions."""
    target = asked.target
    run = read_run(target)
    _check_same(run, session, str(target))
    places.clear(target)
    asked.progress.log(f"{target}: this run is whole; nothing to resume")
    if str(run.manifest.get("status", "")).startswith("diverged"):
        remedy = "leave it out of replay.checkpoints" if session.spec.replay else "lower train.optimizer.lr"
        error = TrainingDivergedError(str(run.manifest["status"]), remedy=remedy)
        return run, _told(error, f"the epochs before it are in {target}")
    return (run, None) if run.verdicts else asked.judged(run, session.spec)


def _told(error: TrainingDivergedError, more: str) -> TrainingDivergedError:
    return TrainingDivergedError(f"{error.what}; {more}", where=error.where, remedy=error.remedy)


def _check_same(run: Run, session: Session, where: str) -> None:
    """Find the run to be one of this spec, code, data and versions.

    Raises:
        RunFolderError: it is another one; the differences are named.
    """
    try:
        before = settings(run.spec_text)
    except SpecError as error:
        raise RunFolderError(f"its {SPEC} is damaged", where=where, remedy=_REPLACE) from error
    text = dump(session.spec)
    if changes := difference(before, settings(text)):
        raise RunFolderError(f"holds a run of another spec: {changes}", where=where, remedy=_REPLACE)
    if changes := difference({**before, **_key_of(run.manifest)}, key(session, text)):
        raise RunFolderError(f"holds another run: {changes}", where=where, remedy=_REPLACE)


def _key_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The key of a run that ended, as far as its manifest tells it."""
    names = {"data": "data_sha256", "split": "split_sha256", "device": "device"}
    told = {name: str(manifest[entry]) for name, entry in names.items() if entry in manifest}
    if "device" in told:
        told["device"] = told["device"].partition(":")[0]
    code = {f"code of {path}": str(sha) for path, sha in dict(manifest.get("code_sha256", {})).items()}
    saved = {f"checkpoint of epoch {entry['epoch']}": str(entry["sha256"]) for entry in manifest.get("checkpoints", ())}
    built = {name: str(manifest[name]) for name in (*versions(), "opacus") if name in manifest}
    return {**told, **code, **saved, **built}


_ENDINGS = {0: "no gate failed", 1: "a gate failed", 3: "inconclusive"}


@dataclass(frozen=True, repr=False)
class AuditResult:
    """The outcome of an audit; the tables are those of the run folder.

    Attributes:
        run: everything the run folder holds.
        path: the run folder.
        exit_code: what the command would end with: 0, 1 a gate failed, 3 inconclusive.
    """

    run: Run
    path: Path
    exit_code: int

    def __repr__(self) -> str:
        ending = _ENDINGS.get(self.exit_code, f"exit code {self.exit_code}")
        return f"<AuditResult {self.run.name}: {len(self.run.rows)} rows in {self.path}, {ending}>"

    def __str__(self) -> str:
        """The summary that the command prints."""
        return open_format("rich").render(self.run, Page(folder=str(self.path)))

    @property
    def leakage(self) -> pd.DataFrame:
        """One row per number, columns as in `leakage.csv`."""
        return pd.DataFrame({name: self.run.rows.columns[name].tolist() for name in COLUMNS})

    @property
    def layers(self) -> pd.DataFrame:
        """First, last and largest value over the epochs, a row per layer, view, game, adversary and metric."""
        return _frame(layers_sheet(self.run))

    @property
    def epochs(self) -> pd.DataFrame:
        """The training, and the joint row and worst layer of each game and view, a row per epoch."""
        return _frame(epochs_sheet(self.run))

    @property
    def layer_epoch(self) -> pd.DataFrame:
        """The heat map: a column per epoch."""
        return _frame(layer_epoch_sheet(self.run))

    @property
    def gates(self) -> pd.DataFrame:
        """One row per verdict."""
        return pd.DataFrame([asdict(verdict) for verdict in self.run.verdicts])


def _frame(sheet: Sheet) -> pd.DataFrame:
    """The sheet as pandas would read its file: nothing measured is NaN."""
    frame = pd.DataFrame(list(sheet.rows), columns=list(sheet.columns))
    return frame.replace({"": math.nan}).infer_objects()
