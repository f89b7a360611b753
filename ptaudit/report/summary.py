"""What the summary of a run says, without a format: chosen rows, series over epochs, verdict and caveats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.report.answer import Answer, answers
from ptaudit.report.caveats import caveats
from ptaudit.report.facts import facts
from ptaudit.report.words import plural, shares
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.metrics import METRICS
from ptaudit.tables.ranking import noise_halves, noise_of, rank
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table, strongest

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict

Outcome = Literal["pass", "fail", "inconclusive", "none", "unfinished"]


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

    facts: tuple[tuple[str, str], ...]
    conclusion: Conclusion
    epochs: tuple[int, ...]
    answers: tuple[Answer, ...]
    joint: tuple[JointLine, ...]
    focus: Focus | None
    layers: tuple[LayerLine, ...]
    gates: tuple[Verdict, ...]
    caveats: tuple[str, ...]
    defended: bool = False


def summarise(run: Run) -> Summary:
    """Choose what the summary of a run shows: of the training as it is; its defenses have a table of their own."""
    run = replace(run, rows=run.rows.as_trained)
    epochs = tuple(np.unique(run.rows.number("epoch")).tolist())
    joint = _joint_lines(run.rows, epochs)
    focus = _focus(run, epochs)
    return Summary(
        facts=facts(run),
        conclusion=conclude(run),
        epochs=epochs,
        answers=answers(run),
        joint=joint,
        focus=focus,
        layers=_layer_lines(run, epochs, focus) if focus else (),
        gates=tuple(sorted(run.verdicts, key=lambda verdict: _ORDER.index(verdict.outcome))),
        caveats=caveats(run),
        defended=bool(run.defenses),
    )


_ORDER = ("fail", "inconclusive", "pass")


def conclude(run: Run) -> Conclusion:
    """The verdict over all gates, and whether the run came to its end."""
    verdicts, status = run.verdicts, str(run.manifest.get("status", "complete"))
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
        caution = f",{where} on rows that nothing but this adversary limits" if limited else ""
        return Conclusion("pass", f"PASS: {total} held{caution}")
    return Conclusion("none", "NO GATES: nothing was asked to hold")


def course(best: Table, epochs: Sequence[int]) -> tuple[float | None, ...]:
    """The share of the ceiling at each epoch, of a row an epoch at most; nothing of numbers that have no ceiling."""
    there = best.measured
    if there.any() and not np.isfinite(best.number("ceiling")[there]).any():
        return ()
    found = dict(zip(best.number("epoch").tolist(), shares(best)))
    return tuple(map(found.get, epochs))


def _joint_lines(rows: Table, epochs: Sequence[int]) -> tuple[JointLine, ...]:
    shown = [name for name, kind in METRICS.items() if kind.headline]  # the others are in the tables
    joint = rows.where(layer=JOINT, metric=shown)
    noises = noise_halves(rows.where(layer=JOINT, epoch=rows.last_epoch))
    # Adversaries who know as much compete; every estimator has a line of its own.
    groups: dict[tuple[str, ...], list[str]] = {}
    for *place, adversary in joint.distinct("view", "game", "metric", "knows", "adversary"):
        groups.setdefault((*place, adversary if adversary in ESTIMATORS else ""), []).append(adversary)
    lines: list[JointLine] = []
    speaker: dict[tuple[str, str, str], str] = {}
    for (view, game, metric, knows, _), adversaries in groups.items():
        group = joint.where(view=view, game=game, metric=metric, knows=knows, adversary=adversaries)
        there = group.where(epoch=epochs[-1])
        # The same adversary speaks for all scores of a game: the one that does best at the first of them.
        same = [row for row in there if row.adversary == speaker.get((view, game, knows))]
        last = next(iter([*same, *strongest(there, "epoch")]), None)
        if last is not None:
            if last.measured and not last.instrument:
                speaker.setdefault((view, game, knows), last.adversary)
            noise = noise_of(last, noises) if metric == "bits" else None
            lines.append(JointLine(last, course(strongest(group, "epoch"), epochs), noise))
    return tuple(lines)


def _focus(run: Run, epochs: Sequence[int]) -> Focus | None:
    """The view of the first gate on layers; else the one in which layers differ most at the last epoch."""
    played: dict[tuple[str, str], list[float]] = {}
    rows = run.rows.where(metric="bits", epoch=run.rows.last_epoch)
    rows = rows.take(~rows.are(layer=JOINT))
    for view, game, part in zip(rows.text("view").tolist(), rows.text("game").tolist(), shares(rows)):
        played.setdefault((view, game), []).extend([] if part is None else [part])
    if not played:
        return None
    for verdict in run.verdicts:
        if verdict.over != "joint" and (verdict.view, verdict.game) in played:
            return _focus_on(verdict.view, verdict.game, played, f"view of gate {verdict.id}")
    view, game = max(played, key=lambda key: max(played[key], default=0.0) - min(played[key], default=0.0))
    return _focus_on(view, game, played, "where layers differ most")


def _focus_on(view: str, game: str, played: Iterable[tuple[str, str]], reason: str) -> Focus:
    others = tuple(other for other_view, other in played if other_view == view and other != game)
    return Focus(view, (game, *others), reason)


def _layer_lines(run: Run, epochs: Sequence[int], focus: Focus) -> tuple[LayerLine, ...]:
    """The layers of the focus view, the most leaking first, as `tables.ranking` has it."""
    here = run.rows.where(view=focus.view)
    here = here.take(~here.are(layer=JOINT))
    last, bits = here.where(epoch=epochs[-1]), here.where(metric="bits")
    noises = noise_halves(last)
    best = {(row.layer, row.game): row for row in strongest(last.where(metric="bits"), "layer", "game")}
    courses = heats(strongest(bits.where(game=focus.games[0]), "layer", "epoch"), epochs)
    lines = []
    for row in here.last_of_each("layer"):
        scores = tuple(best.get((row.layer, game)) for game in focus.games)
        heat = courses.get(row.layer, (None,) * len(epochs))
        noise = next((found for score in scores if (found := noise_of(score, noises)) is not None), None)
        lines.append((row.layer_index, LayerLine(row.layer, row.layer_type, row.parameters, scores, heat, noise)))
    in_order = [line for _, line in sorted(lines, key=lambda line: line[0])]
    return tuple(sorted(in_order, key=_leak, reverse=True))


def _leak(line: LayerLine) -> tuple[float, ...]:
    first, *others = line.scores
    return rank(first, line.noise, others)


def heats(best: Table, epochs: Sequence[int]) -> dict[str, tuple[float | None, ...]]:
    """The `course` of each layer, of a row for each layer and epoch at most."""
    codes, texts = best.text("layer").codes, best.text("layer").texts
    grid = np.full((len(texts), len(epochs)), None, dtype=object)
    grid[codes, np.searchsorted(epochs, best.number("epoch"))] = shares(best)
    return dict(zip(texts, map(tuple, grid.tolist())))
