"""The page of `ptaudit check`: what would be captured, how, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptaudit.report.columns import (
    CheckpointEntry,
    ColumnEntry,
    FrozenEntry,
    class_fact,
    columns_grid,
    files_grid,
    frozen_fact,
)
from ptaudit.report.document import Cell, Column, Document, Drawn, Facts, Grid, Lines, Tone, drop_blank_columns, grid_of
from ptaudit.report.limits import GateLimit, LimitEntry, limits_block
from ptaudit.report.words import count, duration, percent, plural, size
from ptaudit.tables.run import LayerEntry


@dataclass(frozen=True)
class CheckReport:
    """What a check found out: times in seconds, memory in bytes, members and the like in records.

    `memory_bytes` is the peak, of which `gradient_bytes` hold the gradients that games keep.
    """

    spec_name: str
    device: str
    layers: tuple[LayerEntry, ...]
    parameters: int
    captured_parameters: int
    members: int
    audited: int
    held_out: int
    step_seconds: float
    estimate_seconds: Mapping[str, float]
    memory_bytes: int
    gradient_bytes: int
    limits: tuple[LimitEntry, ...]
    gate_limits: tuple[GateLimit, ...]
    warnings: tuple[str, ...]
    columns: tuple[ColumnEntry, ...]
    class_names: tuple[str, ...]
    frozen: tuple[FrozenEntry, ...]
    checkpoints: tuple[CheckpointEntry, ...]


_CAPTURE_TONE: dict[str, Tone] = {"rule": "good", "none": "bad"}


def check_page(report: CheckReport) -> Document:
    """Columns and checkpoints where there are some, all layers, the estimate, what can be shown, and the warnings."""
    return Document(
        f"ptaudit check {report.spec_name}",
        (
            columns_grid(report.columns),
            files_grid(report.checkpoints),
            layers_grid(report.layers),
            Facts("facts", _facts(report)),
            limits_block(report.limits, report.gate_limits),
            Lines("warning", "Warnings", tuple(Cell(text, "warn") for text in report.warnings), bullets=True),
        ),
    )


def layers_grid(layers: Sequence[LayerEntry]) -> Grid:
    """How each layer is captured, and why not."""
    columns: tuple[Drawn[LayerEntry], ...] = (
        (Column("layer", elastic=28), lambda layer: Cell(layer.name, "strong")),
        (Column("type"), lambda layer: Cell(layer.type)),
        (Column("parameters", right=True), lambda layer: Cell(count(layer.parameters))),
        (Column("captured by"), _capture_cell),
        (Column("reason", elastic=20), lambda layer: Cell(layer.reason, "dim")),
    )
    return drop_blank_columns(grid_of("layer", "Layers", columns, layers))


def _capture_cell(layer: LayerEntry) -> Cell:
    text = "not captured" if layer.capture == "none" else layer.capture
    return Cell(text, _CAPTURE_TONE.get(layer.capture, "warn"))


def _facts(report: CheckReport) -> tuple[tuple[str, str], ...]:
    captured = percent(report.captured_parameters / report.parameters if report.parameters else None)
    phases = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in report.estimate_seconds.items())
    step = f", one training step {report.step_seconds * 1000:.1f} ms" if report.step_seconds else ""
    kept = report.gradient_bytes
    gradients = f", {size(kept)} of them gradients of {plural(report.audited, 'record')}" if kept else ""
    return (
        ("parameters", f"{count(report.captured_parameters)} of {count(report.parameters)} captured ({captured})"),
        *frozen_fact(report.frozen),
        (
            "records",
            f"{plural(report.members, 'member')}, {count(report.audited)} audited, {count(report.held_out)} held out",
        ),
        *class_fact(report.class_names),
        ("device", report.device + step),
        ("time", f"about {duration(sum(report.estimate_seconds.values()))} ({phases})"),
        ("memory", f"about {size(report.memory_bytes)} at the peak{gradients}"),
    )
