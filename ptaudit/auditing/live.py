"""Leakage while the training runs: tokens of its own batches, as often as the budget allows.

What is looked at depends on how long things take, so `live.csv` differs from run to run; the training does not, to the
last bit, and neither do the tables of the audit.

The adversary sees sketches alone, and what it finds is where and when leakage changes rather than how much there is:
one with whole gradients finds more. Rows without noise that are below 90 % of their ceiling say so (`sketch-limited`).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from ptaudit.auditing.overhead_budget import OverheadBudget
from ptaudit.auditing.recent_tokens import Window
from ptaudit.errors import RunFolderError
from ptaudit.escape import from_csv
from ptaudit.files import write_whole
from ptaudit.games.identity.rolling import BATCH, rolling_bits
from ptaudit.gradients.layers import LayerInfo
from ptaudit.sketches.live import LiveReader
from ptaudit.spec.catalog import JOINT
from ptaudit.stats.estimate import Estimate, inconclusive, not_captured
from ptaudit.tables.formats import csv_text
from ptaudit.tables.status import limited_by_sketch
from ptaudit.views.joint import mixed
from ptaudit.views.records_needed import RECORDS_PER_MEMBER

LIVE = "live.csv"
COLUMNS = ("step", "epoch", "layer", "bits", "lo", "hi", "null", "ceiling", "n", "status", "overhead")
WINDOW = 256
"""Records whose tokens are kept: 32 for each record of a batch."""

MIXED = "inconclusive: BatchNorm in training mode mixes the records of a batch, so that tokens cannot be added up again"

_SHOWN = 3
_PLAY, _CAPTURE, _IN_VAIN = "play", "capture", "in vain"


class Which(Protocol):
    """Which records are in a batch; asked for only where the batch is captured."""

    def __len__(self) -> int: ...

    def tolist(self) -> list[int]:
        """A number for each record, the same whenever it comes."""


@dataclass(frozen=True)
class LiveRow:
    """Rolling leakage of a layer, or of all jointly, on the records seen last.

    Attributes:
        step: the optimizer step whose batch came last.
        epoch: the epoch of that step.
        layer: its name, `*` for all jointly.
        bits: of the identity game at batches of 8, with interval, null, ceiling, `n` target records and status.
        overhead: seconds spent on looking so far, as a share of the bare training's.
    """

    step: int
    epoch: int
    layer: str
    bits: Estimate
    overhead: float

    def cells(self) -> tuple[object, ...]:
        """In the order of `COLUMNS`."""
        e = self.bits
        return (self.step, self.epoch, self.layer, e.value, e.lo, e.hi, e.null, e.ceiling, e.n, e.status, self.overhead)


class LiveWatch:
    """Looks on while a model is trained; a `StepWatch` of the trainer.

    Every pass of the bare training adds to a budget; a pass is captured, and the game played on the window, when there
    is enough for it. The capture's own cost is measured: what a captured pass takes more than the bare ones around it.

    Args:
        model: the model, on its device.
        budget: share of the bare training's time that looking may take.
        layers: glob patterns, or `all`.
        checked: how the layers were found to be read, see `LiveReader`.
        seed: of sketches and games.
        epoch_of: the epoch of a step.
        write: given the rows of each round.

    Attributes:
        noise: standard deviation per coordinate of the noise that hides the sum of a batch, in units of the tokens.
        obstacle: why passes cannot be captured, in the words of a status; empty as long as they can.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: float,
        *,
        layers: Sequence[str] = "all",
        checked: Sequence[LayerInfo] | None = None,
        seed: int = 0,
        epoch_of: Callable[[int], int] = lambda step: 0,
        write: Callable[[Sequence[LiveRow]], None] = lambda rows: None,
    ) -> None:
        self._model, self._layers = model, layers
        self._seed, self._epoch_of, self._write = seed, epoch_of, write
        self.begin(checked)
        self.budget = OverheadBudget(budget)
        self.rows: tuple[LiveRow, ...] = ()
        self.passes, self.captures = 0, 0
        self.noise, self.obstacle = 0.0, ""
        self._device = next(model.parameters()).device
        self._said: str | None = None

    def begin(self, checked: Sequence[LayerInfo] | None) -> None:
        """Reads the layers as checked from here on, with an empty window; again when others are trained."""
        self.reader = LiveReader(self._model, seed=self._seed, layers=self._layers, checked=checked)
        self.window = Window(WINDOW)

    @contextmanager
    def __call__(self, step: int, index: Which, factor: float, look: bool | None = None) -> Iterator[None]:
        """See `StepWatch`; whether to look is decided here unless the caller has asked before (`wants`)."""
        self.passes += 1
        look = self.wants(len(index)) if look is None else look
        began = self._now()
        if not look:
            yield
            self.budget.earn(self._now() - began, len(index))
        else:
            try:
                with self.reader.capture(len(index), factor) as seen:
                    yield
            except BaseException:
                self.budget.pay(_IN_VAIN, self._now() - began)
                raise
            self.captures += 1
            if not seen.tokens.mixed:
                self.window.add(index.tolist(), seen.tokens)
            self.budget.pay_for_pass(_CAPTURE, self._now() - began, len(index))
        if self._wants_to_play():
            began = self._now()
            self._play(step)
            self.budget.pay(_PLAY, self._now() - began)

    def headline(self) -> str:
        """The worst few layers in bits, all jointly first; empty as long as nothing is known."""
        known = [row for row in self.rows if row.bits.conclusive]
        if not known:
            return f"leakage {self.rows[0].bits.status.partition(':')[0]}" if self.rows else ""
        ranked = sorted(known, key=lambda row: (row.layer != JOINT, -row.bits.value))
        worst = ", ".join(f"{row.layer} {row.bits.value:.1f}" for row in ranked[: 1 + _SHOWN])
        return f"bits: {worst} (of {known[0].bits.ceiling:.1f})"

    def summary(self) -> str:
        """One line at the end."""
        cost = f"{self.captures} of {self.passes} passes, overhead {self.budget.overhead:.1%}"
        return f"live: {cost}; {self.headline() or 'too few records to say what leaked'}"

    def wants(self, records: int) -> bool:
        """Whether to capture a pass of so many records.

        While the game is due, the budget is saved for it; what cannot be added up is not captured at all.
        """
        due = records > 0 and not self._mute() and not self._is_due()
        return due and bool(self.reader.sketched) and self.budget.affords(_CAPTURE)

    def _wants_to_play(self) -> bool:
        if reason := self._mute():
            return reason != self._said
        return self._is_due() and self.budget.affords(_PLAY)

    def _mute(self) -> str:
        if self.obstacle or self.reader.mixes:
            return self.obstacle or MIXED
        return "" if self.reader.sketched else "inconclusive: no layer can be captured in a training run"

    def _is_due(self) -> bool:
        """A quarter of the window is new, and it holds enough records for a game, or all that ever come."""
        enough = len(self.window) >= RECORDS_PER_MEMBER * BATCH or self.window.fresh >= WINDOW
        return enough and self.window.fresh >= WINDOW // 4

    def _play(self, step: int) -> None:
        reason = self._mute()
        self._said = reason or self._said
        if reason:
            lost = inconclusive(reason.partition(": ")[2])
            found = {JOINT: lost} | {info.name: lost for info in self.reader.layers}
        else:
            tokens = self.window.read()
            names = [JOINT, *(layer.name for layer in self.window.layers)]
            estimates = rolling_bits(torch.cat([mixed(tokens)[None], tokens]), seed=self._seed, noise=self.noise)
            if self.noise == 0.0:
                estimates = [limited_by_sketch(estimate) for estimate in estimates]
            found = dict(zip(names, estimates, strict=True))
            for info in self.reader.layers:
                if info.capture == "none" and not info.unused:
                    found[info.name] = not_captured(info.reason)
        epoch, overhead = self._epoch_of(step), self.budget.overhead
        self.rows = tuple(LiveRow(step, epoch, name, bits, overhead) for name, bits in found.items())
        self._write(self.rows)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class LiveLog:
    """The rows of one training run in a file that grows; a run that goes on goes on with it.

    Args:
        path: the file.
        done: steps that will not be repeated; later rows of a run that was interrupted are dropped.
    """

    def __init__(self, path: Path, done: int = 0) -> None:
        self.path = path
        kept = [row for row in _rows(path) if int(row[0]) <= done]
        write_whole(path, csv_text(COLUMNS, kept))

    def __call__(self, rows: Sequence[LiveRow]) -> None:
        """Adds rows.

        Raises:
            RunFolderError: the disk is full or the like.
        """
        text = csv_text(COLUMNS, (row.cells() for row in rows)).partition("\n")[2]
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            raise RunFolderError(f"cannot be written: {error.strerror or error}", where=str(self.path)) from error


def publish(parts: Sequence[tuple[int, Path]], target: Path) -> None:
    """Writes what the seeds have logged to `live.csv` in the run folder, with the seed in front; nothing if none did.

    Args:
        parts: seeds and their files.
        target: the run folder.
    """
    if any(path.is_file() for _, path in parts):
        rows = [(seed, *row) for seed, path in parts for row in _rows(path)]
        write_whole(target / LIVE, csv_text(("seed", *COLUMNS), rows))


def _rows(path: Path) -> list[list[str]]:
    """The whole lines of a log: a killed run may have left half of one."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = csv.reader(text[: text.rfind("\n") + 1].splitlines())
    return [[*map(from_csv, row)] for row in lines if len(row) == len(COLUMNS) and row[0].isdecimal()]
