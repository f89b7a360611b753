"""How many guesses an audit in one run makes: a type, fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ptaudit.stats.epsilon.rates import scores


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
