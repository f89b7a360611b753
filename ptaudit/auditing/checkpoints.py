"""The checkpoints of a replay and their epochs, for `check`."""

from __future__ import annotations

from pathlib import Path

from ptaudit.report.columns import CheckpointEntry
from ptaudit.spec.model import Spec
from ptaudit.spec.told import Told


def checkpoint_entries(spec: Spec) -> tuple[CheckpointEntry, ...]:
    """All files that are walked over, by epoch; none where the spec trains."""
    if spec.replay is None:
        return ()
    told = spec.replay.numbering.told
    return tuple(
        CheckpointEntry(epoch, "/".join(Path(path).parts[-2:]), _words(told.get(epoch)), epoch in spec.audited_epochs)
        for epoch, path in spec.replay.saved.items()
    )


def _words(told: Told | None) -> str:
    if told is None:
        return ""
    step = "" if told.step is None else f", step {told.step}"
    return f"epoch {told.epoch:g}{step}{f' ({told.tool})' if told.tool else ''}"
