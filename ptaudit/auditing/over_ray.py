"""Trainings of one run side by side over a Ray cluster: its seeds, and those with each defense.

A worker goes through the epochs of one of them in a folder of its own, as this process would, and sends back the files
that a killed run leaves. Here they are found as when a run goes on, so that the tables are the same by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ptaudit.auditing import folder as places
from ptaudit.auditing.folder import Workplace
from ptaudit.auditing.recipe import SessionRecipe
from ptaudit.auditing.run_key import key
from ptaudit.auditing.seed import go_through
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.files import write_whole
from ptaudit.progress import Progress, Silent
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.load import dump
from ptaudit.spec.model import Spec
from ptaudit.training.checkpoint import CheckpointStore
from ptaudit.training.cluster import Cluster, Job, Recipe, check_cluster, made_alike, need_ray

_REMEDY = "more memory on its machines, or fewer trainings there at once (OMP_NUM_THREADS) may help"


@dataclass(frozen=True)
class Training:
    """The training of one seed.

    Attributes:
        seed: its seed.
        part: the folder of its seeds in that of the run.
        files: what is there of it, by path in the seed's folder.
        keep_records: whether scores of single records are kept.
    """

    seed: int
    part: str
    files: Mapping[str, bytes]
    keep_records: bool


def goes_over_ray(spec: Spec, address: str | None) -> bool:
    """Whether the trainings of a run are done over Ray: several, and the spec or the address says so."""
    asked = address is not None or (spec.fleet is not None and spec.fleet.engine == "ray")
    return asked and len(spec.train.all_seeds) * (1 + len(spec.defenses)) > 1


def check_engine(spec: Spec, address: str | None = None) -> None:
    """Find what the spec is trained on, before anything else is done.

    Raises:
        PtauditError: Ray is not installed, or no cluster answers at the address.
        SpecError: an address, and nothing that is done there.
    """
    on_ray = (spec.fleet is not None and spec.fleet.engine == "ray") or goes_over_ray(spec, address)
    if on_ray:
        need_ray()
    if address is not None and not on_ray:
        raise SpecError(
            "nothing in this spec is done on a Ray cluster",
            where="--address",
            remedy="several `train.seeds` or `defenses` are, and the reference models of `fleet: {engine: ray}`",
        )
    if address is not None:
        check_cluster(address)


def cluster_of(session: Session, progress: Progress, address: str | None) -> Cluster:
    """Where trainings are done: at an address, or by a Ray of this machine."""
    return Cluster(address, session.device, progress, _REMEDY)


def train_over_ray(
    session: Session,
    defended: Sequence[tuple[DefenseSpec, Session]],
    place: Workplace,
    cluster: Cluster,
    keep_records: bool,
) -> None:
    """Train and audit all that is not whole yet, and leave it where `run_seeds` goes on from.

    Args:
        session: of the run.
        defended: every defense and its session.
        place: where the run lives.
        cluster: where trainings are done.
        keep_records: whether scores of single records are kept, but with no defense.

    Raises:
        ClusterError: machines of the cluster failed.
        PtauditError: a training failed.
    """
    own = SessionRecipe.of(session)
    every = [(own, session), *((replace(own, defense=defense.title), mine) for defense, mine in defended)]
    jobs = [job for recipe, mine in every for job in _jobs(recipe, mine, place, keep_records)]
    if not jobs:
        return
    with cluster.progress.task("trainings over Ray", len(jobs)) as task, closing(cluster.done(_train, jobs)) as done:
        for job, (files, lines) in done:
            place.confirm()
            training = job.arguments[-1]
            assert isinstance(training, Training)
            _put(files, replace(place, part=training.part).of_seed(training.seed))
            for line in lines:
                cluster.progress.log(line)
            task.advance(1, job.name)


def _jobs(recipe: SessionRecipe, session: Session, place: Workplace, keep_records: bool) -> Iterator[Job]:
    """One for every seed that is not whole."""
    own, depends = replace(place, part=recipe.part), key(session, dump(session.spec))
    what, kept = (recipe, depends, torch.get_num_threads(), session.reference), keep_records and not recipe.defense
    for seed in session.spec.train.all_seeds:
        folder = own.of_seed(seed)
        saved = CheckpointStore(folder, depends).latest()
        if saved is None or saved.stats[-1].epoch < session.spec.last_epoch:
            name = f"seed {seed}" + (f" with {recipe.defense}" if recipe.defense else "")
            yield Job(name, (*what, Training(seed, recipe.part, _files(folder), kept)))


def _train(
    recipe: Recipe[Session],
    depends: Mapping[str, str],
    threads: int,
    reference: ReferenceModels | None,
    training: Training,
) -> tuple[dict[str, bytes], list[str]]:
    """What a worker does; the files of the seed, and what was said on the way. One that diverges leaves the epochs
    before it, from which it diverges again where it is taken up."""
    session, said = replace(made_alike(recipe, depends, threads), reference=reference), _Said()
    with (
        TemporaryDirectory(prefix="ptaudit-", ignore_cleanup_errors=True) as folder,
        places.working(Path(folder) / "run", fresh=True) as place,
    ):
        own = place.of_seed(training.seed)
        _put(training.files, own)
        go_through(session, training.seed, place, said, training.keep_records)
        return _files(own), said.lines


class _Said(Silent):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def _files(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _put(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, each whole, the checkpoint last: it says what else is there."""
    for name in sorted(files, key=lambda name: name == CheckpointStore.FILE):
        write_whole(folder / name, files[name])
