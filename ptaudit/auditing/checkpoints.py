"""The checkpoints of a replay and their epochs, for `check`."""

from __future__ import annotations

from pathlib import Path

from ptaudit.report.columns import CheckpointEntry
from ptaudit.spec.checkpoint_labels import CheckpointLabel
from ptaudit.spec.model import Spec


def checkpoint_entries(spec: Spec) -> tuple[CheckpointEntry, ...]:
    """All files that are walked over, by epoch; none where the spec trains."""
    if spec.replay is None:
        return ()
    labels = spec.replay.numbering.labels
    return tuple(
        CheckpointEntry(epoch, "/".join(Path(path).parts[-2:]), _words(labels.get(epoch)), epoch in spec.audited_epochs)
        for epoch, path in spec.replay.saved.items()
    )


def _words(label: CheckpointLabel | None) -> str:
    if label is None:
        return ""
    step = "" if label.step is None else f", step {label.step}"
    return f"epoch {label.epoch:g}{step}{f' ({label.tool})' if label.tool else ''}"
