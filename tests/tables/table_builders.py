"""Rows, runs and simulated tables for the tests of tables, gate and compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ptaudit.spec.catalog import LIMITS
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.table import Table


@dataclass(frozen=True)
class Gate:
    id: str = "leak"
    metric: str = "identity.bits"
    view: str = "batch-8"
    over: str = "layers"
    epoch: str | int = "last"
    adversary: str | None = None
    knows: str | None = None
    trained_with: str = "none"
    max: float | None = None
    max_share: float | None = None
    max_increase: float | None = None
    needs: str | None = None
    same_weights: bool = False

    @property
    def kind(self) -> str:
        return next(kind for kind in LIMITS if getattr(self, kind) is not None)

    @property
    def limit(self) -> float:
        return getattr(self, self.kind)

    @property
    def game(self) -> str:
        return self.metric.partition(".")[0]

    @property
    def measure(self) -> str:
        return self.metric.partition(".")[2]


def make_row(layer: str = "fc", value: float = 1.0, half: float = 0.1, **columns: object) -> Row:
    index = {"*": -1, "conv1": 0, "conv2": 1, "fc": 2}.get(layer, 3)
    cells = {
        "epoch": 4,
        "step": 40,
        "layer_index": index,
        "layer_type": "Linear",
        "parameters": 10,
        "view": "batch-8",
        "game": "identity",
        "adversary": "likelihood-ratio",
        "knowledge": "adaptive",
        "knows": "none",
        "trained_with": "none",
        "metric": "bits",
        "lo": value - half,
        "hi": value + half,
        "null": 0.0,
        "ceiling": 8.0,
        "detectable": math.nan,
        "n": 100,
        "status": "ok",
    }
    return Row(layer=layer, value=value, **{**cells, **columns})


def lost_row(layer: str = "fc", status: str = "inconclusive: too few records", **columns: object) -> Row:
    nan = math.nan
    return make_row(layer, nan, nan, null=nan, status=status, **columns)


def make_run(rows, name: str = "run", seeds=(), spec_text: str = "", layers=(), epochs=(), **manifest: object) -> Run:
    tables = tuple(Table.of(list(table)) for table in seeds)
    manifest = {"split_sha256": "abc", "status": "complete", **manifest}
    return Run(name, Table.of(list(rows)), tuple(layers), tuple(epochs), manifest, {}, spec_text, (), tables)


def rows_of(per_record: np.ndarray, seed: int = 0, draws: int = 1000, **columns: object) -> tuple[Row, ...]:
    """Rows l0, l1, ... with intervals and draws, from per-record values (layers, n); clipped like an adaptive game."""
    estimates = from_matrix(per_record, null=0.0, ceiling=8.0, seed=seed, draws=draws)
    rows = []
    for k, e in enumerate(estimates):
        e = e.clipped(0.0, 8.0)
        numbers = {"lo": e.lo, "hi": e.hi, "n": e.n, "draws": e.draws, "layer_index": k}
        rows.append(make_row(f"l{k}", e.value, **{**numbers, **columns}))
    return tuple(rows)


def noise(shape: tuple[int, int], kind: str, generator: np.random.Generator) -> np.ndarray:
    """Unit-variance noise (layers, n), correlated over layers with coefficient 1/2."""

    def draw(size):
        if kind == "gaussian":
            return generator.standard_normal(size)
        if kind == "student-t3":
            return generator.standard_t(3, size) / math.sqrt(3)
        spread = math.sqrt((math.e - 1) * math.e)
        return (math.exp(0.5) - generator.lognormal(size=size)) / spread  # long tail on the left

    return math.sqrt(0.5) * (draw((1, shape[1])) + draw(shape))
