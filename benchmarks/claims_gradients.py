"""Do the published findings about inference through gradients hold on Adult, Diabetes-130 and Fashion-MNIST?

    PTAUDIT_DATA=FOLDER python benchmarks/claims_gradients.py      # all runs; fills docs/claims.md
    python benchmarks/claims_gradients.py --data FOLDER --quick    # small sizes: only to see that everything runs
    python benchmarks/claims_gradients.py --reuse                  # fills the page from the runs that are there

What is run is in `claims_specs.py`, how a claim is decided in `claims_verdicts.py`. Every run is a run folder under
`--runs` (default runs/claims), so that runs may be made one by one (`--only adult fashion`) and the page filled at the
end. `--json FILE` writes the findings: a list of {claim, data, about, figures, verdict}.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from claims_runs import ROOT, audit, options_of, wanted
from claims_specs import specs
from claims_verdicts import CLAIMS, FAILS, HOLDS, UNDECIDED, Finding
from numpy.typing import NDArray
from page import fill

from ptaudit.tables.folder import read_run
from ptaudit.tables.row import COLUMNS
from ptaudit.tables.table import Table

PAGE = ROOT / "docs" / "claims.md"
ACCURACY = ["data", "trained_with", "parameter", "strength", "held_out_accuracy", "epsilon"]


def main() -> int:
    """Run, decide, show; the exit code is 2 where there are no data or no runs."""
    parser = options_of("Measure published claims about gradients.", "runs/claims")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there")
    options = parser.parse_args()
    if not options.reuse and not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    if not options.reuse:
        for name, spec in wanted(options, specs(options.data.resolve(), options.quick)).items():
            audit(name, spec, options.runs)
    leakage, defenses = tables(options.runs)
    if leakage.empty:
        print(f"{options.runs}: no runs here", file=sys.stderr)
        return 2
    found = {name: decide(leakage) for name, (_, decide) in CLAIMS.items()}
    if options.json:
        content = [{"claim": name, **asdict(finding)} for name, findings in found.items() for finding in findings]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    pages = {"verdicts": _verdicts(found), "accuracy": _accuracy(defenses)}
    pages |= {name: _findings(findings) for name, findings in found.items()}
    if options.quick:
        print("\n\n".join(f"## {name}\n\n{page}" for name, page in pages.items()))
        return 0
    for name, page in pages.items():
        fill(PAGE, name, page)
    return 0


def tables(runs: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leakage (with its draws) and defenses of every run folder that is there, `data` says of which."""
    folders = sorted(path.parent for path in runs.glob("*/leakage.csv"))
    rows = []
    for folder in folders:
        table = read_run(folder).rows
        rows += [
            {"data": folder.name, **{column: getattr(row, column) for column in COLUMNS}, "draws": drawn}
            for row, drawn in zip(table, _draws(table))
        ]
    defenses = [
        pd.read_csv(folder / "defenses.csv", keep_default_na=False, na_values=[""]).assign(data=folder.name)
        for folder in folders
        if (folder / "defenses.csv").is_file()
    ]
    return pd.DataFrame(rows), pd.concat(defenses, ignore_index=True) if defenses else pd.DataFrame()


def _draws(table: Table) -> list[NDArray[np.float64] | None]:
    """Of each row, None where it has none."""
    found: list[NDArray[np.float64] | None] = [None] * len(table)
    if table.draws is not None:
        stored = np.flatnonzero(table.draws.places >= 0)
        for place, drawn in zip(stored.tolist(), table.draws.read(table.draws.places[stored])):
            found[place] = drawn
    return found


# Tables


def _verdicts(found: dict[str, list[Finding]]) -> str:
    lines = [f"| claim | {HOLDS} | {FAILS} | {UNDECIDED} |", "|---|---:|---:|---:|"]
    for name, findings in found.items():
        count = Counter(finding.verdict for finding in findings)
        lines.append(f"| {CLAIMS[name][0]} | {count[HOLDS]} | {count[FAILS]} | {count[UNDECIDED]} |")
    return "\n".join(lines)


def _findings(findings: list[Finding]) -> str:
    lines = ["| data | game | bits | verdict |", "|---|---|---|---|"]
    lines += [f"| {one.data} | {one.about} | {one.figures} | {one.verdict} |" for one in findings]
    return "\n".join(lines)


def _accuracy(defenses: pd.DataFrame) -> str:
    """Held-out accuracy and epsilon of every training, and what the accuracy lost on the undefended one."""
    lines = ["| data | trained with | accuracy | lost | epsilon |", "|---|---|---:|---:|---:|"]
    return "\n".join([*lines, *_accuracies(defenses)])


def _accuracies(defenses: pd.DataFrame) -> Iterator[str]:
    if defenses.empty:
        return
    for data, group in defenses[ACCURACY].drop_duplicates().groupby("data", sort=False):
        plain = group[group.trained_with == "none"].held_out_accuracy
        for row in group.itertuples():
            lost = f"{plain.iloc[0] - row.held_out_accuracy:.3f}" if len(plain) else ""
            epsilon = "" if pd.isna(row.epsilon) else f"{row.epsilon:.2f}"
            yield f"| {data} | {row.trained_with} | {row.held_out_accuracy:.3f} | {lost} | {epsilon} |"


if __name__ == "__main__":
    sys.exit(main())
