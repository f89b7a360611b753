"""Does an attacker that shares no estimation code with ptaudit find more than it reports, given the very same view?

    PTAUDIT_DATA=FOLDER python benchmarks/redteam.py            # all cases, one after the other: two hours on one core
    python benchmarks/redteam.py --quick                        # two cases, in the time of a test
    python benchmarks/redteam.py --case 'adult-*' --json FILE

The attacker has torch's autograd, NumPy, SciPy and scikit-learn. The package replays the training and names the
audited records; gradients, features, attacks, calibration and scores are computed anew here, and half of the records
are the attacker's, as in the package's own games. Cases are in `redteam_cases.py`, trainings in `redteam_specs.py`.

A case is `beaten` where the strongest adversary of row `*` in leakage.csv has less than 95 % of the attacker's bits, or
where the attacker's bits are above the upper end of its interval; below 0.1 bit, where the difference is above 0 for
certain. At its ceiling nothing is left to find: an attacker with a weaker guess beforehand may have more bits there.
The exit code is 1 where one is beaten, 2 where data are missing.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
import yaml
from redteam_attack import Effort, attack
from redteam_cases import CASES, QUICK, Case
from redteam_score import NEAR, Score
from redteam_specs import NEEDS, specs
from redteam_world import World, open_worlds
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

SHARE = 0.95
"""Share of the attacker's bits that the package must find."""

SMALL = 0.1
"""Bits below which the difference and its interval decide."""

OK, BEATEN, SKIPPED = "ok", "beaten", "skipped"

QUICK_EFFORT = Effort(identity=300, batches=600, played=800)

Interval = tuple[float, float, float]
"""Value, lower and upper end."""

Reported = tuple[float, float, float, float]
"""Value, lower and upper end, ceiling."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: what was attacked.
        ptaudit: of the strongest adversary; None where the package was not asked.
        adversary: its name.
        attacker: bits of the attacker, with interval and ceiling.
        seconds: of the attack.
    """

    case: Case
    ptaudit: Reported | None
    adversary: str
    attacker: Score
    seconds: float

    @property
    def verdict(self) -> str:
        """`ok`, `beaten`, or `skipped` where the package was not asked."""
        return SKIPPED if self.ptaudit is None else verdict(self.ptaudit, self.attacker)

    @property
    def ratio(self) -> float | None:
        """The package's bits over the attacker's."""
        if self.ptaudit is None or self.attacker.value <= 0.0:
            return None
        return self.ptaudit[0] / self.attacker.value


def verdict(ptaudit: Reported, attacker: Score) -> str:
    """Whether the attacker finds more than is reported."""
    value, _, hi, ceiling = ptaudit
    if not math.isfinite(value):
        return BEATEN
    if value >= NEAR * min(ceiling, attacker.ceiling):
        return OK
    if max(value, attacker.value) < SMALL:
        # Two independent intervals put together (MOVER, Zou and Donner 2008).
        more = attacker.value - value
        return BEATEN if more - math.hypot(attacker.value - attacker.lo, hi - value) > 0.0 else OK
    return OK if value >= SHARE * attacker.value and attacker.value <= hi else BEATEN


def main() -> int:
    """Attack, compare, show."""
    options = _options()
    cases = [one for one in (QUICK if options.quick else CASES) if fnmatch.fnmatch(one.name, options.case)]
    there = [one for one in cases if all((options.data / name).exists() for name in NEEDS.get(one.spec, ()))]
    for one in sorted({one.name for one in cases} - {one.name for one in there}):
        print(f"{one}: left out, no data for it in {options.data}", file=sys.stderr)
    if not there:
        print("no case to attack; see --case and --data", file=sys.stderr)
        return 2
    found = []
    for outcome in outcomes(there, options):
        print(_line(outcome), file=sys.stderr)
        found.append(outcome)
    Console(width=None if sys.stdout.isatty() else 140).print(_table(found))
    if options.json:
        options.json.write_text(json.dumps([_plain(one) for one in found], indent=1) + "\n", encoding="utf-8")
    return int(any(one.verdict == BEATEN for one in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Attack what ptaudit audits, without its code.")
    data = Path(os.environ.get("PTAUDIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=data, help="holds the data sets; default $PTAUDIT_DATA")
    parser.add_argument("--quick", action="store_true", help="two cases with few games")
    parser.add_argument("--case", default="*", metavar="NAME", help="some cases, as a glob pattern")
    parser.add_argument("--runs", type=Path, default=Path("runs/redteam"), help="where the run folders are")
    parser.add_argument("--reuse", action="store_true", help="take the run folders that are there already")
    parser.add_argument("--alone", action="store_true", help="only the attacker: no audit, no verdicts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there")
    return parser.parse_args()


def outcomes(cases: Sequence[Case], options: argparse.Namespace) -> Iterator[Outcome]:
    """Cases of one training after another: each is replayed, and audited, once."""
    made = specs(options.data.resolve())
    options.runs.mkdir(parents=True, exist_ok=True)
    effort = QUICK_EFFORT if options.quick else Effort()
    for name in dict.fromkeys(case.spec for case in cases):
        path = options.runs / f"{name}.yaml"
        path.write_text(yaml.safe_dump(made[name], sort_keys=False), encoding="utf-8")
        leakage = None if options.alone else _audited(path, options)
        mine = [case for case in cases if case.spec == name]
        worlds = open_worlds(path, sorted({case.epoch for case in mine}))
        for case in mine:
            yield _outcome(case, made[name], worlds[case.epoch], leakage, effort)


def _audited(path: Path, options: argparse.Namespace) -> pd.DataFrame:
    """The package's own table."""
    import ptaudit

    out = path.with_suffix("")
    if not (options.reuse and (out / "leakage.csv").is_file()):
        ptaudit.audit(path, out=out, fresh=True, gate=False, device="cpu")
    return pd.read_csv(out / "leakage.csv", keep_default_na=False, na_values=[""])


def _outcome(case: Case, spec: dict, world: World, leakage: pd.DataFrame | None, effort: Effort) -> Outcome:
    began, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # its matrices are small: threads would wait for each other
        attacker = attack(world, spec, case.game, case.view, (effort, 0))
    torch.set_num_threads(threads)
    seconds = time.perf_counter() - began
    reported, adversary = (None, "") if leakage is None else strongest(leakage, case)
    return Outcome(case, reported, adversary, attacker, seconds)


def strongest(leakage: pd.DataFrame, case: Case) -> tuple[Reported, str]:
    """Bits of the strongest adversary of all layers jointly who knows of the view what the attacker does.

    Not a number where none could play.
    """
    rows = leakage[(leakage.layer == "*") & (leakage.game == case.game) & (leakage.view == case.view)]
    rows = rows[(rows.epoch == case.epoch) & (rows.metric == "bits") & (rows.knowledge == "adaptive")]
    knows = {"none", "rest"} if case.game.endswith("-known") else {"none"}
    rows = rows[rows.knows.isin(knows) & (rows.trained_with == "none") & rows.value.notna()]
    if rows.empty:
        return (math.nan,) * 4, "none"
    best = rows.loc[rows.value.idxmax()]
    value, lo, hi, ceiling = (float(best[name]) for name in ("value", "lo", "hi", "ceiling"))
    return (value, lo, hi, ceiling), str(best.adversary)


# Tables


def _text(found: Reported | Interval | None) -> str:
    return "" if found is None else f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


def _numbers(found: Score) -> Interval:
    return found.value, found.lo, found.hi


def _line(one: Outcome) -> str:
    parts = [f"ptaudit {_text(one.ptaudit)}" if one.ptaudit else "", f"attacker {_text(_numbers(one.attacker))}"]
    return f"{one.case.name}: {', '.join(filter(None, parts))} of {one.attacker.ceiling:.2f}, {one.verdict}"


def _table(found: Sequence[Outcome]) -> Table:
    table = Table("case", "ptaudit", "attacker", "ceiling", "floor", "ratio", "seconds", "verdict", box=None)
    for one in found:
        floor = "" if one.case.floor is None else f"{one.case.floor:g}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        style = "red" if one.verdict == BEATEN else None
        cells = [_text(one.ptaudit), _text(_numbers(one.attacker)), f"{one.attacker.ceiling:.2f}", floor, ratio]
        table.add_row(one.case.name, *cells, f"{one.seconds:.0f}", one.verdict, style=style)
    return table


def _plain(one: Outcome) -> dict:
    """An outcome as JSON has it: nothing that is not a number."""
    reported = None if one.ptaudit is None or not math.isfinite(one.ptaudit[0]) else list(one.ptaudit)
    more = {"ratio": one.ratio if reported else None, "seconds": round(one.seconds, 1), "verdict": one.verdict}
    return {
        **asdict(one.case),
        "ptaudit": reported,
        "adversary": one.adversary,
        "attacker": asdict(one.attacker),
        **more,
    }


if __name__ == "__main__":
    sys.exit(main())
