"""What `show`, `gate` and `compare` take on a run of very many rows: seconds and peak memory.

    python benchmarks/big_tables.py                     # 2.4 million rows, a few minutes
    python benchmarks/big_tables.py --rows 100000       # under a minute
    python benchmarks/big_tables.py --run RUN           # multiply a run of your own

A small run (made here from `configs/quickstart.yaml`, unless one is given) is multiplied: its layers as if its model
were repeated as blocks, its views, its epochs. Value and interval of each row shrink by a random factor of its own, so
that the numbers are as different as in a real run, and stay between their bounds. Manifest, spec and epochs are made to
fit. The resamples are left out: a big run is kept and committed without them. Each command is a process of its own, its
output goes to a file; the best of `--repeats` counts, as other work on a machine only ever adds.

`--json FILE` writes a list of {command, rows, seconds, mib}.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SHORT = ("data.limit=1500", "train.epochs=2", "audit.epochs=[0, 2]")
JOINT, MODEL = "*", "model"
EPOCHS, VIEWS = 100, 3
Cells = dict[str, str]


def main() -> None:
    """Makes two big folders and measures the commands on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_400_000, help="rows of each of the two tables, about")
    parser.add_argument("--run", type=Path, help="a finished run to multiply")
    parser.add_argument("--folder", type=Path, help="where to keep the big folders; default a temporary one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.folder or Path(temporary)
        runs = [place / "before", place / "after"]
        if not all((run / "leakage.csv").is_file() for run in runs):
            small = asked.run or small_run(place / "small")
            for seed, run in enumerate(runs):
                multiply(small, run, asked.rows, seed)
        found = [measure(command, place, asked.repeats) for command in commands(*runs)]
    print(f"{'command':<10} {'rows':>10} {'seconds':>8} {'MiB':>6}")
    for line in found:
        print(f"{line['command']:<10} {line['rows']:>10,} {line['seconds']:>8.1f} {line['mib']:>6.0f}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


def commands(before: Path, after: Path) -> list[tuple[str, list[Path], list[str]]]:
    """Name, run folders and arguments of what is measured."""
    return [
        ("show", [after], ["show", str(after)]),
        ("gate", [after], ["gate", str(after)]),
        ("compare", [before, after], ["compare", str(before), str(after), "--format", "rich"]),
    ]


def small_run(folder: Path) -> Path:
    """A real run of a few hundred rows."""
    settings = [part for text in SHORT for part in ("--set", text)]
    spec = str(ROOT / "configs" / "quickstart.yaml")
    command = [sys.executable, "-m", "ptaudit", "run", spec, *settings, "--no-gate", "--fresh", "--out", str(folder)]
    subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def multiply(small: Path, folder: Path, rows: int, seed: int) -> None:
    """A big run folder from a small one, of about so many rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (small / "leakage.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    by_epoch = [[row for row in table if row["epoch"] == epoch] for epoch in dict.fromkeys(r["epoch"] for r in table)]
    of_block = sum(1 if row["view"] == MODEL else VIEWS for row in by_epoch[-1] if row["layer"] != JOINT)
    blocks = max(1, round(rows / EPOCHS / of_block))
    generator = random.Random(seed)
    with (folder / "leakage.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table[0])
        for epoch in range(EPOCHS):
            for row in by_epoch[min(epoch, len(by_epoch) - 1)]:
                writer.writerows(copies(row, epoch, blocks, generator))
    write_beside(small, folder, blocks)


def copies(row: Cells, epoch: int, blocks: int, generator: random.Random) -> Iterator[list[str]]:
    """One row in every view and block, of an epoch of its own."""
    layers = range(1 if row["layer"] == JOINT else blocks)
    for view in range(1 if row["view"] == MODEL else VIEWS):
        for block in layers:
            cells = {**row, "epoch": str(epoch), "step": str(19 * epoch), "view": view_name(row["view"], view)}
            if row["layer"] != JOINT:
                cells["layer"], cells["layer_index"] = layer_name(row["layer"], int(row["layer_index"]), block)
            shrink = generator.uniform(0.9, 1.0)
            for name in ("value", "lo", "hi"):
                cells[name] = f"{float(cells[name]) * shrink:.6g}" if cells[name] else ""
            yield list(cells.values())


def view_name(view: str, copy: int) -> str:
    """The name of a copy of a view."""
    return f"{view}-{copy}" if copy else view


def layer_name(layer: str, index: int, block: int) -> tuple[str, str]:
    """Name and place of a layer in a block."""
    return f"blocks.{block}.{layer}", str(1000 * block + index)


def write_beside(small: Path, folder: Path, blocks: int) -> None:
    """Manifest, spec and epochs that fit the big table."""
    spec = yaml.safe_load((small / "spec.resolved.yaml").read_text())
    spec["audit"]["views"] = [
        {**view, "name": view_name(view["name"], copy)} for copy in range(VIEWS) for view in spec["audit"]["views"]
    ]
    with (small / "epochs.csv").open(encoding="utf-8", newline="") as file:
        *_, last = csv.DictReader(file)
    training = list(last)[:7]
    lines = [training, *([str(e), str(19 * e), *(last[name] for name in training[2:])] for e in range(EPOCHS))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    (folder / "spec.resolved.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "epochs.csv").write_text(text.getvalue())
    manifest = json.loads((small / "manifest.json").read_text())
    manifest["layers"] = [
        {**layer, "name": name, "index": int(index)}
        for block in range(blocks)
        for layer in manifest["layers"]
        for name, index in [layer_name(layer["name"], layer["index"], block)]
    ]
    files = sorted(path for path in folder.iterdir())
    manifest["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def measure(command: tuple[str, list[Path], list[str]], place: Path, repeats: int) -> dict[str, Any]:
    """Seconds and peak memory of one command, the best of so many."""
    name, runs, arguments = command
    times, peaks = [], []
    for _ in range(repeats):
        with (place / f"{name}.txt").open("w") as out:
            started = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "ptaudit", *arguments], env=environment(), stdout=out)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            times.append(time.perf_counter() - started)
            peaks.append(usage.ru_maxrss / 1024)
        if process.returncode not in (0, 1, 3):
            raise SystemExit(f"{name} ended with {process.returncode}")
    with (runs[-1] / "leakage.csv").open("rb") as file:
        rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - 1
    return {"command": name, "rows": rows, "seconds": min(times), "mib": min(peaks)}


def environment() -> dict[str, str]:
    """That of this process, with this checkout in front."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
