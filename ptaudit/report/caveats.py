"""What a report does not show: sentences that go with every number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptaudit.errors import listed
from ptaudit.report.words import plural
from ptaudit.stats.estimate import NOT_COMPARABLE
from ptaudit.tables.status import ATTACK_LIMITED, MEANINGS, first_word, reason_of

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

LOWER_BOUND = "Attack scores are lower bounds: a stronger adversary may do better; a gate that holds is no proof."
ONE_SEED = "One seed: the noise of retraining is not in the intervals."
BOUNDS = (
    "mutual-information: infonce and nwj are lower bounds, sliced is of projections; ksg, gaussian, mine and smile may "
    "be too high."
)
INFINITE = (
    "mutual-information of continuous data with a noiseless gradient is infinite: its numbers are what n records tell."
)
_MOST_REASONS, _MOST_LAYERS = 3, 4


def caveats(run: Run) -> tuple[str, ...]:
    """The sentences for this run: what is badly wrong, fixed ones, its own warnings, then what is missing."""
    statuses = run.rows.text("status").counts()
    there = set(map(first_word, statuses))
    meanings = [f"{status}: {sentence}" for status, sentence in MEANINGS.items() if status in there]
    first = [text for text in meanings if text.startswith(ATTACK_LIMITED)]
    alarms = [str(text) for text in run.manifest.get("alarms", ())]
    sentences = [*alarms, LOWER_BOUND, *first, *_not_captured(run), *_not_comparable(statuses), *_not_run(statuses)]
    if len(run.manifest.get("seeds", (0, 0))) == 1:
        sentences.append(ONE_SEED)
    sentences += [str(warning) for warning in run.manifest.get("warnings", ())]
    if run.rows.instrument.any():
        sentences += [BOUNDS, INFINITE]
    sentences += meanings
    return tuple(dict.fromkeys(sentences))


def _not_captured(run: Run) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for layer in run.layers:
        if layer.capture == "none":
            by_reason.setdefault(layer.reason or "no reason given", []).append(layer.name)
    return [f"Not captured: {listed(names, _MOST_LAYERS)} ({reason})." for reason, names in by_reason.items()]


def _not_comparable(statuses: Mapping[str, int]) -> list[str]:
    """Which numbers compare two sides that differ for another reason."""
    reasons = Counter({status: n for status, n in statuses.items() if status.startswith(NOT_COMPARABLE)})
    return [f"{reason[0].upper()}{reason[1:]} ({plural(n, 'row')})." for reason, n in reasons.most_common()]


def _not_run(statuses: Mapping[str, int]) -> list[str]:
    """How many numbers could not be had, and why: the most frequent reasons."""
    reasons: Counter[str] = Counter()
    for status, rows in statuses.items():
        if first_word(status) == "inconclusive":
            reasons[reason_of(status)] += rows
    if not reasons:
        return []
    texts = [f"{reason} ({n})" for reason, n in reasons.most_common(_MOST_REASONS)]
    rest = len(reasons) - len(texts)
    texts += [plural(rest, "more reason")] if rest else []
    return [f"Inconclusive rows, never to be read as 0: {'; '.join(texts)}."]
