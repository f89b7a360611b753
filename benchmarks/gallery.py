"""Runs the ready specs on real data, and puts specs and terminal pages into docs/gallery.md.

    python benchmarks/gallery.py                     # all five, about six minutes
    python benchmarks/gallery.py adult location30    # some
    python benchmarks/gallery.py --quick             # one epoch of each, few records; leaves the page as it is

`--json FILE` writes a list of rows `{name, seconds, training, capture, games, exit_code, bits, auc}`: seconds in all
and by phase, identity bits of all layers jointly by view, and the best membership AUC, both at the last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page import fill

import ptaudit
from ptaudit.cli.progress import open_progress
from ptaudit.report import Page, open_format
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
NAMES = ("fashion-mnist", "cifar10-4k", "adult", "diabetes130", "location30")
QUICK = ("train.epochs=1", "audit.epochs=[1]", "audit.records=400", "audit.games=[identity, membership]")
VIEWS = ("batch-8", "batch-32", "dp")
WIDTH = 100


def main() -> int:
    """Run what was asked for; the exit code is 2 where there are no data."""
    options = _options()
    if not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    os.environ["PTAUDIT_DATA"] = str(options.data.resolve())
    rows = [_run(name, options.runs, options.quick) for name in options.names or NAMES]
    if not options.quick:
        there = [options.runs / name for name in NAMES if (options.runs / name).is_dir()]
        fill(PAGE, "overview", _overview([read_run(folder) for folder in there]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the ready specs on real data and fill docs/gallery.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without any")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PTAUDIT_DATA", ROOT / "data")))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no ready spec {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    return options


def _run(name: str, runs: Path, quick: bool) -> dict[str, Any]:
    """Audit one spec; its pages go into the gallery unless this is the quick version."""
    spec, began = ROOT / "configs" / f"{name}.yaml", time.perf_counter()
    with open_progress() as progress:
        result = ptaudit.audit(spec, out=runs / name, fresh=True, overrides=QUICK if quick else (), progress=progress)
    seconds = time.perf_counter() - began
    if not quick:
        fill(PAGE, f"spec:{name}", _fenced("yaml", spec.read_text(encoding="utf-8")))
        page = open_format("rich").render(result.run, Page(folder=f"runs/{name}", width=WIDTH))
        fill(PAGE, f"output:{name}", _fenced("text", page))
    last = result.leakage[result.leakage.epoch == result.leakage.epoch.max()]
    joint = last[(last.layer == JOINT) & last.metric.isin(["bits", "auc"])]
    bits = joint[(joint.game == "identity") & (joint.metric == "bits")]
    auc = joint[(joint.game == "membership") & (joint.metric == "auc")]
    return {
        "name": name,
        "seconds": round(seconds, 1),
        **{phase: round(spent, 1) for phase, spent in result.run.timings.items()},
        "exit_code": result.exit_code,
        "bits": {row.view: [row.value, row.lo, row.hi] for row in bits.itertuples() if row.value == row.value},
        "auc": float(auc.value.max()),
    }


def _overview(runs: Sequence[Run]) -> str:
    """A Markdown table: a row for each data set, first and last epoch of the joint rows."""
    lines = ["| | " + " | ".join([*VIEWS, "membership AUC"]) + " |", "|---" * (len(VIEWS) + 2) + "|"]
    for run in runs:
        epochs = sorted({row.epoch for row in run.rows})
        ends = [[row for row in run.rows if row.epoch == e and row.layer == JOINT] for e in (epochs[0], epochs[-1])]
        cells = [" → ".join(f"{_value(rows, 'bits', view):.2f}" for rows in ends) for view in VIEWS]
        cells.append(" → ".join(f"{_value(rows, 'auc', 'model'):.3f}" for rows in ends))
        lines.append(f"| {run.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _value(rows: Sequence[Row], metric: str, view: str) -> float:
    """Of the best adversary."""
    game = "membership" if view == "model" else "identity"
    return max(r.value for r in rows if (r.game, r.metric, r.view) == (game, metric, view) and r.measured)


def _fenced(language: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"```{language}\n{lines}\n```"


if __name__ == "__main__":
    sys.exit(main())
