"""How fast does the risk of membership inference fall with the number of examples of a class? (arXiv 2402.06674)

    PTAUDIT_DATA=FOLDER python benchmarks/size_law.py      # a linear model on Location30, four sizes
    python benchmarks/size_law.py SPEC --sizes 400,800,1600,3200 --set fleet.models=32 --adversary lira-online

A spec with a fleet is audited once for each size, which is its `data.limit`: the first so many records of the source,
members and held out. The advantage, TPR less FPR at a FPR of 1 %, is that of all reference models in turn at the last
audited epoch; its interval is over models and records. The slope of log(advantage) on log S, S members of a class, is
fitted by weighted least squares: Tobaben et al. find about -0.5 for heads that are trained on the features of large
models. Where an advantage is not above 0 there is no law to fit, and that is what is said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import ptaudit
from ptaudit.auditing.opening import open_session
from ptaudit.spec.load import load
from ptaudit.stats.dynamics.size_law import SizeLaw, size_law
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.training.device import pick_device

SPEC = Path(__file__).parents[1] / "configs" / "membership-location30.yaml"
SIZES = "600,1200,2400,4800"
LINEAR = (
    "model.args.hidden=[]",
    "data.held_out=0.5",
    "fleet.models=16",
    "train.epochs=2",
    "audit.epochs=[2]",
    "audit.games=[{name: membership, attacks: [loss, bavaria-online]}]",
)
"""What the default is: as many held-out records as members, a linear model, and a short training: after 30 epochs it
knows nearly all of its members, whose number then makes no difference (0.989 and 0.983 with 10 and 20 of a class)."""

METRIC, FPR = "fleet_tpr_at_fpr_0.01", 0.01


def advantage(leakage: pd.DataFrame, adversary: str) -> Estimate:
    """TPR less FPR of an attack over all models at the last epoch.

    Args:
        leakage: the rows of a run.
        adversary: of the membership game.

    Raises:
        ValueError: there is no such row.
    """
    rows = leakage[(leakage.adversary == adversary) & (leakage.metric == METRIC) & (leakage.layer == "*")]
    if rows.empty:
        raise ValueError(f"no row of {adversary} reports {METRIC}: the spec needs a fleet and the game membership")
    last = rows.sort_values("epoch").iloc[-1]
    if last.status.startswith("inconclusive"):
        return inconclusive(last.status.removeprefix("inconclusive: "), n=int(last.n))
    value, lo, hi = (float(last[name]) - FPR for name in ("value", "lo", "hi"))
    return Estimate(value, lo, hi, 0.0, 1.0 - FPR, int(last.n), "ok")


def examples_per_class(spec: Path, overrides: Sequence[str]) -> float:
    """Members of the audited model, divided by the classes."""
    session = open_session(load(spec, overrides), pick_device("cpu"))
    if session.records.classes is None:
        raise SystemExit("the law is about examples per class: the targets of this spec are no classes")
    return len(session.split.members) / session.records.classes


def told(sizes: Sequence[float], advantages: Sequence[Estimate], law: SizeLaw) -> str:
    """A table and the slope, as Markdown."""
    lines = ["| members of a class | TPR - FPR at 1 % |", "|---:|---:|"]
    for size, one in zip(sizes, advantages):
        value = f"{one.value:.3f} [{one.lo:.3f}, {one.hi:.3f}]" if one.conclusive else one.status
        lines.append(f"| {size:.3g} | {value} |")
    slope = law.slope
    if not slope.conclusive:
        return "\n".join([*lines, "", f"No slope: {slope.status}."])
    said = f"Slope {slope.value:.2f} [{slope.lo:.2f}, {slope.hi:.2f}], scatter {law.scatter:.1f} standard errors."
    return "\n".join([*lines, "", said])


def main() -> None:
    """Audit, fit, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", type=Path)
    parser.add_argument("--sizes", default=SIZES, help="values of data.limit, three or more")
    parser.add_argument("--adversary", default="bavaria-online")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--runs", type=Path, default=Path("runs/size-law"))
    asked = parser.parse_args()
    spec, own = (SPEC, LINEAR) if asked.spec is None else (asked.spec, ())
    sizes, advantages = [], []
    for limit in map(int, asked.sizes.split(",")):
        overrides = [*own, *asked.overrides, f"data.limit={limit}"]
        sizes.append(examples_per_class(spec, overrides))
        print(f"{limit} records, {sizes[-1]:.3g} members of a class", file=sys.stderr)
        run = ptaudit.audit(spec, overrides=overrides, out=asked.runs / str(limit), fresh=True)
        advantages.append(advantage(run.leakage, asked.adversary))
    print(told(sizes, advantages, size_law(sizes, advantages)))


if __name__ == "__main__":
    main()
