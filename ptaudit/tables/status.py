"""The word at the end of a row: what to be careful of, and in which order.

A row has one status, the most specific that is true of it: `ok`, one of `MEANINGS`, or, where there is no number that
means what it says, one of `WITH_REASON` with a colon and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ptaudit.spec.metrics import metric
from ptaudit.stats.estimate import NEARLY_ALL, NOT_COMPARABLE, OK, Estimate

if TYPE_CHECKING:
    from ptaudit.tables.row import Row

ATTACK_LIMITED, SKETCH_LIMITED = "attack-limited", "sketch-limited"
MEANINGS = {
    ATTACK_LIMITED: "nothing but this adversary limits what is found: no noise hides the rest.",
    "dim-limited": "the largest sketch won; an adversary with the full gradient may do better.",
    SKETCH_LIMITED: "the adversary saw a sketch of the gradient alone; one with the full gradient may do better.",
    "data-limited": "the adversary does better with more records or batches of its own to learn from.",
    "saturated": "within one bit of the ceiling, or (ksg) still rising with the records: more of them could show more.",
}
"""What a status means for the reader, the one that asks for least caution first."""
LIMITED = tuple(status for status in MEANINGS if status != "saturated")
"""Statuses that say that another adversary may do better, the least specific first."""
BY_WEIGHT = (OK, *MEANINGS)
WITH_REASON = ("inconclusive", "not captured", NOT_COMPARABLE)
_KNOWS_ALL = ("exact",)
"""Adversaries whose posterior is in closed form: none is stronger."""


def first_word(status: str) -> str:
    """A status without its reason: `ok`, `dim-limited`, `inconclusive`, `not captured`, ..."""
    return status.partition(":")[0].strip()


def reason_of(status: str) -> str:
    """The reason of a status; empty where it has none."""
    return status.partition(":")[2].strip()


def is_known(status: str) -> bool:
    """Whether there is such a status."""
    return status in BY_WEIGHT or status.startswith(tuple(f"{word}: " for word in WITH_REASON))


def is_number(status: str) -> bool:
    """Whether a row of this status holds a number."""
    return not status.startswith(WITH_REASON)


def is_silent(status: str) -> bool:
    """Whether a row of this status is about a layer that gets no gradient, so that nobody learns anything from it."""
    return status.startswith("not captured: unused")


def worst_status(statuses: Iterable[str]) -> str:
    """The status that asks for most caution, in the order above; of those without a number the first."""
    ranked = [(BY_WEIGHT.index(s) if s in BY_WEIGHT else len(BY_WEIGHT), s) for s in statuses]
    heaviest = max(rank for rank, _ in ranked)
    return next(status for rank, status in ranked if rank == heaviest)


def limited_by_attack(row: Row) -> Row:
    """A row of a view without noise, as `attack-limited` where nothing but its adversary keeps it from the ceiling.

    A more specific status stays. Adversaries that are wrong about the view and bounds say nothing of the kind.
    """
    scored = row.measured and row.adaptive and metric(row.metric).score and row.adversary not in _KNOWS_ALL
    # Of a row without a ceiling nobody can say how far it is from it: the comparison with NaN is false.
    limited = scored and row.status == OK and row.value < NEARLY_ALL * row.ceiling
    return replace(row, status=ATTACK_LIMITED) if limited else row


def limited_by_sketch(estimate: Estimate) -> Estimate:
    """An estimate of the identity game without noise, as `sketch-limited` where it is far from its ceiling.

    A sketch of a few hundred numbers loses the algebra of a gradient: its row space, its zero rows and columns. From
    these an adversary with whole gradients names nearly every record of a small batch, whatever is found in sketches;
    without noise nothing keeps it from that. A status that asks for more caution stays.
    """
    # Of an estimate that is inconclusive the comparison is false: its value is NaN.
    if not estimate.value < NEARLY_ALL * estimate.ceiling:
        return estimate
    return replace(estimate, status=worst_status([estimate.status, SKETCH_LIMITED]))


def never_below_identity(rows: Sequence[Row], identity: Collection[str], bounded: Callable[[Row], bool]) -> list[Row]:
    """The rows of one epoch, none of which stands as `ok` below what is known to be there.

    Naming the record in a batch takes information about the record: I(X;G) is at least the bits of the identity game
    of the same view, layer and training. An estimate of it below them is limited by its estimator.

    Args:
        rows: all rows of an epoch.
        identity: the identity games by the names that they have in the tables.
        bounded: whether a row in bits is about something of which there is as much as the identity game finds.
    """
    known: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.game in identity and row.metric == "bits" and row.measured and row.adaptive and row.knows == "none":
            place = (row.layer, row.view, row.trained_with)
            known[place] = max(row.value, known.get(place, 0.0))

    def judged(row: Row) -> Row:
        least = known.get((row.layer, row.view, row.trained_with), 0.0)
        least = least if math.isnan(row.ceiling) else min(least, NEARLY_ALL * row.ceiling)
        wrong = row.status == OK and row.metric == "bits" and row.measured and row.value < least and bounded(row)
        return replace(row, status=ATTACK_LIMITED) if wrong else row

    return [judged(row) for row in rows]
