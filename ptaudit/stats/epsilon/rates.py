"""Error rates of a threshold with their joint upper ends: what both bounds on played games start from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv

GameScores = NDArray[np.float64]

_DISTINCT = 10


def scores(given: ArrayLike, what: str) -> GameScores:
    """A row of scores; infinite ones are fine.

    Raises:
        ValueError: it is no row, or a score is not a number.
    """
    found = np.asarray(given, dtype=np.float64)
    if found.ndim != 1 or np.isnan(found).any():
        raise ValueError(f"scores of {what} must be one row of numbers, given shape {found.shape}, or NaN among them")
    return found


def fingerprints(*rows: GameScores) -> frozenset[str]:
    """What recognises rows of scores, in whatever order; rows of few distinct values have none: they repeat by chance.

    That is how the very games a threshold was chosen on are refused. A part of a row is not recognised.
    """
    distinct = (np.sort(row) for row in rows if len(np.unique(row)) > _DISTINCT)
    return frozenset(hashlib.sha256(row.tobytes()).hexdigest() for row in distinct)


def upper(errors: ArrayLike, games: int, confidence: float) -> NDArray[np.float64]:
    """One-sided Clopper-Pearson upper ends of rates, of which TWO hold together with `confidence` (Bonferroni).

    Args:
        errors: numbers of errors, of any shape.
        games: number of games they are of; with none the rate may be anything up to 1.
        confidence: of both ends together.

    Returns:
        Upper ends, of the shape of `errors`.
    """
    count = np.asarray(errors)
    if games == 0:
        return np.ones(count.shape)
    tail = (1.0 - confidence) / 2.0
    # The beta distribution wants positive parameters also where the answer is known.
    found = betainccinv(count + 1.0, np.maximum(games - count, 1), tail)
    return np.where(count >= games, 1.0, found)


def error_rates(threshold: float, h0: GameScores, h1: GameScores, confidence: float) -> tuple[float, float]:
    """Joint upper ends of the false-positive rate (h0 at or above) and the false-negative rate (h1 below)."""
    false_positive = upper(int((h0 >= threshold).sum()), len(h0), confidence)
    false_negative = upper(int((h1 < threshold).sum()), len(h1), confidence)
    return float(false_positive), float(false_negative)


@dataclass(frozen=True)
class Guesses:
    """Numbers of guesses, not depending on the canaries they are reported on.

    Attributes:
        first: canaries with the highest scores that are guessed to have secret 1 (member; second value).
        zeroth: canaries with the lowest scores that are guessed to have secret 0. The others are abstained from.
    """

    first: int
    zeroth: int

    def __post_init__(self) -> None:
        if min(self.first, self.zeroth) < 0:
            raise ValueError(f"numbers of guesses must be at least 0, given {self.first} and {self.zeroth}")

    @property
    def made(self) -> int:
        """All guesses."""
        return self.first + self.zeroth


def count_correct(guesses: Guesses, canary_scores: ArrayLike, secrets: ArrayLike, seed: int) -> int:
    """Guess the canaries of one run and count the right ones.

    Equal scores are put in a drawn order, since the order they come in may follow the secret.

    Args:
        guesses: how many to make.
        canary_scores: (m,) higher = more like secret 1.
        secrets: (m,) 0 or 1.
        seed: of the order of equal scores.

    Returns:
        Number of right guesses.

    Raises:
        ValueError: more guesses than canaries, NaN scores, or secrets that are not 0 and 1.
    """
    found, truth = scores(canary_scores, "canaries"), np.asarray(secrets)
    if truth.shape != found.shape or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"secrets must be {len(found)} zeros and ones, given shape {truth.shape}")
    if guesses.made > len(found):
        raise ValueError(f"{guesses.made} guesses about {len(found)} canaries")
    order = np.lexsort((np.random.default_rng(seed).random(len(found)), found))
    highest, lowest = order[len(found) - guesses.first :], order[: guesses.zeroth]
    return int((truth[highest] == 1).sum() + (truth[lowest] == 0).sum())
