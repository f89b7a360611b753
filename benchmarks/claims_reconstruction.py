"""Do cheap numbers rank what is shared as the success of inversion does, and at what exchange rate?

    PTAUDIT_DATA=FOLDER python benchmarks/claims_reconstruction.py      # all runs; fills docs/reconstruction.md
    python benchmarks/claims_reconstruction.py --data FOLDER --quick    # small sizes: only to see that everything runs
    python benchmarks/claims_reconstruction.py --reuse                  # fills the page from the runs that are there

A case is an epoch, layer and view of a model and data set; both numbers are read from `leakage.csv`. What is run is in
`claims_reconstruction_specs.py`, the statistics in `exchange.py`. `--json FILE` writes the findings.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from claims_reconstruction_specs import specs
from claims_runs import ROOT, audit, options_of, wanted
from exchange import covered, exchange_rate, halves, spearman, within
from page import fill

from ptaudit.tables.folder import read_run
from ptaudit.tables.row import COLUMNS

PAGE = ROOT / "docs" / "reconstruction.md"
CASE = ["data", "epoch", "layer", "view"]
MEASURES = {
    "identity bits": ("identity", "bits"),
    "identity noise_half": ("identity", "noise_half"),
    "usable information on the label": ("usable-information", "bits"),
    "Fisher information loss": ("fisher-information", "fisher_loss"),
}
SUCCESS = ["psnr_gain_db", "explained_variance", "identified"]
ATTACKS = ("content", "reconstruction")
ACROSS, WITHIN = 0.8, 0.6
"""The rank correlations that are asked for."""


@dataclass(frozen=True)
class Finding:
    """One measure against one attack; `within` is the mean inside batch sizes, `ceiling` the cases left out."""

    measure: str
    attack: str
    success: str
    n: int
    across: float
    lo: float
    hi: float
    within: float
    ceiling: int


def main() -> int:
    """Run, join, show; the exit code is 2 where there are no data or no runs."""
    parser = options_of("Compare cheap numbers with inversion.", "runs/claims-reconstruction")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there")
    options = parser.parse_args()
    if not options.reuse and not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    if not options.reuse:
        for name, spec in wanted(options, specs(options.data.resolve(), options.quick)).items():
            audit(name, spec, options.runs)
    leakage = leakage_of(options.runs)
    if leakage.empty:
        print(f"{options.runs}: no runs here", file=sys.stderr)
        return 2
    found = list(findings(leakage))
    if options.json:
        options.json.write_text(json.dumps([_plain(one) for one in found], indent=1) + "\n", encoding="utf-8")
    page = f"{table(found)}\n\n{rates(leakage)}"
    if options.quick:
        print(page)
    else:
        fill(PAGE, "exchange", page)
    return 0


def leakage_of(runs: Path) -> pd.DataFrame:
    """Measured adaptive rows of all run folders; runs of one model and data set share their `data`."""
    rows: list[dict[str, Any]] = []
    for path in sorted(runs.glob("*/leakage.csv")):
        data = path.parent.name.removesuffix("-attacks").removesuffix("-noise")
        rows += [{"data": data, **{c: getattr(row, c) for c in COLUMNS}} for row in read_run(path.parent).rows]
    frame = pd.DataFrame(rows)
    return frame if frame.empty else frame[(frame.knowledge == "adaptive") & frame.value.notna()]


def joined(leakage: pd.DataFrame, measure: str, attack: tuple[str, str, str]) -> pd.DataFrame:
    """Cases with `measure` and `success`, `m`, `group`, and whether the measure is at its `ceiling`.

    Args:
        leakage: what `leakage_of` gives.
        measure: key of `MEASURES`.
        attack: game, adversary and metric of the success.
    """
    game, metric = MEASURES[measure]
    cheap = leakage[(leakage.game == game) & (leakage.metric == metric)]
    cheap = cheap.rename(columns={"value": "measure", "ceiling": "most"})[[*CASE, "measure", "most"]]
    game, adversary, metric = attack
    costly = leakage[(leakage.game == game) & (leakage.adversary == adversary) & (leakage.metric == metric)]
    both = cheap.groupby(CASE, as_index=False).max().merge(costly[[*CASE, "value"]], on=CASE)
    both = both.rename(columns={"value": "success"})
    return both.assign(
        m=both.view.str.extract(r"(\d+)$", expand=False).astype(float),
        group=both.data + " " + both.view,
        ceiling=both.measure >= 0.98 * both.most,
    )


def working(leakage: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Game, adversary and metric of attacks with at least 3 cases above their null.

    What differs between the cases of an attack that finds nothing anywhere is chance, which no measure can rank.
    """
    played = leakage[leakage.game.isin(ATTACKS) & leakage.metric.isin(SUCCESS)]
    groups = played.assign(won=played.lo > played.null).groupby(["game", "adversary", "metric"]).won.sum()
    return [(str(game), str(who), str(metric)) for (game, who, metric), won in groups.items() if won >= 3]


def findings(leakage: pd.DataFrame) -> Iterator[Finding]:
    """Each measure against each attack; cases at the ceiling are counted and left out."""
    for attack in working(leakage):
        for measure in MEASURES:
            cases = joined(leakage, measure, attack)
            kept = cases[~cases.ceiling]
            m, x, y = kept.m.to_numpy(), kept.measure.to_numpy(), kept.success.to_numpy()
            rho = spearman(x, y, kept.group.to_numpy(str))
            top = int(cases.ceiling.sum())
            yield Finding(measure, attack[1], attack[2], rho.n, rho.value, rho.lo, rho.hi, within(x, y, m), top)


def table(found: list[Finding]) -> str:
    """Correlations of every measure with every attack."""
    lines = ["| measure | attack | success | cases | across (95 %) | within m | at the ceiling |"]
    lines.append("|---|---|---|---:|---|---:|---:|")
    for one in found:
        if not math.isnan(one.across):
            across = f"{one.across:.2f} ({one.lo:.2f} to {one.hi:.2f})"
            lines.append(
                f"| {one.measure} | `{one.attack}` | `{one.success}` | {one.n} | {across} | {one.within:.2f} "
                f"| {one.ceiling} |"
            )
    return "\n".join(lines)


def rates(leakage: pd.DataFrame) -> str:
    """The best measure for each attack on half of the cases, and its exchange rate judged on the other half."""
    lines = ["| attack | success | chosen measure | across, other half | within m | margin (90 %) | covered |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    for attack in working(leakage):
        row = _judged(leakage, attack)
        lines += [row] if row else []
    return "\n".join(lines)


def _judged(leakage: pd.DataFrame, attack: tuple[str, str, str]) -> str:
    best: tuple[float, str, pd.DataFrame, pd.DataFrame] | None = None
    for measure in MEASURES:
        cases = joined(leakage, measure, attack)
        kept = cases[~cases.ceiling]
        first = halves(kept.group.to_numpy(str))
        chosen, judged = kept[first], kept[~first]
        rho = spearman(*_arrays(chosen), resamples=1).value
        if not math.isnan(rho) and (best is None or rho > best[0]):
            best = rho, measure, chosen, judged
    if best is None or len(best[3]) < 10 or best[2].group.nunique() < 2:
        return ""
    _, measure, chosen, judged = best
    rate, rho = exchange_rate(*_arrays(chosen)), spearman(*_arrays(judged))
    x, y, _ = _arrays(judged)
    inside = within(x, y, judged.m.to_numpy())
    return (
        f"| `{attack[1]}` | `{attack[2]}` | {measure} | {rho.value:.2f} ({rho.lo:.2f} to {rho.hi:.2f}) "
        f"| {inside:.2f} | {rate.margin:.2f} | {covered(rate, x, y):.2f} |"
    )


def _plain(one: Finding) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in vars(one).items()}


def _arrays(cases: pd.DataFrame) -> tuple[Any, Any, Any]:
    return cases.measure.to_numpy(), cases.success.to_numpy(), cases.group.to_numpy(str)


if __name__ == "__main__":
    sys.exit(main())
