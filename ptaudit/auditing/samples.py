"""Scores of single records, kept only when asked for: `samples.csv`.

A record goes by a hash with a key that is made from the data: who has the data can tell which one it is, nobody else.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ptaudit.context.session import Session
from ptaudit.errors import RunFolderError
from ptaudit.escape import from_csv
from ptaudit.files import write_whole
from ptaudit.tables.folder import REBUILT
from ptaudit.tables.formats import csv_text
from ptaudit.tables.samples import COLUMNS, SAMPLES

_OF_SEED = COLUMNS[1:]


class Samples:
    """Scores of the audited records of one seed, epoch by epoch.

    Args:
        folder: where they wait until the run is whole.
        session: what is audited.
    """

    def __init__(self, folder: Path, session: Session) -> None:
        self._folder = folder
        self._members, self._others = (
            [session.name_of(record) for record in side.tolist()] for side in (session.members, session.others)
        )
        self._rows: dict[int, list[tuple[object, ...]]] = {}

    def add(
        self, epoch: int, layer: str, game: str, metric: str, values: Tensor, members: Tensor | None = None
    ) -> None:
        """Keep one score of every audited member, `(N,)`, or of those at some places."""
        names = self._members if members is None else [self._members[place] for place in members.tolist()]
        self._add(names, epoch, (layer, game, metric), values)

    def add_held_out(self, epoch: int, layer: str, game: str, metric: str, values: Tensor) -> None:
        """Keep one score of every audited held-out record, `(N,)`."""
        self._add(self._others, epoch, (layer, game, metric), values)

    def _add(self, names: Sequence[str], epoch: int, what: tuple[str, str, str], values: Tensor) -> None:
        """But for those that are no number: such a record was not scored."""
        rows = self._rows.setdefault(epoch, [])
        scored = zip(names, values.tolist(), strict=True)
        rows += [(epoch, name, *what, value) for name, value in scored if not math.isnan(value)]

    def picture(self, epoch: int, name: str, png: bytes) -> None:
        """Keep a picture of records, at once; one that is there of a run that was killed is written again."""
        write_whole(self._folder / REBUILT / f"epoch-{epoch}-{name}.png", png)

    def confirm(self, epochs: Sequence[int]) -> None:
        """Find the scores of epochs that were audited before.

        Raises:
            RunFolderError: they were not kept.
        """
        for epoch in epochs:
            if not _path(self._folder, epoch).is_file():
                raise _not_kept(f"epoch {epoch}", self._folder)

    def save(self, epoch: int) -> None:
        """Write what there is of an epoch."""
        write_whole(_path(self._folder, epoch), csv_text(_OF_SEED, self._rows.pop(epoch, [])))


def publish(seeds: Sequence[tuple[int, Path, Sequence[int]]], target: Path) -> None:
    """Join the epochs of all seeds in `samples.csv` of the run folder, with the seed in front; and their pictures.

    Args:
        seeds: each with its folder, and its epochs: one that diverged has fewer.
        target: the run folder.

    Raises:
        RunFolderError: an epoch was audited without keeping its scores.
    """
    rows: list[list[str]] = []
    for seed, folder, epochs in seeds:
        for epoch in epochs:
            path = _path(folder, epoch)
            if not path.is_file():
                raise _not_kept(f"epoch {epoch}", target)
            with path.open(encoding="utf-8", newline="") as file:
                rows += [[str(seed), *map(from_csv, row)] for row in list(csv.reader(file))[1:]]
        for picture in sorted((folder / REBUILT).glob("*.png")):
            write_whole(target / REBUILT / f"seed-{seed}-{picture.name}", picture.read_bytes())
    write_whole(target / SAMPLES, csv_text(COLUMNS, rows))


def find(target: Path) -> None:
    """Find the scores in the folder of a run that has ended.

    Raises:
        RunFolderError: they were not kept.
    """
    if not (target / SAMPLES).is_file():
        raise _not_kept("single records", target)


def _not_kept(what: str, where: Path) -> RunFolderError:
    return RunFolderError(
        f"the scores of {what} were not kept",
        where=str(where),
        remedy="the run was started without --keep-records: start again with --fresh --keep-records",
    )


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"samples-{epoch:06d}.csv"
