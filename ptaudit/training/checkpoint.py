"""Whole epochs on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ptaudit.archives import check_regular, check_sizes
from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.training.epoch_snapshot import EpochStats

_REMEDY = "use --fresh to start again"
_NAMED = 4


@dataclass(frozen=True)
class Checkpoint:
    """The state after a whole epoch: everything the next epoch depends on.

    Attributes:
        model: state dict of the model.
        optimizer: state dict of the optimizer.
        stats: the statistics of all epochs so far; the last one names the epoch.
        extra: what the way of stepping keeps besides, such as the scale of the loss in fp16.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    stats: tuple[EpochStats, ...]
    extra: dict[str, Any] = field(default_factory=dict)


class CheckpointStore:
    """Keeps the latest whole epoch of one training run in one file.

    Args:
        folder: where the file lives; made when first needed. One folder per training seed.
        key: what the checkpoint depends on (hashes of spec, code, data, versions). A checkpoint with another key is
            refused, never mixed in.
    """

    FILE = "checkpoint.pt"

    def __init__(self, folder: Path, key: Mapping[str, str]) -> None:
        self.path = folder / self.FILE
        self.key = {name: str(value) for name, value in key.items()}

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint beside its name and rename it when whole.

        Raises:
            RunFolderError: it cannot be written; the one before it is as it was.
        """
        content = {
            "key": self.key,
            "model": checkpoint.model,
            "optimizer": checkpoint.optimizer,
            "stats": [asdict(stats) for stats in checkpoint.stats],
            "extra": checkpoint.extra,
        }
        # Through memory: `torch.save` would turn a full disk, or Ctrl-C, into an error about its own archive.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_whole(self.path, buffer.getbuffer())

    def latest(self) -> Checkpoint | None:
        """The last whole epoch, on the CPU; None when there is none.

        Raises:
            RunFolderError: the file is damaged, or belongs to a run with another key.
        """
        if not self.path.exists():
            return None
        try:
            content = load_archive(self.path)
            key = dict(content["key"])
            stats = tuple(EpochStats(**entry) for entry in content["stats"])
            checkpoint = Checkpoint(content["model"], content["optimizer"], stats, content["extra"])
        except Exception as error:  # a damaged file can fail in any way
            raise RunFolderError(
                f"the checkpoint is damaged ({type(error).__name__})", where=str(self.path), remedy=_REMEDY
            ) from error
        self._check_key(key)
        return checkpoint

    def _check_key(self, found: dict[str, str]) -> None:
        changes = difference(found, self.key)
        if changes:
            raise RunFolderError(
                f"the checkpoint belongs to another run: {changes}", where=str(self.path), remedy=_REMEDY
            )


def load_archive(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU, without running code in it, and its check sums compared.

    Raises:
        Exception: of any kind, where the file is damaged.
    """
    check_regular(path)
    if zipfile.is_zipfile(path):  # older files are none
        with zipfile.ZipFile(path) as archive:
            check_sizes(archive, path)
            summed = any(member.CRC for member in archive.infolist())  # torch can leave the sums out
            if summed and (bad := archive.testzip()):
                raise ValueError(f"check sum of {bad}")
    return torch.load(path, map_location="cpu", weights_only=True)


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """In words, where two keys differ; empty where they do not."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    named = [f"{name} was {before.get(name)}, is now {after.get(name)}" for name in names[:_NAMED]]
    return ", ".join([*named, f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else named)
