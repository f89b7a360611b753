"""The answer of a run in sentences for people who know no metric, each made of rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict

_CERTAIN = 0.995
_MOST_VIEWS = 5
_CUT = 0.01
"""Half of an interval from which on it is told."""


@dataclass(frozen=True)
class Finding:
    """What one view gives away in one game.

    Attributes:
        row: the strongest adversary's number of all layers jointly at the last epoch, in a metric that can be told.
        shown: what the adversary sees, in words.
        rate: how well it does, in words.
    """

    row: Row
    shown: str
    rate: str


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
        """The largest share of what could be found; 0 where nothing was, -1 where nothing could be measured."""
        return max(-1.0 if (part := share(one.row)) is None else part * (not is_null(one.row)) for one in self.findings)


def answers(run: Run) -> tuple[Answer, ...]:
    """An answer for each game that was played and has one, the worst first."""
    views, games = views_of(run.spec_text), games_of(run.spec_text)
    rows = run.rows.as_trained
    here = rows.where(layer=JOINT, epoch=rows.last_epoch)
    found = []
    for (game,) in here.distinct("game"):
        info = GAMES.get(str(games.get(game, {}).get("name", game)))
        told = list(_told(info, list(here.where(game=game)))) if info else []
        if info and told:
            findings = [Finding(row, _shown(row, views), rate(row)) for row in told]
            findings.sort(key=lambda one: -(share(one.row) or 0.0))
            said = info.finds.format(candidates=_candidates([row for row in here if row.game == game]))
            found.append(Answer(game, tuple(findings), _sentence(findings, said)))
    return tuple(sorted(found, key=lambda answer: -answer.worst))


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


def _candidates(rows: Iterable[Row]) -> str:
    """Among how many the adversary looks: the ceiling of a view without noise is the logarithm of it."""
    counts = [2.0**row.ceiling for row in rows if row.metric == "bits" and 0 < row.ceiling < 60]
    whole = [round(one) for one in counts if round(one) > 1 and abs(one - round(one)) < 1e-4 * one]
    return f"{max(whole):,}" if whole else "its candidates"


def _sentence(findings: Sequence[Finding], said: str) -> str:
    """`One shared gradient of one record names it among 224 for certain; a batch of 32 in 98 % of tries.`"""
    first, *others = findings
    shown = others[: _MOST_VIEWS - 1]
    again = [one.rate.removesuffix(_UNITS.get(one.row.metric, "")) for one in shown]
    parts = [f"{first.shown[0].upper()}{first.shown[1:]} {said} {first.rate}"]
    parts += [f"{one.shown} {brief}" for one, brief in zip(shown, again)]
    rest = len(others) - len(shown)
    parts += [f"and {rest} view{'s' * (rest > 1)} more"] if rest else []
    return f"{'; '.join(parts)}{_guess([one.row for one in findings])}."


def _guess(rows: Sequence[Row]) -> str:
    """What a mere guess reaches, where that is the same kind of number."""
    if any(row.metric != rows[0].metric for row in rows) or not all(math.isfinite(row.null) for row in rows):
        return ""
    if rows[0].metric == "accuracy":
        low, high = min(row.null for row in rows), max(row.null for row in rows)
        return f"; a mere guess in {_percents(low) if high - low < _CUT else _percents(low, high)}"
    return "; a coin in 50 %" if rows[0].metric == "auc" else ""


def rate(row: Row) -> str:
    """How well the adversary does, in words; where it is no better than a guess, what would have been seen."""
    if is_null(row):
        return f"no better than a guess{limit_text(row)}"
    if row.metric == "accuracy":
        surely = row.value >= _CERTAIN and row.lo >= _CERTAIN - _CUT
        return "for certain" if surely else f"in {_percent(row)} of tries"
    if row.metric == "auc":
        return f"in {_percent(row)} of pairs"
    if row.metric == "epsilon_lo":
        return f"so that epsilon is at least {number(row.lo)}"
    unit = metric(row.metric).unit
    if unit.startswith("share of "):
        return f"{_percent(row)} of {unit.removeprefix('share of ').partition(',')[0]}"
    digits = metric(row.metric).digits
    of = f" of {number(row.ceiling, digits)}" if math.isfinite(row.ceiling) else ""
    return f"{number(row.value, digits)}{of} {unit}"


def limit_text(row: Row) -> str:
    """What a row that found nothing would not have seen: ` (less than 54 % could not be seen)`; empty if unknown."""
    if not math.isfinite(row.detectable):
        return ""
    if row.detectable >= row.ceiling:
        return " (nothing could have been seen)"
    return f" (below {value_text(row, row.detectable)} could not be seen)"


def value_text(row: Row, value: float) -> str:
    """A value in the unit of a row: percent of tries or pairs, else the number and what it counts."""
    if row.metric in ("accuracy", "auc"):
        return _percents(value)
    return f"{number(value, 3)} {metric(row.metric).unit}" if row.metric == "bits" else number(value, 3)


def _percent(row: Row) -> str:
    told = max(row.value - row.lo, row.hi - row.value) >= _CUT
    return f"{_percents(row.value)} ({_percents(row.lo, row.hi)})" if told else _percents(row.value)


def _percents(*parts: float) -> str:
    """Shares in percent, small ones with a decimal: `0.4 %`, `97 to 99 %`."""
    small = max(parts) < 0.1
    return f"{' to '.join(f'{100 * part:.1f}' if small else f'{100 * part:.0f}' for part in parts)} %"


def _shown(row: Row, views: Mapping[str, Mapping[str, Any]]) -> str:
    said = view_words(row.view, views.get(row.view))
    return said if row.knows == "none" else f"{said}, to who knows {_KNOWN.get(row.knows, row.knows)},"


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
    noises = ", ".join(f"{row.value:.2g} ({view_words(row.view, views.get(row.view))})" for row in bare)
    return f"Nothing hides these records; noise of so much of a typical gradient would halve what is found: {noises}."


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
