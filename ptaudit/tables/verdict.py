"""What a gate decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptaudit.spec.catalog import Limit

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """The outcome of one gate and the row that decided it; fields of an entry of `gates.json`.

    Attributes:
        id: the gate's name in the spec.
        metric: `game.metric`.
        view: name of the view.
        over: `layers`, `joint`, `all` or a glob pattern.
        epoch: `last`, `first`, `all`, `max` or a number.
        threshold: the `max`, `max_share` or `max_increase` of the spec.
        kind: which of the three.
        outcome: `pass`, `fail` or `inconclusive`.
        worst_layer: layer of the largest value among the rows that decided.
        worst_epoch: its epoch.
        worst_adversary: its adversary.
        value: its value; for `max_share` over its ceiling, for `max_increase` run minus baseline.
        lo: its simultaneous lower bound, NaN where it could not be measured.
        hi: its simultaneous upper bound.
        rows: number of rows that the gate looked at.
        reason: the outcome in words.
        advice: for a failed gate, what was measured to stay below the threshold, for an undecided one, what would
            decide it; None if nothing did, or is known to.
        trained_with: the training that was looked at: `none`, or one with a defense.
        worst_knows: what the adversary of the largest value knows of the records.
        limited: number of its rows that nothing but their adversary limits: no noise, and far from the ceiling.
        n: records (or users, or canaries) behind the row that decided.
        needed: about how many of them would decide a gate that is between; None where it is not, or nobody can say.
    """

    id: str
    metric: str
    view: str
    over: str
    epoch: str | int
    threshold: float
    kind: Limit
    outcome: Outcome
    worst_layer: str
    worst_epoch: int
    worst_adversary: str
    value: float
    lo: float
    hi: float
    rows: int
    reason: str
    advice: str | None = None
    trained_with: str = "none"
    worst_knows: str = "none"
    limited: int = 0
    n: int = 0
    needed: int | None = None

    @property
    def game(self) -> str:
        """Game of the metric."""
        return self.metric.partition(".")[0]

    @property
    def warning(self) -> str:
        """What a gate that passed on rows without noise does not say; empty where there are none."""
        if self.outcome != "pass" or not self.limited:
            return ""
        some = "these rows" if self.limited == self.rows else f"{self.limited} of {self.rows} rows"
        return f"nothing but this adversary limits {some}"
