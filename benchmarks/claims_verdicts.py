"""Published claims about gradients, each decided from a table of leakage: pure functions of data frames.

Every frame has the columns of `leakage.csv`, `data` (which run) and `draws` (the bootstrap replicates, or None). A
verdict is `holds` or `does not hold` only where the 95 % intervals say so, else `undecided`. Rows of one training share
their resampled records, so that their difference is taken draw by draw; between two trainings, and without draws, the
two intervals are put together (MOVER, Zou and Donner 2008).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ptaudit.spec.catalog import NO_DEFENSE

JOINT = "*"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

NEGLIGIBLE = 0.01
"""Share of the ceiling below which nothing is left to find."""

SAFE = 0.5
"""A defense looks safe where it leaves at most this share of the undefended bits."""


@dataclass(frozen=True)
class Finding:
    """What one run says of one claim.

    Attributes:
        data: which run.
        about: game, layer or defense.
        figures: the numbers, with their intervals.
        verdict: `holds`, `does not hold` or `undecided`.
    """

    data: str
    about: str
    figures: str
    verdict: str


Interval = tuple[float, float, float]
"""Value, lower and upper end."""


def difference(one: Interval, other: Interval) -> Interval:
    """One minus the other with the interval of independent estimates."""
    value = one[0] - other[0]
    below = math.hypot(one[0] - one[1], other[2] - other[0])
    above = math.hypot(one[2] - one[0], other[0] - other[1])
    return value, value - below, value + above


def gap(one: pd.Series, other: pd.Series) -> Interval:
    """The difference of two rows of one training, by their draws where both vary."""
    value = float(one.value - other.value)
    if one.get("draws") is None or other.get("draws") is None or min(np.std(one.draws), np.std(other.draws)) == 0.0:
        return difference(interval(one), interval(other))
    lo, hi = np.quantile(np.asarray(one.draws) - np.asarray(other.draws), [0.025, 0.975])
    return value, float(lo), float(hi)


def sign(found: Interval, least: float = 0.0) -> str:
    """Whether a difference is above `least` for certain, below for certain, or neither."""
    return HOLDS if found[1] > least else FAILS if found[2] < least else UNDECIDED


def text(found: Interval) -> str:
    """Value and interval."""
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


def strongest(frame: pd.DataFrame, *, static: bool = False) -> pd.Series | None:
    """The row of the adversary with the largest lower end, among those that could play; None of none."""
    there = frame[(frame.knowledge.eq("static") == static) & frame.value.notna()]
    there = there[~there.status.str.startswith(("inconclusive", "not captured"))]
    return None if there.empty else there.loc[there.lo.idxmax()]


def interval(row: pd.Series) -> Interval:
    """Value and ends of a row."""
    return float(row.value), float(row.lo), float(row.hi)


def joint_bits(frame: pd.DataFrame) -> pd.DataFrame:
    """Bits of all layers jointly at the last epoch of each run."""
    last = frame.groupby("data").epoch.transform("max")
    return frame[(frame.epoch == last) & (frame.layer == JOINT) & (frame.metric == "bits")]


def swept(frame: pd.DataFrame, view: str, letters: str) -> Iterator[tuple[str, str, dict[int, pd.Series]]]:
    """(data, game, number to row) of every game over the views VIEW-m1, VIEW-m8, ..., smallest first."""
    frame = frame[frame.trained_with == NO_DEFENSE]
    pattern = re.compile(rf"{view}-[{letters}](\d+)")
    for (data, game), group in joint_bits(frame).groupby(["data", "game"], sort=False):
        found = {}
        for name, rows in group.groupby("view", sort=False):
            match, row = pattern.fullmatch(str(name)), strongest(rows)
            if match and row is not None:
                found[int(match[1])] = row
        if len(found) > 1:
            yield str(data), str(game), dict(sorted(found.items()))


def _figures(found: dict[int, pd.Series], letter: str) -> str:
    return ", ".join(f"{letter} {number}: {text(interval(row))}" for number, row in found.items())


# The claims


def aggregation(frame: pd.DataFrame) -> list[Finding]:
    """Aggregation alone does not stop inference: more than next to nothing is left in the largest batch played."""
    found = []
    for data, game, rows in swept(frame, "batch", "mu"):
        most = rows[max(rows)]
        least = max(0.0, float(most.null))
        gone = most.hi <= NEGLIGIBLE * most.ceiling
        verdict = FAILS if gone else HOLDS if most.lo > least else UNDECIDED
        found.append(Finding(data, game, _figures(rows, "m" if "-m" in most.view else "users"), verdict))
    return found


def rounds(frame: pd.DataFrame) -> list[Finding]:
    """More rounds help the adversary."""
    return [
        Finding(data, game, _figures(rows, "r"), sign(gap(rows[max(rows)], rows[min(rows)])))
        for data, game, rows in swept(frame, "rounds", "r")
    ]


def batches(frame: pd.DataFrame) -> list[Finding]:
    """Larger batches reduce what is found."""
    return [
        Finding(data, game, _figures(rows, "m"), sign(gap(rows[min(rows)], rows[max(rows)])))
        for data, game, rows in swept(frame, "batch", "m")
    ]


@dataclass(frozen=True)
class DefendedRun:
    """One game under one defense, by who knows of it and who does not, beside no defense."""

    data: str
    game: str
    view: str
    defense: str
    plain: Interval
    adaptive: Interval | None
    static: Interval | None

    @property
    def about(self) -> str:
        """Game and view."""
        return f"{self.game}, {self.view}"

    def safe(self, found: Interval) -> str:
        """Whether at most half of the undefended bits are left; `undecided` where there were none to begin with."""
        if self.plain[1] <= 0.0:
            return UNDECIDED
        return sign(difference(tuple(SAFE * x for x in self.plain), found))  # type: ignore[arg-type]


def arms(frame: pd.DataFrame, kind: str = "") -> list[DefendedRun]:
    """Every game under every defense whose title begins with `kind`."""
    found = []
    for (data, game), group in joint_bits(frame).groupby(["data", "game"], sort=False):
        for view, title in group[["view", "trained_with"]].drop_duplicates().itertuples(index=False):
            plain = strongest(group[(group.view == view) & (group.trained_with == NO_DEFENSE)])
            if not title.startswith(kind) or title == NO_DEFENSE or plain is None:
                continue
            here = group[(group.view == view) & (group.trained_with == title)]
            rows = [strongest(here, static=static) for static in (False, True)]
            both = [None if row is None else interval(row) for row in rows]
            found.append(DefendedRun(str(data), str(game), str(view), str(title), interval(plain), *both))
    return found


def look_safe(frame: pd.DataFrame) -> list[Finding]:
    """Pruning and sign look safe only against the static adversary: half is gone for it, not for the adaptive one."""
    found = []
    for arm in [*arms(frame, "prune"), *arms(frame, "sign")]:
        if arm.adaptive is None or arm.static is None:
            continue
        looks, is_safe = arm.safe(arm.static), arm.safe(arm.adaptive)
        wrong = looks == FAILS or is_safe == HOLDS
        verdict = FAILS if wrong else HOLDS if (looks, is_safe) == (HOLDS, FAILS) else UNDECIDED
        figures = f"undefended {text(arm.plain)}, static {text(arm.static)}, adaptive {text(arm.adaptive)}"
        found.append(Finding(arm.data, f"{arm.about}, {arm.defense}", figures, verdict))
    return found


def privacy(frame: pd.DataFrame) -> list[Finding]:
    """DP is what holds: some noise leaves at most half to the adaptive adversary, and no pruning or sign does."""
    every = [arm for arm in arms(frame) if arm.adaptive is not None]
    found = []
    for data, about in dict.fromkeys((arm.data, arm.about) for arm in every):
        here = {arm.defense: arm for arm in every if (arm.data, arm.about) == (data, about)}
        verdicts = {title: arm.safe(arm.adaptive) for title, arm in here.items() if arm.adaptive is not None}
        noise = [verdict for title, verdict in verdicts.items() if title.startswith("dp")]
        other = [verdict for title, verdict in verdicts.items() if title.startswith(("prune", "sign"))]
        if not noise or not other:
            continue
        if HOLDS in noise and set(other) == {FAILS}:
            verdict = HOLDS
        else:
            verdict = FAILS if set(noise) == {FAILS} or HOLDS in other else UNDECIDED
        figures = [f"{title} {text(arm.adaptive)}" for title, arm in here.items() if arm.adaptive is not None]
        plain = next(iter(here.values())).plain
        found.append(Finding(data, about, f"undefended {text(plain)}, " + ", ".join(figures), verdict))
    return found


def dropout(frame: pd.DataFrame) -> list[Finding]:
    """Dropout reduces what is found."""
    return [
        Finding(
            arm.data, f"{arm.about}, {arm.defense}", f"without {text(arm.plain)}, with {text(arm.adaptive)}",
            sign(difference(arm.plain, arm.adaptive)),
        )
        for arm in arms(frame, "dropout")
        if arm.adaptive is not None
    ]  # fmt: skip


def first_dense(layers: pd.DataFrame) -> str | None:
    """The first fully connected layer after the last convolution; None where there is no such pair."""
    order = layers.drop_duplicates("layer").sort_values("layer_index")
    extractor = order[order.layer_type.str.startswith("Conv")]
    if extractor.empty:
        return None
    dense = order[(order.layer_type == "Linear") & (order.layer_index > extractor.layer_index.max())]
    return None if dense.empty else str(dense.layer.iloc[0])


def latent(frame: pd.DataFrame) -> list[Finding]:
    """The fully connected layer after the feature extractor carries most of what is latent: more than any other."""
    return list(_most(frame[(frame.game == "usable-information") & (frame.metric == "bits")], first_dense))


def original(frame: pd.DataFrame) -> list[Finding]:
    """The first layer carries most of the original input: its gradient moves most with it."""
    moved = frame[frame.metric == "input_sensitivity"]
    return list(_most(moved, lambda layers: str(layers.layer[layers.layer_index.idxmin()])))


def _most(frame: pd.DataFrame, named: Callable[[pd.DataFrame], str | None]) -> Iterator[Finding]:
    frame = frame[(frame.layer != JOINT) & (frame.epoch == frame.groupby("data").epoch.transform("max"))]
    for (data, adversary), group in frame.groupby(["data", "adversary"], sort=False):
        rows = {str(layer): strongest(lines) for layer, lines in group.groupby("layer", sort=False)}
        there = {layer: row for layer, row in rows.items() if row is not None}
        claimed = named(group)
        if claimed not in there or len(there) < 2:
            continue
        verdicts = [sign(gap(there[claimed], found)) for layer, found in there.items() if layer != claimed]
        verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
        figures = ", ".join(f"`{layer}` {text(interval(found))}" for layer, found in there.items())
        yield Finding(str(data), f"{adversary}: `{claimed}`", figures, verdict)


CLAIMS: dict[str, tuple[str, Callable[[pd.DataFrame], list[Finding]]]] = {
    "aggregation": ("Aggregation alone does not stop inference", aggregation),
    "rounds": ("More rounds help the adversary", rounds),
    "static": ("Pruning and sign look safe only against the static adversary", look_safe),
    "privacy": ("DP is what holds", privacy),
    "latent": ("The fully connected layer after the extractor carries most latent information", latent),
    "original": ("The first layer carries most original information", original),
    "batches": ("Larger batches reduce leakage", batches),
    "dropout": ("Dropout reduces leakage", dropout),
}
"""Name (the mark on the page) to the claim in words and what decides it."""
