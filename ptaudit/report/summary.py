"""What the summary of a run says, without a format: chosen rows, series over epochs, verdict and caveats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ptaudit.report.caveats import caveats
from ptaudit.report.facts import facts
from ptaudit.report.words import plural, share
from ptaudit.tables.ranking import noise_halves, noise_of, rank
from ptaudit.tables.row import JOINT, Row, as_trained, strongest

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict

Outcome = Literal["pass", "fail", "inconclusive", "none", "unfinished"]
HEADLINE_METRICS = ("bits", "upper_bits", "auc", "top_share", "epsilon_lo")
"""Metrics that the summary shows; the others are in the tables."""


@dataclass(frozen=True)
class JointLine:
    """What all layers of a view give away jointly in one game.

    Attributes:
        row: the strongest adversary's number at the last audited epoch.
        series: the strongest adversary's share of the ceiling at each audited epoch.
        noise: the noise that hides half of it, where that was measured.
    """

    row: Row
    series: tuple[float | None, ...]
    noise: Row | None = None


@dataclass(frozen=True)
class LayerLine:
    """One layer in the focus view.

    Attributes:
        layer: module path.
        kind: type of the layer.
        parameters: how many parameters it has.
        scores: its number in each game of the focus at the last epoch; None where the game has no row.
        heat: its share of the first game's ceiling at each audited epoch.
        noise: the noise that hides half of what it gives away, where that was measured.
    """

    layer: str
    kind: str
    parameters: int
    scores: tuple[Row | None, ...]
    heat: tuple[float | None, ...]
    noise: Row | None = None

    @property
    def worst(self) -> float:
        """The largest share of a ceiling over the games; -1 where no game has a number."""
        return max((part for part in map(share, self.scores) if part is not None), default=-1.0)


@dataclass(frozen=True)
class Focus:
    """The view and the games that the layer table is about, and why these."""

    view: str
    games: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Conclusion:
    """The verdict in one line."""

    outcome: Outcome
    text: str


@dataclass(frozen=True)
class Summary:
    """All that the summary of a run says; every number is a row of the tables."""

    name: str
    facts: tuple[tuple[str, str], ...]
    conclusion: Conclusion
    epochs: tuple[int, ...]
    strongest: tuple[Row, ...]
    joint: tuple[JointLine, ...]
    focus: Focus | None
    layers: tuple[LayerLine, ...]
    gates: tuple[Verdict, ...]
    caveats: tuple[str, ...]
    defended: bool = False


def summarise(run: Run) -> Summary:
    """Choose what the summary of a run shows: of the training as it is; its defenses have a table of their own."""
    run = replace(run, rows=as_trained(run.rows))
    epochs = tuple(sorted({row.epoch for row in run.rows}))
    joint = _joint_lines(run.rows, epochs)
    focus = _focus(run, epochs)
    return Summary(
        name=run.name,
        facts=facts(run),
        conclusion=conclude(run.verdicts, str(run.manifest.get("status", "complete"))),
        epochs=epochs,
        strongest=_strongest([line.row for line in joint]),
        joint=joint,
        focus=focus,
        layers=_layer_lines(run, epochs, focus) if focus else (),
        gates=tuple(sorted(run.verdicts, key=lambda verdict: _ORDER.index(verdict.outcome))),
        caveats=caveats(run),
        defended=bool(run.defenses),
    )


_ORDER = ("fail", "inconclusive", "pass")


def conclude(verdicts: Sequence[Verdict], status: str = "complete") -> Conclusion:
    """The verdict over all gates, and whether the run came to its end."""
    failed, undecided = ([v.id for v in verdicts if v.outcome == wanted] for wanted in ("fail", "inconclusive"))
    total = plural(len(verdicts), "gate")
    if failed:
        rest = f"; undecided: {', '.join(undecided)}" if undecided else ""
        return Conclusion("fail", f"FAIL: {len(failed)} of {total} failed: {', '.join(failed)}{rest}")
    if status != "complete":
        return Conclusion("unfinished", f"UNFINISHED: {status}; the tables hold the epochs before that")
    if undecided:
        return Conclusion(
            "inconclusive", f"INCONCLUSIVE: {len(undecided)} of {total} undecided: {', '.join(undecided)}"
        )
    if verdicts:
        limited = sum(bool(verdict.warning) for verdict in verdicts)
        where = "" if limited == len(verdicts) else f" {limited} of them"
        doubt = f",{where} on rows that nothing but this adversary limits" if limited else ""
        return Conclusion("pass", f"PASS: {total} held{doubt}")
    return Conclusion("none", "NO GATES: nothing was asked to hold")


def strongest_row(rows: Iterable[Row]) -> Row | None:
    """The row with the highest lower bound, of estimators the first; one without a number only if there is no other.

    An adversary that does not know the defense says nothing about what the view gives away: it is left out.
    """
    return strongest((row for row in rows if row.adaptive), lambda row: row.lo if row.measured else -math.inf)


def layer_index(rows: Iterable[Row]) -> dict[tuple[object, ...], list[Row]]:
    """Rows by (epoch, layer, view, game, metric): the adversaries that played the same game."""
    index: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        index.setdefault((row.epoch, row.layer, row.view, row.game, row.metric), []).append(row)
    return index


def _joint_lines(rows: Sequence[Row], epochs: Sequence[int]) -> tuple[JointLine, ...]:
    joint = [row for row in rows if row.layer == JOINT and row.metric in HEADLINE_METRICS]
    noises = noise_halves(rows)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in joint:
        # Adversaries who know as much compete; every estimator has a line of its own.
        alone = row.adversary if row.instrument else ""
        groups.setdefault((row.view, row.game, row.metric, row.knows, alone), []).append(row)
    lines: list[JointLine] = []
    best: dict[tuple[str, str, str], str] = {}
    for (view, game, metric, knows, _), group in groups.items():
        index = layer_index(group)
        there = index.get((epochs[-1], JOINT, view, game, metric), [])
        # The same adversary speaks for all scores of a game: the one that does best at the first of them.
        last = next((row for row in there if row.adversary == best.get((view, game, knows))), None) or strongest_row(
            there
        )
        if last is not None:
            if last.measured and not last.instrument:
                best.setdefault((view, game, knows), last.adversary)
            noise = noise_of(last, noises) if metric == "bits" else None
            lines.append(JointLine(last, _series(index, (JOINT, view, game, metric), epochs), noise))
    return tuple(lines)


def _series(
    index: dict[tuple[object, ...], list[Row]], place: tuple[str, str, str, str], epochs: Sequence[int]
) -> tuple[float | None, ...]:
    """The share of the ceiling that the strongest adversary reached at each epoch."""
    return tuple(share(strongest_row(index.get((epoch, *place), []))) for epoch in epochs)


def _strongest(rows: Sequence[Row]) -> tuple[Row, ...]:
    """For each game the row in bits that reached the largest share of its ceiling."""
    best: dict[str, Row] = {}
    for row in rows:
        part = share(row)
        if row.metric == "bits" and part is not None and part > (share(best.get(row.game)) or -1.0):
            best[row.game] = row
    return tuple(sorted(best.values(), key=lambda row: -(share(row) or 0.0)))


def _focus(run: Run, epochs: Sequence[int]) -> Focus | None:
    """The view of the first gate on layers; else the one in which layers differ most at the last epoch."""
    shares: dict[tuple[str, str], list[float]] = {}
    for row in run.rows:
        if row.layer != JOINT and row.metric == "bits" and row.epoch == epochs[-1]:
            shares.setdefault((row.view, row.game), []).extend(part for part in [share(row)] if part is not None)
    if not shares:
        return None
    for verdict in run.verdicts:
        game = verdict.metric.split(".")[0]
        if verdict.over != "joint" and (verdict.view, game) in shares:
            return _focus_on(verdict.view, game, shares, f"view of gate {verdict.id}")
    view, game = max(shares, key=lambda key: max(shares[key], default=0.0) - min(shares[key], default=0.0))
    return _focus_on(view, game, shares, "where layers differ most")


def _focus_on(view: str, game: str, played: Iterable[tuple[str, str]], reason: str) -> Focus:
    others = tuple(other for other_view, other in played if other_view == view and other != game)
    return Focus(view, (game, *others), reason)


def _layer_lines(run: Run, epochs: Sequence[int], focus: Focus) -> tuple[LayerLine, ...]:
    """The layers of the focus view, most leaking first: at the ceiling what most noise hides; in model order among
    equals."""
    noises = noise_halves(run.rows)
    index = layer_index(row for row in run.rows if row.view == focus.view and row.metric == "bits")
    layers = {row.layer: row for row in run.rows if row.view == focus.view and row.layer != JOINT}
    lines = []
    for name, any_row in layers.items():
        scores = tuple(
            strongest_row(index.get((epochs[-1], name, focus.view, game, "bits"), [])) for game in focus.games
        )
        heat = _series(index, (name, focus.view, focus.games[0], "bits"), epochs)
        noise = next((found for row in scores if (found := noise_of(row, noises)) is not None), None)
        lines.append(LayerLine(name, any_row.layer_type, any_row.parameters, scores, heat, noise))
    in_order = sorted(lines, key=lambda line: layers[line.layer].layer_index)
    return tuple(sorted(in_order, key=lambda line: rank(line.worst, 1.0, line.noise), reverse=True))
