"""What the scripts that fill docs/claims.md share: their options, and one audit of each spec."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

import ptaudit

ROOT = Path(__file__).parents[1]


def options_of(description: str, runs: str) -> argparse.ArgumentParser:
    """`--data`, `--runs`, `--only`, `--reuse` and `--quick`.

    Args:
        description: what the script does.
        runs: where its run folders are by default.
    """
    parser = argparse.ArgumentParser(description=description)
    data = Path(os.environ.get("PTAUDIT_DATA") or ROOT / "data")
    parser.add_argument("--data", type=Path, default=data, help="holds the data sets; default $PTAUDIT_DATA or data")
    parser.add_argument("--runs", type=Path, default=Path(runs), help="where the run folders are")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the runs")
    parser.add_argument("--reuse", action="store_true", help="run nothing: fill the page from the runs that are there")
    parser.add_argument("--quick", action="store_true", help="small sizes; prints and leaves the page as it is")
    return parser


def wanted(options: argparse.Namespace, specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The specs that were asked for, in the order of all; ends with exit code 2 where there is no such one."""
    unknown = [name for name in options.only or () if name not in specs]
    if unknown:
        print(f"--only: there is no {', '.join(unknown)}; there are {', '.join(specs)}", file=sys.stderr)
        raise SystemExit(2)
    return {name: spec for name, spec in specs.items() if not options.only or name in options.only}


def audit(name: str, spec: dict[str, Any], runs: Path) -> None:
    """One audit, in a folder of its name, with its spec beside it."""
    runs.mkdir(parents=True, exist_ok=True)
    print(name, file=sys.stderr)
    path = runs / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    ptaudit.audit(path, out=runs / name, fresh=True, gate=False)
