"""What an audit will be able to show, in sentences: limits of detection, and what will be inconclusive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ptaudit.errors import listed
from ptaudit.report.document import Cell, Lines
from ptaudit.report.words import count
from ptaudit.spec.catalog import MODEL_VIEW

_NAMED = 4
"""Most views, or adversaries, that a sentence names."""


@dataclass(frozen=True)
class LimitEntry:
    """What a metric of a game will be able to show on a view, see `stats.foretold.Foretold`.

    Attributes:
        game: title of the game.
        view: name of the view, `model` included.
        metric: empty for all that the game reports.
        adversaries: of whom it is; empty for all who play, but for those that have a line of their own.
        n: number of units; 0 where that is not known.
        counts: what they are, in the plural.
        null: what a guess scores.
        detectable: the smallest value that could be told from that; NaN where that is only known after the run.
        ceiling: the largest value; NaN where there is none, or it is not known.
        why_not: why it will be inconclusive; empty if it need not be.
    """

    game: str
    view: str
    metric: str
    adversaries: tuple[str, ...]
    n: int
    counts: str
    null: float
    detectable: float
    ceiling: float
    why_not: str


@dataclass(frozen=True)
class GateLimit:
    """A gate that will probably be undecided, or cannot pass.

    Attributes:
        gate: its id.
        text: why, with what it needs.
        needed: about how many units would decide it; None where it is not a matter of their number.
    """

    gate: str
    text: str
    needed: int | None = None


def limits_block(limits: Sequence[LimitEntry], gates: Sequence[GateLimit]) -> Lines:
    """A sentence for each game and group of views of which the same is foretold, then one for each gate."""
    lines = [*_of_games(limits), *(Cell(f"gate {gate.gate} {gate.text}", "warn") for gate in gates)]
    return Lines("limit", "Foretold: what the audit will be able to show", tuple(lines), bullets=True)


def _of_games(limits: Sequence[LimitEntry]) -> Iterable[Cell]:
    alike: dict[tuple[str, tuple[LimitEntry, ...]], list[str]] = {}
    for game, view in dict.fromkeys((one.game, one.view) for one in limits):
        # NaN is not equal to itself, but a tuple of the same text is.
        mine = tuple(one for one in limits if (one.game, one.view) == (game, view))
        alike.setdefault((game, tuple(replace(one, view="") for one in mine)), []).append(view)
    for (game, entries), views in alike.items():
        where = "" if views == [MODEL_VIEW] else f" on {listed(views, _NAMED)}"
        for why in dict.fromkeys(one.why_not for one in entries if one.why_not):
            them = [one for one in entries if one.why_not == why]
            yield Cell(f"{_named(game, them)}{where}: inconclusive, whatever leaks: {why}", "warn")
        told = [one for one in entries if not one.why_not]
        if told:
            yield Cell(f"{game}{where}: {_told(told)}", "dim" if not any(map(_known, told)) else "")


def _known(entry: LimitEntry) -> bool:
    return math.isfinite(entry.detectable) or math.isfinite(entry.ceiling)


def _named(game: str, entries: Sequence[LimitEntry]) -> str:
    """The game, or its metrics, with who plays, where it is not all of them."""
    metrics = [f"{game}.{name}" for name in dict.fromkeys(one.metric for one in entries) if name]
    who = list(dict.fromkeys(name for one in entries for name in one.adversaries))
    return f"{' and '.join(metrics) or game}{f' by {listed(who, _NAMED)}' if who else ''}"


def _told(entries: Sequence[LimitEntry]) -> str:
    """All that is foretold of one game on one view, of so many units."""
    parts = []
    told = [one for one in entries if math.isfinite(one.detectable)]
    for n, counts in dict.fromkeys((one.n, one.counts) for one in told):
        of = ", ".join(_limit(one) for one in told if (one.n, one.counts) == (n, counts))
        parts.append(f"{count(n)} {counts} cannot tell from a guess: {of}")
    most = [one for one in entries if _known(one) and one not in told]
    parts += [f"{_who(one)} at most {one.ceiling:.3g}, however much leaks" for one in most]
    unknown = list(dict.fromkeys(one.metric for one in entries if not _known(one)))
    if unknown:
        what = f"the limit of {' and '.join(unknown)} is " if all(unknown) else ""
        parts.append(f"{what}only known after the run")
    return "; ".join(parts)


def _limit(entry: LimitEntry) -> str:
    """One metric: below what it cannot be told from a guess, and where it ends."""
    ends = f", of {entry.ceiling:.3g} at most" if entry.ceiling != 1.0 and math.isfinite(entry.ceiling) else ""
    told = f"{_who(entry)} below {entry.detectable:.2g} (a guess: {entry.null:.2g}{ends})"
    return f"{told}, which is more than it can be" if entry.detectable >= entry.ceiling else told


def _who(entry: LimitEntry) -> str:
    by = f" by {listed(entry.adversaries, _NAMED)}" if entry.adversaries else ""
    return f"{entry.metric}{by}"
