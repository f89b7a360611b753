"""The page of the benchmark of mutual information: tables, targets and misses from its rows alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mi_samplers import Sampler

Row = dict[str, Any]
Key = tuple[str, str]
"""Estimator and critic."""

PEER = "scikit-learn"
RAW = "ksg raw"
"""ksg on coordinates as they are, which is what scikit-learn computes; the default is on normal scores."""

LOWER_BOUNDS = ("sliced", "infonce", "nwj")
BESIDE = ("mine", "mine in-sample", "smile")
SMALL = 0.05
"""Bits under which a relative error says nothing."""


def page(rows: Sequence[Row], tasks: Sequence[Sampler]) -> str:
    """The whole page as Markdown."""
    sizes = sorted({row["n"] for row in rows})
    parts = [_summary([row for row in rows if row["n"] == n], n) for n in sizes]
    last = [row for row in rows if row["n"] == sizes[-1]]
    return "\n\n".join([*parts, _by_task(last, tasks), _targets(last, tasks)])


# Tables


def _summary(rows: Sequence[Row], n: int) -> str:
    columns = ("tasks × seeds", "median error", "relative", "covered", "lo above truth", "saturated", "no value")
    cells = []
    for key, own in _by_estimator(rows).items():
        errors = [abs(row["error_bits"]) for row in own if row["error_bits"] is not None]
        relative = [abs(row["error_bits"]) / row["truth_bits"] for row in own if _relative(row)]
        bounded = [row for row in own if row["covered"] is not None]
        cells.append(
            [
                _name(key),
                str(len(own)),
                _number(statistics.median(errors)) if errors else "",
                _percent(statistics.median(relative)) if relative else "",
                _percent(_share(bounded, lambda row: row["covered"])),
                _percent(_share(bounded, _above)),
                str(sum(row["status"] == "saturated" for row in own)),
                str(sum(row["value"] is None for row in own)),
                f"{sum(row['seconds'] for row in own):.1f}",
            ]
        )
    title = f"### n = {n:,}: absolute error in bits; relative where the truth is over {SMALL} bit\n\n"
    return title + _table(["", *columns, "CPU s"], cells)


def _by_task(rows: Sequence[Row], tasks: Sequence[Sampler]) -> str:
    keys = list(_by_estimator(rows))
    cells = []
    for task in tasks:
        values = []
        for key in keys:
            own = [row for row in rows if row["task"] == task.name and _key(row) == key]
            values.append(_marked(own))
        cells.append([task.name, f"{task.bits:.3f}", *values])
    note = "Means over seeds; `*` where the truth is outside the interval of any seed, `^` where any seed is saturated."
    title = f"### n = {rows[0]['n']:,}: value and truth in bits, task by task\n\n{note}\n\n"
    return title + _table(["task", "truth", *map(_name, keys)], cells)


def _marked(own: Sequence[Row]) -> str:
    values = [row["value"] for row in own if row["value"] is not None]
    if not values:
        return "–" if own else ""
    missed = "*" if any(row["covered"] is False for row in own) else ""
    full = "^" if any(row["status"] == "saturated" for row in own) else ""
    return f"{statistics.mean(values):.3f}{missed}{full}"


# Targets


def _targets(rows: Sequence[Row], tasks: Sequence[Sampler]) -> str:
    """Each target as met or missed, and what misses it."""
    normal = {task.name for task in tasks if task.normal}
    lone = {task.name for task in tasks if task.independent}
    lines = []

    def add(text: str, tried: Sequence[Row], good: Callable[[Row], bool], allowed: float = 0.0) -> None:
        misses = [row for row in tried if not good(row)]
        if not tried:
            return
        met = len(misses) <= allowed * len(tried)
        lines.append(f"- **{'met' if met else 'missed'}**: {text} ({len(tried) - len(misses)} of {len(tried)})")
        lines.extend(f"  - {_told(row)}" for row in misses)

    means = _means(rows)
    ksg = [row for row in means if row["estimator"] == "ksg" and row["dims"] in ("1x1", "2x2")]
    add("ksg within 0.05 bit on 1x1 and 2x2, mean over seeds", ksg, lambda row: _error(row) <= 0.05)
    peers = {_place(row): row["value"] for row in rows if row["estimator"] == PEER and row["value"] > SMALL}
    same = [row for row in rows if row["estimator"] == RAW and _place(row) in peers]
    text = f"{RAW} within 1 % of scikit-learn's where that is over {SMALL} bit"
    add(text, same, lambda row: _gap(row, peers[_place(row)]) <= 0.01)
    gaussian = [row for row in means if row["estimator"] == "gaussian" and row["task"] in normal]
    add("gaussian within 5 % on the normal tasks, mean over seeds", gaussian, lambda row: _off(row) <= 0.05)
    infonce = [row for row in rows if row["estimator"] == "infonce" and _half_way(row)]
    for critic in sorted({row["critic"] for row in infonce}):
        own = [row for row in infonce if row["critic"] == critic]
        text = f"infonce, {critic}, within 15 % where the truth is under half of its ceiling"
        add(text, own, lambda row: _off(row) <= 0.15)
    for key, own in _by_estimator(rows).items():
        if key[0] in (*LOWER_BOUNDS, "mine in-sample"):
            kind = "a lower bound" if key[0] in LOWER_BOUNDS else "no bound, beside them"
            add(
                f"{_name(key)} ({kind}) above the truth by more than its interval on at most 5 %", own, _not_above, 0.05
            )
    for key, own in _by_estimator(rows).items():
        alone = [row for row in own if row["task"] in lone and key[0] not in (PEER, "mine in-sample")]
        add(f"{_name(key)}: 0 within the interval of independent pairs", alone, lambda row: bool(row["covered"]))
    return f"### Targets at n = {rows[0]['n']:,}\n\n" + "\n".join(lines)


def _means(rows: Sequence[Row]) -> list[Row]:
    """One row for each task, estimator and critic: the mean value over seeds; none where any seed has no value."""
    together: dict[tuple[str, Key], list[Row]] = {}
    for row in rows:
        together.setdefault((row["task"], _key(row)), []).append(row)
    means = []
    for own in together.values():
        values = [row["value"] for row in own]
        value = None if None in values else statistics.mean(values)
        error = None if value is None else value - own[0]["truth_bits"]
        means.append(own[0] | {"value": value, "error_bits": error, "seed": f"mean of {len(own)}", "lo": None})
    return means


def _error(row: Row) -> float:
    """Absolute, in bits; endless where there is no value, so that it misses."""
    return float("inf") if row["error_bits"] is None else abs(row["error_bits"])


def _off(row: Row) -> float:
    """Relative to the truth."""
    return _error(row) / row["truth_bits"]


def _gap(row: Row, peer: float) -> float:
    return float("inf") if row["value"] is None else abs(row["value"] / peer - 1)


def _half_way(row: Row) -> bool:
    return row["truth_bits"] > 0 and (row["ceiling"] is None or row["truth_bits"] < row["ceiling"] / 2)


def _above(row: Row) -> bool:
    """Whether even the lower end of the interval is over the truth."""
    return row["lo"] is not None and row["lo"] > row["truth_bits"]


def _not_above(row: Row) -> bool:
    return not _above(row)


def _relative(row: Row) -> bool:
    return row["error_bits"] is not None and row["truth_bits"] > SMALL


def _told(row: Row) -> str:
    interval = "" if row["lo"] is None else f" ({row['lo']:.3f} to {row['hi']:.3f})"
    value = "no value" if row["value"] is None else f"{row['value']:.3f}{interval}"
    status = "" if row["status"] == "ok" else f", {row['status']}"
    return f"{row['task']}, {_name(_key(row))}, seed {row['seed']}: {value}, truth {row['truth_bits']:.3f}{status}"


# Words and numbers


def _by_estimator(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(_key(row), []).append(row)
    return found


def _key(row: Row) -> Key:
    return row["estimator"], row["critic"]


def _place(row: Row) -> tuple[str, int]:
    """What two estimators have in common that saw the same pairs."""
    return row["task"], row["seed"]


def _name(key: Key) -> str:
    return " ".join(filter(None, key))


def _share(rows: Sequence[Row], which: Callable[[Row], bool]) -> float | None:
    return sum(map(which, rows)) / len(rows) if rows else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(columns) - 1) + "|"
    return "\n".join(["| " + " | ".join(columns) + " |", rule, *("| " + " | ".join(line) + " |" for line in cells)])
