"""The result type of every audit of an epsilon."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from ptaudit.stats.epsilon.rates import Guesses
from ptaudit.stats.epsilon.threshold import Threshold

Adjacency = Literal["add/remove", "replace-one"]
"""What one record is: a membership audit is add/remove, an attribute audit (one value or another) is replace-one."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class EpsilonBound:
    """The mechanism is not (epsilon, delta)-DP for any epsilon below `value`, with the given confidence.

    The statement is one-sided: a value of 0 says nothing was shown, never that the mechanism is private.

    Attributes:
        value: the lower bound on epsilon, at least 0.
        confidence: probability that such a bound holds, at least.
        delta: the delta of the epsilon.
        adjacency: the neighbours between which the games were played; hold `value` only against an epsilon of these.
        method: `clopper-pearson`, `gaussian-dp`, `one-run` or `one-run-gaussian`.
        n: games reported, of both kinds; of one run its canaries.
        rule: what decided the games, fixed before them: a threshold, or numbers of guesses.
        ceiling: the bound that games all won would have given; a larger epsilon cannot be seen with so few.
        rates: upper ends of false-positive and false-negative rate; None for one run.
        correct: guesses made and guesses right; None but for one run.
        mu: lower bound on the mu of Gaussian DP; None but for `gaussian-dp` and `one-run-gaussian`.
    """

    value: float
    confidence: float
    delta: float
    adjacency: Adjacency
    method: str
    n: int
    rule: Threshold | Guesses
    ceiling: float
    rates: tuple[float, float] | None = field(default=None, kw_only=True)
    correct: tuple[int, int] | None = field(default=None, kw_only=True)
    mu: float | None = field(default=None, kw_only=True)


def refuse_unless(delta: float, adjacency: str, confidence: float) -> None:
    """Delta, adjacency and confidence are possible ones.

    Raises:
        ValueError: they are not.
    """
    if not 0.0 <= delta < 1.0:
        raise ValueError(f"delta must be at least 0 and below 1, given {delta}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be between 0 and 1, given {confidence}")
    if adjacency not in get_args(Adjacency):
        raise ValueError(f"adjacency must be one of {', '.join(get_args(Adjacency))}, given {adjacency}")


def log_ratio(upper: float, lower: float) -> float:
    """log(upper / lower) where that is a bound above 0, and 0 elsewhere."""
    return 0.0 if upper <= lower else math.inf if lower <= 0.0 else math.log(upper / lower)
