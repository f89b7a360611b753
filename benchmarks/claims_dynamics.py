"""Do published findings about membership over time hold on digits, Fashion-MNIST, CIFAR, Location30 and two tables?

    PTAUDIT_DATA=FOLDER python benchmarks/claims_dynamics.py          # all runs; fills docs/claims.md
    python benchmarks/claims_dynamics.py --only digits --runs DIR     # one of them, into DIR
    python benchmarks/claims_dynamics.py --reuse                      # fills the page from the runs that are there
    python benchmarks/claims_dynamics.py --quick                      # one small fleet: only to see that it runs

Every run is a fleet on 600 records of one data set, each model trained on 300 of them for the same number of steps, so
that data sets differ in nothing but what they are and in the network that takes them. CIFAR is at half its size.
`-wide` is another network, `-sam` another optimizer, on the same records. How a claim is decided is in
`claims_dynamics_verdicts.py`. Run folders are under `--runs` (default runs/claims-dynamics).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from claims_dynamics_verdicts import CLAIMS, SAM, WIDE, last
from claims_gradients import tables
from claims_membership import HERE, PAGE, SAMPLES, config, model
from claims_runs import audit, options_of, wanted
from claims_verdicts import FAILS, HOLDS, UNDECIDED, Finding, interval, text
from page import fill

from ptaudit.tables.folder import read_run

Spec = dict[str, Any]

MODELS, RECORDS = 16, 600
EPOCHS = (0, 1, 2, 3, 4, 5, 7, 9, 12, 15)
SHOWN = ("displacement", "entropy_change", "exposed", "peak_transition")


def specs(data: Path, quick: bool = False) -> dict[str, Spec]:
    """Name to spec.

    Args:
        data: folder with the data sets.
        quick: one of them, with few epochs.
    """
    pictures = {"source": f"{SAMPLES / 'fashion_mnist.py'}:records", "args": {"root": str(data / "fashion_mnist")}}
    adult = {
        "source": f"csv:{data / 'adult.csv.gz'}", "missing": ["?"], "label": "income",
        "drop": ["fnlwgt", "education", "split"],
    }  # fmt: skip
    diabetes = {
        "source": f"csv:{data / 'diabetes130.csv.gz'}", "missing": ["?"], "label": "readmitted", "rare": 10,
        "drop": ["patient", "weight", "payer_code", "medical_specialty", "examide", "citoglipton"],
        "categorical": ["admission_type_id", "discharge_disposition_id", "admission_source_id",
                        "diag_1", "diag_2", "diag_3"],
    }  # fmt: skip
    cifar = {"source": f"{HERE / 'claims_data.py'}:small_cifar", "args": {"path": str(data / "cifar10_lossless4k.npz")}}
    location, digits = (config(name) for name in ("location30", "quickstart"))
    lenet = {size: model("lenet.py:lenet", num_classes=10, channels=1, size=size) for size in (8, 28)}
    made = {
        "digits": _run(lenet[8], digits["data"]),
        "fashion-mnist": _run(lenet[28], pictures),
        "adult": _run(model("mlp.py:mlp", features=FEATURES["adult"], hidden=[256, 128]), adult),
        "diabetes": _run(
            model("mlp.py:mlp", features=FEATURES["diabetes"], num_classes=3, hidden=[256, 128]), diabetes
        ),
        "location30": _run(location["model"], location["data"]),
        "cifar": _run(model("lenet.py:lenet", num_classes=10, channels=3, size=16), cifar),
    }
    sam = {"sam": {"rho": 0.05}}
    made |= {
        name + SAM: _run(made[name]["model"], made[name]["data"], sam) for name in ("location30", "digits", "cifar")
    }
    made[f"cifar{WIDE}"] = _run(model("wrn.py:wrn", depth=10, width=2, num_classes=10, norm="group"), cifar)
    if quick:
        made = {"digits": _run(lenet[8], digits["data"], {"epochs": 2})}
    return {name: {"version": 1, "name": name, **spec} for name, spec in made.items()}


FEATURES = {"adult": 71, "diabetes": 121}
"""Columns of the tables after preprocessing, of the members of the split."""


def _run(network: Spec, data: Spec, train: Spec | None = None) -> Spec:
    how = {"epochs": EPOCHS[-1], "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.002}, **(train or {})}
    epochs = [epoch for epoch in EPOCHS if epoch <= how["epochs"]]
    view = {"name": "record", "batch_size": 1}
    return {
        "model": network,
        "data": {**data, "held_out": 0.5, "limit": RECORDS},
        "train": how,
        "fleet": {"models": MODELS},
        "audit": {"records": "all", "epochs": epochs, "views": [view], "games": ["dynamics"]},
    }


def main() -> int:
    """Run, decide, show; the exit code is 2 where there are no data or no runs."""
    options = options_of("Check published claims about membership over time.", "runs/claims-dynamics").parse_args()
    if not options.reuse and not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    os.environ["PTAUDIT_DATA"] = str(options.data.resolve())
    made = specs(options.data.resolve(), options.quick)
    if not options.reuse:
        for name, spec in wanted(options, made).items():
            audit(name, spec, options.runs)
    frame = measured(options.runs, list(made))
    if frame.empty:
        print(f"{options.runs}: no runs here", file=sys.stderr)
        return 2
    for name, page in pages_of(frame).items():
        if options.quick:
            print(f"## {name}\n\n{page}\n")
        else:
            fill(PAGE, f"dynamics-{name}", page)
    return 0


def measured(runs: Path, names: list[str]) -> pd.DataFrame:
    """Rows of every run that is there, in the order of the names, with the held-out error of its audited model."""
    frame, _ = tables(runs)
    if frame.empty:
        return frame
    order = {name: place for place, name in enumerate(names)}
    frame = frame[frame.data.isin(order)].sort_values("data", key=lambda column: column.map(order), kind="stable")
    error = {name: 1.0 - read_run(runs / name).epochs[-1].held_out_accuracy for name in set(frame.data)}
    return frame.assign(held_out_error=frame.data.map(error), held_out=RECORDS // 2)


# Showing


def pages_of(frame: pd.DataFrame) -> dict[str, str]:
    """Tables by their marks."""
    found = {name: decide(frame) for name, (_, decide) in CLAIMS.items()}
    return {
        "verdicts": _verdicts(found),
        "runs": _runs(frame),
        **{name: _findings(findings) for name, findings in found.items()},
    }


def _verdicts(found: dict[str, list[Finding]]) -> str:
    lines = [f"| claim | {HOLDS} | {FAILS} | {UNDECIDED} |", "|---|---:|---:|---:|"]
    for name, findings in found.items():
        count = Counter(finding.verdict for finding in findings)
        lines.append(f"| {CLAIMS[name][0]} | {count[HOLDS]} | {count[FAILS]} | {count[UNDECIDED]} |")
    return "\n".join(lines)


def _runs(frame: pd.DataFrame) -> str:
    lines = [f"| run | held-out error | {' | '.join(SHOWN)} |".replace("_", " "), f"|---|---:|{'---:|' * len(SHOWN)}"]
    for name in dict.fromkeys(frame.data):
        rows = [last(frame, name, metric) for metric in SHOWN]
        cells = ["" if row is None else f"{text(interval(row))} ({row.null:.3f})" for row in rows]
        error = frame[frame.data == name].held_out_error.iloc[0]
        lines.append(f"| {name} | {error:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _findings(findings: list[Finding]) -> str:
    lines = ["| data | of | figures | verdict |", "|---|---|---|---|"]
    lines += [f"| {one.data} | {one.about} | {one.figures} | {one.verdict} |" for one in findings]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
