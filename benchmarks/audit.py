"""What an audit costs beside bare training, and how the cost grows.

    PTAUDIT_DATA=FOLDER python benchmarks/audit.py            # about half an hour on two cores
    python benchmarks/audit.py --data FOLDER --quick          # under a minute, small sizes: only to see that it runs

FOLDER/fashion_mnist holds the four official .gz files of https://github.com/zalandoresearch/fashion-mnist.

The audit: 60,000 pictures (50,000 members), `sample_models/cnn.py:cnn`, batch 128, 5 epochs, every epoch audited and
the model before training, 1,024 records and as many held out, 3 views, 3 games. Bare training is the same trainer
without observers or checkpoints, before and after the audit, in one process with the same threads; ratios are to the
mean of both. `--only audit` and `--only growth` run one part.
The growth tables vary one thing at a time on a small network, each size in a process of its own.

`--json FILE` writes a list of rows of three kinds:
    {kind: "audit", phase, seconds, cpu_seconds, ratio}   phase in bare, training, capture, games, whole; ratio to bare,
        of CPU seconds in `cpu_ratio`; CPU seconds are null for the phases of the audit
    {kind: "growth", of, size, training, capture, games, peak_mib}   of in layers, records, epochs, views; seconds
    {kind: "exponent", of, exponent, peak_ratio}   slope of log(seconds of capture and games) in log(size): 1 is linear,
        less where a part of the cost is fixed; peak memory of the largest size over that of the smallest
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HOME = "https://github.com/zalandoresearch/fashion-mnist"
PHASES = ("training", "capture", "games")
Row = dict[str, Any]

SGD = {"name": "sgd", "lr": 0.02, "momentum": 0.9}
VIEWS = [
    {"name": "record", "batch_size": 1},
    {"name": "batch-32", "batch_size": 32},
    {"name": "dp", "batch_size": 32, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}},
]
GAMES = ["identity", "label", "membership"]

GROWTH = {"layers": (4, 8, 16), "records": (512, 1024, 2048), "epochs": (2, 4, 8), "views": (1, 2, 4)}
"""Sizes; epochs are the audited ones. Elsewhere the middle sizes of layers and records, 2 epochs and 1 view hold."""

QUICK_GROWTH = {"layers": (2, 4), "records": (128, 256), "views": (1, 2)}
"""Sizes that are held; only views are varied."""


def main() -> int:
    """Run both parts; the exit code is 2 where there are no data."""
    options = _options()
    if options.one:
        print(json.dumps(_in_this_process(json.loads(options.one))))
        return 0
    if not (options.data / "fashion_mnist").is_dir():
        print(f"{options.data / 'fashion_mnist'}: no data here; get the files from {HOME}, or --data", file=sys.stderr)
        return 2
    rows: list[Row] = []
    if options.only != "growth":
        rows += _audit(options.data, options.quick)
        _print_audit(rows)
    growth = {} if options.only == "audit" else {"views": QUICK_GROWTH["views"]} if options.quick else GROWTH
    for of, sizes in growth.items():
        grown = [_grown(options.data, of, size, options.quick) for size in sizes]
        rows += [*grown, _exponent(of, grown)]
        _print_growth(rows[-len(grown) - 1 :])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time an audit beside bare training.")
    data = Path(os.environ.get("PTAUDIT_DATA") or ROOT / "data")
    parser.add_argument("--data", type=Path, default=data, help="holds fashion_mnist/; default $PTAUDIT_DATA or data")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--only", choices=["audit", "growth"], help="one part")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


# The work: a spec, in a process of its own


def _spec(data: Path, model: Row, limit: int, held_out: float, train: Row, audit: Row) -> Row:
    source = {
        "source": f"{ROOT / 'sample_models' / 'fashion_mnist.py'}:records",
        "args": {"root": str((data / "fashion_mnist").resolve())},
        "held_out": held_out,
        "limit": limit,
    }
    fixed = {"optimizer": SGD, "loss": "cross_entropy", "seed": 0}
    return {"version": 1, "name": "cost", "model": model, "data": source, "train": train | fixed, "audit": audit}


def _apart(work: Row) -> Row:
    """Run a piece of work in a fresh process: its peak memory is its own."""
    done = subprocess.run([sys.executable, __file__, "--one", json.dumps(work)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_this_process(work: Row) -> Row:
    """Audit a spec, between two bare trainings if asked: seconds (wall, CPU) of each, phases and peak memory."""
    import yaml

    import ptaudit

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(yaml.safe_dump(work["spec"]), encoding="utf-8")
        bare = [_timed(lambda: _train(path))] if work["bare"] else []
        whole = _timed(lambda: ptaudit.audit(path, out=Path(folder) / "run", device="cpu", gate=False))
        if work["bare"]:
            bare.append(_timed(lambda: _train(path)))
        timings = json.loads((Path(folder) / "run" / "timings.json").read_text(encoding="utf-8"))
    return {"bare": bare, "whole": whole, "timings": timings, "peak_mib": _peak()}


def _timed(work: Any) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _train(path: Path) -> None:
    """The training of a spec, by the trainer of the audit, with nobody watching."""
    import torch

    from ptaudit import replay
    from ptaudit.spec.load import load

    spec = load(path)
    source = replay.open_source(spec.data)
    split = replay.make_split(len(source), spec.data)
    seed, loss = spec.train.all_seeds[0], replay.make_loss(spec.train.loss)
    model = replay.build_model(spec.model, seed)
    trainer = replay.Replay(model, source.records(split.members), split, spec.train, loss, seed, torch.device("cpu"))
    trainer.run((), ())


def _peak() -> float:
    """Largest resident memory of this process in MiB; that of the process it came from does not count."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


# The whole audit


def _audit(data: Path, quick: bool) -> list[Row]:
    model = {"entry": f"{ROOT / 'sample_models' / 'cnn.py'}:cnn"}
    limit, epochs, records = (3000, 1, 256) if quick else (60_000, 5, 1024)
    views = VIEWS if not quick else [view | {"batch_size": min(view["batch_size"], 8)} for view in VIEWS]
    audit = {"records": records, "epochs": [1] if quick else "all", "views": views, "games": GAMES}
    spec = _spec(data, model, limit, 1 / 6, {"epochs": epochs, "batch_size": 128}, audit)
    found = _apart({"spec": spec, "bare": True})
    wall, cpu = (sum(times[i] for times in found["bare"]) / len(found["bare"]) for i in range(2))

    def row(phase: str, seconds: float, cpu_seconds: float | None) -> Row:
        cpu_ratio = None if cpu_seconds is None else cpu_seconds / cpu
        times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        return {"kind": "audit", "phase": phase, **times, "ratio": seconds / wall, "cpu_ratio": cpu_ratio}

    phases = [row(phase, found["timings"][phase], None) for phase in PHASES]
    return [*(row("bare", *times) for times in found["bare"]), *phases, row("whole", *found["whole"])]


def _grown(data: Path, of: str, size: int, quick: bool) -> Row:
    """One size of one thing, the others held."""
    held = QUICK_GROWTH if quick else GROWTH
    sizes = {"layers": held["layers"][1], "records": held["records"][1], "epochs": 2, "views": 1, of: size}
    hidden = [64] * (sizes["layers"] - 1)
    views = [{"name": f"batch-{m}", "batch_size": m} for m in (5, 6, 4, 7)[: sizes["views"]]]
    tokens = {"dim": 64 if quick else 256}
    audit = {"records": sizes["records"], "epochs": "all", "tokens": tokens, "views": views, "games": GAMES}
    # One epoch is audited before training.
    train = {"epochs": sizes["epochs"] - 1, "batch_size": 128}
    model = {"entry": f"{Path(__file__).resolve()}:flat_mlp", "args": {"hidden": hidden}}
    limit = 2 * max(held["records"])
    found = _apart({"spec": _spec(data, model, limit, 0.5, train, audit), "bare": False})
    return {"kind": "growth", "of": of, "size": size, **found["timings"], "peak_mib": found["peak_mib"]}


def flat_mlp(hidden: list[int]) -> Any:
    """The fully connected sample model on pictures."""
    from torch import nn

    sys.path.insert(0, str(ROOT))
    from sample_models.mlp import mlp

    return nn.Sequential(nn.Flatten(), mlp(784, 10, hidden))


def _exponent(of: str, grown: list[Row]) -> Row:
    """Slope of the least-squares line through the logarithms."""
    points = [(math.log(row["size"]), math.log(row["capture"] + row["games"])) for row in grown]
    x, y = (sum(p[i] for p in points) / len(points) for i in range(2))
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    ratio = grown[-1]["peak_mib"] / grown[0]["peak_mib"]
    return {"kind": "exponent", "of": of, "exponent": slope, "peak_ratio": ratio}


# Tables


def _print_audit(rows: list[Row]) -> None:
    cells = [
        [row["phase"], *(_number(row[key]) for key in ("seconds", "cpu_seconds", "ratio", "cpu_ratio"))] for row in rows
    ]
    _print("The whole audit beside bare training", ["", "seconds", "CPU s", "x bare", "x bare, CPU"], cells)


def _print_growth(rows: list[Row]) -> None:
    *grown, fit = rows
    cells = [[str(row["size"]), *(_number(row[key]) for key in (*PHASES, "peak_mib"))] for row in grown]
    title = f"Growth with {fit['of']}: capture and games ~ size^{fit['exponent']:.2f}, peak x{fit['peak_ratio']:.2f}"
    _print(title, [fit["of"], *(f"{phase} s" for phase in PHASES), "peak MiB"], cells)


def _print(title: str, columns: list[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for line in cells:
        table.add_row(*line)
    Console().print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
