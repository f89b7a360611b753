"""Rows of whole epochs on disk, so that a killed run ends with the tables it would have had."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from ptaudit.archives import open_npz
from ptaudit.auditing.epoch import EpochAudit
from ptaudit.context.epoch_context import RecordsAtEpoch
from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.gradients.layers import LayerInfo
from ptaudit.tables.row import COLUMNS, Row
from ptaudit.tables.run import GroupEntry


class EpochStore:
    """The audited epochs of one seed, one file each.

    Args:
        folder: where the files live; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, epoch: int, audit: EpochAudit, training: float) -> None:
        """Write what was found at an epoch, what was learned by then and the seconds spent so far, each file whole."""
        if audit.encoders is not None:
            audit.encoders.save(self.folder, epoch)
        if audit.samples is not None:
            audit.samples.save(epoch)
        rows = audit.rows[epoch]
        drawn = [i for i, row in enumerate(rows) if row.draws is not None]
        draws = np.array([rows[i].draws for i in drawn]).reshape(len(drawn), -1 if drawn else 0)
        text = json.dumps(
            {
                "rows": [[getattr(row, column) for column in COLUMNS] for row in rows],
                "groups": [astuple(entry) for entry in audit.groups[epoch]],
                "doubts": audit.unreliable[epoch],
                "layers": [asdict(layer) for layer in audit.reader.layers],
                "seconds": {**audit.seconds.plain(), "training": training},
            }
        )
        buffer = io.BytesIO()
        np.savez(
            buffer, text=np.array(text), draws=draws, drawn=np.array(drawn, dtype=np.int64), **vars(audit.course[epoch])
        )
        write_whole(self._path(epoch), buffer.getvalue())

    def load(self, epochs: Sequence[int], audit: EpochAudit) -> float:
        """Give an audit what was found at the epochs, which must all be there; returns the seconds of their training.

        Raises:
            RunFolderError: an epoch is missing or damaged.
        """
        if audit.samples is not None:
            audit.samples.confirm(epochs)
        seconds: dict[str, float] = {}
        for epoch in epochs:
            audit.rows[epoch], audit.groups[epoch], content = self._one(epoch)
            audit.course[epoch], audit.unreliable[epoch] = RecordsAtEpoch(**content["course"]), content["doubts"]
            seconds = content["seconds"]
            audit.reader.adopt([LayerInfo(**layer) for layer in content["layers"]])
        if audit.encoders is not None and epochs:
            audit.encoders.load(self.folder, epochs[-1])
        audit.seconds.take(seconds)
        return seconds.get("training", 0.0)

    def _one(self, epoch: int) -> tuple[tuple[Row, ...], tuple[GroupEntry, ...], dict[str, Any]]:
        path = self._path(epoch)
        try:
            with open_npz(path) as stored:
                content = json.loads(str(stored["text"]))
                draws = dict(zip(stored["drawn"].tolist(), stored["draws"]))
                content["course"] = {field.name: stored[field.name] for field in fields(RecordsAtEpoch)}
            rows = [dict(zip(COLUMNS, values, strict=True)) for values in content["rows"]]
            found = tuple(Row(**row, draws=draws.get(i)) for i, row in enumerate(rows))
            groups = tuple(GroupEntry(*values) for values in content["groups"])
            return found, groups, {name: content[name] for name in ("course", "doubts", "layers", "seconds")}
        except Exception as error:  # a damaged file can fail in any way
            raise RunFolderError(
                f"the rows of epoch {epoch} are missing or damaged",
                where=str(path),
                remedy="use --fresh to start again",
            ) from error

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:06d}.npz"
