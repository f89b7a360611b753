"""Every estimator of mutual information on tasks whose answer is known, beside scikit-learn's.

    python benchmarks/mi.py --json mi.json       # about 25 minutes on two cores; fills docs/mutual-information.md
    python benchmarks/mi.py --json mi.json --resume   # goes on where a killed run stopped
    python benchmarks/mi.py --quick              # under a minute, few tasks, n = 500: only to see that it runs

The tasks are those of `mi_samplers.py`; joint critics, which cost most, play some of each family. n pairs are given,
one a record, and parted 60/20/20 as in `ptaudit.estimate.mutual_information`. Tasks of the same dimensions are measured
as one batch, in one thread; the CPU seconds of a task are its share of the batch. "mine in-sample" is what is reported
where MINE is read on the pairs that it was trained on: the matched minus mismatched number that stands beside its
honest one. scikit-learn's are `mutual_info_regression` and `mutual_info_classif` with 3 neighbours, for one coordinate
on each side, without interval.

`--json FILE` writes a list of rows, as they come: {task, dims, truth_bits, n, estimator, critic, seed, value, lo, hi,
null, ceiling, status, error_bits, covered, seconds}; null where there is no number, critic is "" for those without.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mi_samplers import TASKS, Sampler  # noqa: E402
from mi_tables import PEER, RAW, page  # noqa: E402
from page import fill  # noqa: E402

from ptaudit.estimate import random_parts  # noqa: E402
from ptaudit.estimators.base import Pairs  # noqa: E402
from ptaudit.estimators.registry import ESTIMATORS  # noqa: E402
from ptaudit.stats.estimate import Estimate  # noqa: E402

PAGE = ROOT / "docs" / "mutual-information.md"
SIZES = (500, 2_000, 10_000)
SEEDS = {500: 5, 2_000: 3, 10_000: 2}
"""Repetitions of the estimators without a critic."""

BY_NAME = {task.name: task for task in TASKS}
JOINT_TASKS = (
    "normal-1x1",
    "normal-dense-5x5",
    "normal-sparse-25x25",
    "student-1-1x1",
    "student-2-2x2",
    "asinh-student-2-3x3",
    "noise-0.1-1x1",
    "swiss-roll-2x1",
    "spiral-3x3",
    "mixture-cross-1x1",
    "mixture-turned-2x2",
    "classes-8-5d",
    "classes-steps-1d",
    "independent-normal-1x1",
    "independent-student-2x2",
)
QUICK_TASKS = ("normal-1x1", "student-1-1x1", "classes-steps-1d", "independent-normal-1x1")
Row = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """Tasks of the same dimensions, measured at once by one estimator."""

    estimator: str
    critic: str
    n: int
    seed: int
    tasks: tuple[str, ...]

    def missing(self, rows: Sequence[Row]) -> bool:
        """Whether any of its rows is not there yet."""
        there = {(r["task"], r["n"], r["estimator"], r["critic"], r["seed"]) for r in rows}
        return any((task, self.n, self.estimator, self.critic, self.seed) not in there for task in self.tasks)


def main() -> int:
    """Measure, and print the page."""
    options, began = _options(), time.perf_counter()
    tasks = [task for task in TASKS if task.name in options.tasks]
    sizes = (500,) if options.quick else options.n
    rows: list[Row] = json.loads(options.json.read_text(encoding="utf-8")) if options.resume else []
    units = [unit for unit in _units(tasks, sizes, options) if unit.missing(rows)]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    os.environ["OMP_NUM_THREADS"] = "1"  # in the processes that are begun now
    pool = get_context("spawn").Pool(options.workers)
    with pool, Progress(*columns, console=Console(stderr=True)) as progress:
        for measured in progress.track(pool.imap(_rows, units), total=len(units), description="measuring"):
            rows += measured
            if options.json:
                _write(options.json, rows)
    minutes = (time.perf_counter() - began) / 60
    text = f"{_machine()}; {options.workers} processes, {minutes:.1f} minutes\n\n{page(rows, tasks)}"
    print(text)
    if not options.quick and len(tasks) == len(TASKS) and set(sizes) == set(SIZES):
        fill(PAGE, "results", text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimators of mutual information on tasks with known answers.")
    parser.add_argument("--quick", action="store_true", help="few tasks, n = 500, under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, as they come")
    parser.add_argument("--resume", action="store_true", help="keep the rows that FILE has and measure the others")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES, help="pairs; default 500 2000 10000")
    names = [task.name for task in TASKS]
    parser.add_argument("--tasks", nargs="+", choices=names, metavar="TASK", help=f"of {', '.join(names)}")
    parser.add_argument("--estimators", nargs="+", default=[*ESTIMATORS, PEER], choices=[*ESTIMATORS, PEER])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; default 2")
    options = parser.parse_args()
    if options.resume and not (options.json and options.json.is_file()):
        parser.error("--resume needs --json FILE with the rows of the run before")
    options.tasks = options.tasks or (QUICK_TASKS if options.quick else names)
    return options


def _units(tasks: Sequence[Sampler], sizes: Sequence[int], options: argparse.Namespace) -> Iterator[Unit]:
    """From small to large, so that a killed run leaves whole tables."""
    for n in sizes:
        for estimator in options.estimators:
            taken = ESTIMATORS[estimator].options if estimator in ESTIMATORS else {}
            kinds = taken["critic"].words if "critic" in taken else ("",)
            for critic in kinds:
                for seed in range(1 if critic or options.quick else SEEDS.get(n, 1)):
                    played = [task for task in tasks if _plays(estimator, critic, task)]
                    for _, group in groupby(sorted(played, key=_dims), key=_dims):
                        yield Unit(estimator, critic, n, seed, tuple(task.name for task in group))


def _plays(estimator: str, critic: str, task: Sampler) -> bool:
    if estimator == PEER:
        return task.dims in ("1x1", "1xclasses")
    return critic != "joint" or task.name in JOINT_TASKS


def _dims(task: Sampler) -> str:
    return task.dims


# Measuring


def _rows(unit: Unit) -> list[Row]:
    tasks = [BY_NAME[name] for name in unit.tasks]
    draws = [_draw(task, unit.n, unit.seed) for task in tasks]
    if unit.estimator == PEER:
        return [_peer(unit, task, *draw) for task, draw in zip(tasks, draws, strict=True)]
    x, y = (torch.from_numpy(np.stack(side)) for side in zip(*draws, strict=True))
    pairs = Pairs(x, y, torch.arange(unit.n), random_parts(unit.n, unit.seed))
    options = {"critic": unit.critic} if unit.critic else {}
    began = time.process_time()
    found = ESTIMATORS[unit.estimator](pairs, unit.seed, **options)
    seconds = (time.process_time() - began) / len(found)
    rows = []
    for task, measured in zip(tasks, found, strict=True):
        rows.append(_row(unit, task, measured.bits, seconds))
        if unit.estimator == "mine":
            in_sample = _row(unit, task, measured.matched_minus_mismatched, seconds)
            rows.append(in_sample | {"estimator": "mine in-sample"})
    if unit.estimator == "ksg" and _plays(PEER, "", tasks[0]):
        raw = ESTIMATORS["ksg"](pairs, unit.seed, margins="raw")
        rows += [_row(unit, task, one.bits, seconds) | {"estimator": RAW} for task, one in zip(tasks, raw, strict=True)]
    return rows


def _draw(task: Sampler, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs for every estimator."""
    return task.sample(n, np.random.default_rng([seed, n, zlib.crc32(task.name.encode())]))


def _row(unit: Unit, task: Sampler, found: Estimate, seconds: float) -> Row:
    numbers = {key: getattr(found, key) for key in ("value", "lo", "hi", "null", "ceiling")}
    bounded = math.isfinite(found.lo) and math.isfinite(found.hi)
    return {
        "task": task.name,
        "dims": task.dims,
        "truth_bits": task.bits,
        "n": unit.n,
        "estimator": unit.estimator,
        "critic": unit.critic,
        "seed": unit.seed,
        **{key: number if math.isfinite(number) else None for key, number in numbers.items()},
        "status": found.status,
        "error_bits": found.value - task.bits if math.isfinite(found.value) else None,
        "covered": found.lo <= task.bits <= found.hi if bounded else None,
        "seconds": seconds,
    }


def _peer(unit: Unit, task: Sampler, x: np.ndarray, y: np.ndarray) -> Row:
    """scikit-learn's k-NN estimate of one coordinate."""
    measure = mutual_info_regression if task.dy else mutual_info_classif
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # counts look like a regression target to it
        nats = measure(x, y.ravel(), n_neighbors=3, random_state=unit.seed)[0]
    nan = math.nan
    found = Estimate(float(nats) / math.log(2), nan, nan, nan, nan, unit.n)
    return _row(unit, task, found, time.process_time() - began)


def _write(path: Path, rows: Sequence[Row]) -> None:
    """Beside its name first: a kill leaves the rows of the unit before."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def _machine() -> str:
    import scipy
    import sklearn

    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    versions = f"torch {torch.__version__}, scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"
    return f"{cpu}; Python {platform.python_version()}, {versions}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
