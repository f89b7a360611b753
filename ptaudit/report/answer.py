"""The answer of a run in sentences for people who know no metric, each made of rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptaudit.errors import listed
from ptaudit.report.words import is_null, number, share
from ptaudit.spec.catalog import JOINT, MODEL_VIEW
from ptaudit.spec.game import GameSpec
from ptaudit.spec.metrics import metric
from ptaudit.spec.registry import GAMES
from ptaudit.tables.defenses import title_of
from ptaudit.tables.ranking import noise_halves
from ptaudit.tables.row import Row
from ptaudit.tables.spec import games_of, views_of
from ptaudit.tables.status import ATTACK_LIMITED

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict

_CERTAIN = 0.995
_MOST_VIEWS = 5
_CUT, _OF_VALUE = 0.01, 0.1
"""Half of an interval from which on it is told: so much, or so large a part of the value."""
_BLIND = 0.25
"""A limit of detection above this share of what could be found says little."""


_TIED = 3
"""Digits of a share by which games are put in order: those beyond are lost in the tables that are read again."""


@dataclass(frozen=True)
class Finding:
    """What one view gives away in one game.

    Attributes:
        row: the strongest adversary's number of all layers jointly at the last epoch, in a metric that can be told.
        scale: the number that other tables, maps and courses show of the same: that in bits where there is one. An
            accuracy has no ceiling of its own: of a class that nobody can name in a sum, 14 % may be half of all.
        shown: what the adversary sees, in words.
        rate: how well it does, in words.
    """

    row: Row
    scale: Row
    shown: str
    rate: str

    @property
    def knowing(self) -> str:
        """To whom, where that is not somebody who knows no record: `to one who knows the rest of the record`."""
        knows = self.row.knows
        return "" if knows == "none" else f"to one who knows {_KNOWN.get(knows, knows)}"

    @property
    def part(self) -> float:
        """The share of what could be found; 0 where nothing was, -1 where it cannot be said."""
        found = share(self.scale)
        return -1.0 if found is None else found * (not is_null(self.scale))


@dataclass(frozen=True)
class Answer:
    """What one game found in all views, the worst first.

    Attributes:
        game: its name in the tables.
        findings: a view each.
        text: all of it in a sentence.
    """

    game: str
    findings: tuple[Finding, ...]
    text: str

    @property
    def worst(self) -> float:
        """The largest share of what could be found, see `Finding.part`."""
        return max(one.part for one in self.findings)


def answers(run: Run) -> tuple[Answer, ...]:
    """An answer for each game that was played and has one, the worst first."""
    views, games = views_of(run.spec_text), games_of(run.spec_text)
    rows = run.rows.as_trained
    here = rows.where(layer=JOINT, epoch=rows.last_epoch)
    found = []
    for (game,) in here.distinct("game"):
        info = GAMES.get(str(games.get(game, {}).get("name", game)))
        there = list(here.where(game=game))
        told = list(_told(info, there)) if info else []
        if info and told:
            findings = [
                Finding(row, _scale(row, there), view_words(row.view, views.get(row.view)), rate(row)) for row in told
            ]
            findings = [replace(one, shown=f"{one.shown} ({one.knowing})") if one.knowing else one for one in findings]
            findings.sort(key=lambda one: -round(share(one.row) or 0.0, _TIED))
            said = info.finds.format(candidates=_candidates(there))
            found.append(Answer(game, tuple(findings), _sentence(findings, said)))
    return tuple(sorted(found, key=lambda answer: -round(answer.worst, _TIED)))


def _told(info: type[GameSpec], rows: Sequence[Row]) -> Iterable[Row]:
    """Of each view and knowledge the strongest row of the first metric that can be told in plain words; of one in which
    nothing was found only if nothing was found in the others."""
    places = dict.fromkeys((row.view, row.knows) for row in rows if row.adaptive) if info.finds else ()
    for view, knows in places:
        there = [row for row in rows if (row.view, row.knows) == (view, knows) and row.adaptive and row.measured]
        best = [row for name in info.told_by for row in _strongest([one for one in there if one.metric == name])]
        yield from [*(row for row in best if not is_null(row)), *best][:1]


def _strongest(rows: Sequence[Row]) -> Sequence[Row]:
    """The adversary of the highest lower bound; of estimators the first."""
    instruments = [row for row in rows if row.instrument]
    return instruments[:1] or sorted(rows, key=lambda row: -row.lo)[:1]


def _scale(row: Row, rows: Iterable[Row]) -> Row:
    """The strongest adversary's bits in the same view, knowing as much; the row itself where there are none."""
    bits = [one for one in rows if one.metric == "bits" and (one.view, one.knows) == (row.view, row.knows)]
    scored = [one for one in bits if one.adaptive and one.measured and not one.instrument]
    return row if row.instrument else max(scored, key=lambda one: one.lo, default=row)


def _candidates(rows: Iterable[Row]) -> str:
    """Among how many the adversary looks: the ceiling of a view without noise is the logarithm of it."""
    counts = [2.0**row.ceiling for row in rows if row.metric == "bits" and 0 < row.ceiling < 60]
    whole = [round(one) for one in counts if round(one) > 1 and abs(one - round(one)) < 1e-4 * one]
    return f"{max(whole):,}" if whole else "its candidates"


def _sentence(findings: Sequence[Finding], said: str) -> str:
    """`One shared gradient of one record names it among 224 for certain; a batch of 32 in 98 % of tries.`"""
    first, *others = findings
    shown = others[: _MOST_VIEWS - 1]
    known = first.knowing if len({one.row.knows for one in findings}) == 1 else ""
    seen = {one: one.shown.removesuffix(f" ({known})") for one in findings}
    start = f"{known}, {seen[first]}" if known else seen[first]
    parts = [f"{start[0].upper()}{start[1:]} {said} {first.rate}"]
    parts += [f"{seen[one]}{':' * brief[0].isdigit()} {brief}" for one in shown if (brief := _brief(one, first))]
    rest = len(others) - len(shown)
    parts += [f"and {rest} view{'s' * (rest > 1)} more"] if rest else []
    return "; ".join([*parts, *_guesses([one.row for one in findings])]) + "."


def _brief(one: Finding, first: Finding) -> str:
    """A rate, without its unit where that is the one that was just named."""
    same = one.row.metric == first.row.metric
    return one.rate.removesuffix(_UNITS.get(one.row.metric, "")) if same else one.rate


def _guesses(rows: Sequence[Row]) -> Iterable[str]:
    """What a mere guess reaches, in each kind of number that is told."""
    several = len({row.metric for row in rows}) > 1
    for name in dict.fromkeys(row.metric for row in rows):
        nulls = [row.null for row in rows if row.metric == name]
        unit = _UNITS.get(name, "") if several else ""
        if name == "auc":
            yield f"a coin in 50 %{unit}"
        elif name == "accuracy" and all(map(math.isfinite, nulls)):
            low, high = min(nulls), max(nulls)
            yield f"a mere guess in {_percents(low) if high - low < _CUT else _percents(low, high)}{unit}"


def rate(row: Row) -> str:
    """How well the adversary does, in words; where it is no better than a guess, what would have been seen."""
    if is_null(row):
        return f"{_nothing(row)}{_as_far_as(row)}{limit_text(row)}"
    if row.metric == "accuracy":
        surely = row.value >= _CERTAIN and row.lo >= _CERTAIN - _CUT
        return "for certain" if surely else f"in {_percent(row)} of tries"
    if row.metric == "auc":
        return f"in {_percent(row)} of pairs"
    if row.metric == "epsilon_lo":
        return f"so that epsilon is at least {number(row.lo)}"
    if part := _counted(row):
        return f"{_percent(row)} {part}"
    digits = metric(row.metric).digits
    of = f" of {number(row.ceiling, digits)}" if math.isfinite(row.ceiling) else ""
    return f"{number(row.value, digits)}{of} {metric(row.metric).unit}"


def _counted(row: Row) -> str:
    """Of what the value of a row is a share, in words: `of the records`; empty where it is not told as one."""
    unit = metric(row.metric).unit
    shared = row.metric not in _UNITS and unit.startswith("share of ")
    return unit.removeprefix("share ").partition(",")[0] if shared else ""


def _nothing(row: Row) -> str:
    part = _counted(row)
    return f"no more {part} than a guess" if part else "no better than a guess"


def _as_far_as(row: Row) -> str:
    """Of a row in which nothing was found: that it could hardly have been otherwise, where that is so."""
    part = share(replace(row, value=_limit(row)))
    return " as far as this run could see" if part is None or part > _BLIND else ""


def limit_text(row: Row) -> str:
    """What a row that found nothing would not have seen: ` (below 54 % could not be seen)`."""
    limit = _limit(row)
    if not math.isfinite(limit):
        return " (how little could be seen is not known)"
    if limit >= row.ceiling:
        return " (nothing could have been seen)"
    return f" (below {value_text(row, limit)} could not be seen)"


def _limit(row: Row) -> float:
    """The smallest value that would have been seen, which is none below what one has who sees nothing."""
    prior = metric(row.metric).prior
    if prior is None or not row.detectable < prior:
        return row.detectable
    return prior + row.detectable - row.null


def value_text(row: Row, value: float) -> str:
    """A value in the unit of a row: percent of tries, pairs or whatever it is a share of, else the number."""
    if row.metric in _UNITS or _counted(row):
        return _percents(value)
    return f"{number(value, 3)} {metric(row.metric).unit}" if row.metric == "bits" else number(value, 3)


def _percent(row: Row) -> str:
    told = max(row.value - row.lo, row.hi - row.value) >= min(_CUT, _OF_VALUE * abs(row.value))
    return f"{_percents(row.value)} ({_percents(row.lo, row.hi)})" if told else _percents(row.value)


def _percents(*parts: float) -> str:
    """Shares in percent, small ones with a decimal: `0.4 %`, `97 to 99 %`."""
    small = max(map(abs, parts)) < 0.1
    return f"{' to '.join(f'{100 * part:.1f}' if small else f'{100 * part:.0f}' for part in parts)} %"


_UNITS = {"accuracy": " of tries", "auc": " of pairs"}
_KNOWN = {
    "others": "all its other records",
    "pool": "the records that batches are drawn from",
    "rest": "the rest of the record",
    "batch_norm": "the statistics of the batch",
}


def view_words(name: str, view: Mapping[str, Any] | None) -> str:
    """What an adversary sees, in words: `a batch of 32 with defense dp-1`; a view of which nothing is known by name."""
    if name == MODEL_VIEW:
        return "the trained model"
    if view is None or "batch_size" not in view:
        return f"view {name}"
    size, users, rounds = (int(view.get(key) or 1) for key in ("batch_size", "users", "rounds"))
    update = view.get("update") or {}
    records = "one record" if size == 1 else f"{size} records"
    if update:
        said = f"one federated update of {records} in {update.get('local_steps')} steps"
    else:
        said = "one shared gradient of one record" if size == 1 else f"a batch of {size}"
    said += f", summed over {users} users" if users > 1 else ""
    same = " of the same records" if view.get("fixed_batch") else ""
    said += f", seen in {rounds} rounds{same}" if rounds > 1 else ""
    said += f", of {listed(list(map(str, view['layers'])), 3)} alone" if view.get("layers") else ""
    return said + (f" with defense {title_of(view['defense'])}" if view.get("defense") else "")


def noise_sentence(run: Run) -> str:
    """What would hide half of what is found without noise; empty where that was not measured."""
    rows = run.rows.as_trained
    views = views_of(run.spec_text)
    found = noise_halves(rows.where(layer=JOINT, epoch=rows.last_epoch, knows="none")).values()
    bare = [row for row in found if not (views.get(row.view) or {}).get("defense")]
    if not bare:
        return ""
    first, *others = [(f"{row.value:.2g}", view_words(row.view, views.get(row.view))) for row in bare]
    said = f"noise of {first[0]} of a typical gradient would halve what is found in {first[1]}"
    return f"Nothing hides these records; {', '.join([said, *(f'of {noise} in {seen}' for noise, seen in others)])}."


def limited(found_by_game: Sequence[Answer], most: int = 9) -> str:
    """Of which views nothing but the adversaries of the run keeps a number from being larger; empty if of none."""
    cases = [one for answer in found_by_game for one in answer.findings if one.scale.status == ATTACK_LIMITED]
    places = dict.fromkeys(f"{one.scale.game} of {one.scale.view}" for one in cases)
    if not places:
        return ""
    return f"No noise hides the rest in {listed(list(places), most)}: others may find more."


def unmeasured(run: Run) -> str:
    """Of which views which games have no number of all layers jointly at the last epoch; empty where all have one."""
    rows = run.rows.as_trained
    here = [row for row in rows.where(layer=JOINT, epoch=rows.last_epoch) if row.adaptive]
    known = {(row.game, row.view) for row in here if row.measured}
    blank = [f"{game} of {view}" for game, view in dict.fromkeys((row.game, row.view) for row in here)
             if (game, view) not in known]  # fmt: skip
    return f"Not measured, and not to be read as safe: {listed(blank, 4)}." if blank else ""


def ungated(found_by_game: Sequence[Answer], verdicts: Sequence[Verdict]) -> str:
    """Which views give something away that no gate asks about; empty without gates."""
    asked = {verdict.view for verdict in verdicts}
    found = (one.row.view for answer in found_by_game for one in answer.findings if not is_null(one.row))
    views = [view for view in dict.fromkeys(found) if view not in asked]
    return f"No gate asks about {listed(views, 4)}." if asked and views else ""
