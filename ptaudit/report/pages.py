"""The pages that people read on a terminal: the summary of a run, and its gates alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.report import Page
from ptaudit.report.cells import NOISE_NOTE, noise_cell, share_cell, status_cell
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import (
    Block,
    Cell,
    Column,
    Document,
    Facts,
    Grid,
    Lines,
    Marks,
    Tone,
    drop_blank_columns,
    lines_needed,
)
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.summary import Conclusion, JointLine, LayerLine, Summary, conclude, summarise
from ptaudit.report.words import (
    adversary_text,
    bounds_text,
    count,
    interval_text,
    marks_step,
    number,
    percent,
    plural,
    score_text,
    share,
    view_text,
)
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.tables.row import Row
from ptaudit.tables.status import first_word

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict

OUTCOME_TONE: dict[str, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "warn",
    "unfinished": "bad",
    "none": "dim",
}
_FEWEST_LAYERS = 3
_MOST_CAVEATS = 4
_MOST_GATES = 8
_FAINTEST = 0.05
"""The darkest cell of the heat strip stands for this share of the ceiling at least, so that
noise must not look like leakage."""


def summary_page(run: Run, page: Page) -> Document:
    """The one-screen summary; the layer table takes the lines that the rest leaves."""
    summary = summarise(run)
    folder = page.folder or f"runs/{run.name}"
    before: tuple[Block, ...] = (
        Facts("facts", summary.facts),
        Lines("verdict", "", _verdict_lines(summary)),
        joint_grid(summary.joint, summary.epochs),
        defense_grid(run),
        threat_grid(run),
        localisation_grid(run),
    )
    after: tuple[Block, ...] = (
        gate_grid(summary.gates, folder),
        _caveat_lines(summary.caveats, folder),
        Facts("facts", (("next", _next(summary, folder)),)),
    )
    room = page.height - 2 - sum(lines_needed(block, page.width) for block in (*before, *after))
    layers = layer_grid(summary, folder, most=max(_FEWEST_LAYERS, room - 4))
    return Document(f"ptaudit {run.name}", (*before, layers, *after))


def gates_page(run: Run, page: Page) -> Document:
    """All gates of a run and the verdict over them."""
    folder = page.folder or f"runs/{run.name}"
    return Document(
        f"ptaudit gates of {run.name}",
        (
            Lines("verdict", "", (conclusion_cell(conclude(run)),)),
            gate_grid(run.verdicts, folder, most=None),
        ),
    )


def conclusion_cell(conclusion: Conclusion) -> Cell:
    """The verdict line in its tone."""
    return Cell(conclusion.text, OUTCOME_TONE[conclusion.outcome])


def joint_grid(lines: Sequence[JointLine], epochs: Sequence[int]) -> Grid:
    """Row `*` of every view and game; what noise hides half of it where that was measured."""
    noisy = any(line.noise for line in lines)
    columns = (
        Column("view", elastic=16),
        Column("score"),
        Column("adversary", minor=2),
        Column("value [95 % interval]", right=True),
        Column("of ceiling", right=True),
        Column("null", right=True, minor=1),
        *([Column(NOISE_HALF, right=True)] if noisy else []),
        Column("by epoch"),
        Column("status"),
    )
    rows = tuple(_joint_cells(line, noisy) for line in lines)
    title = f"All layers jointly (*){_at(epochs)}; by epoch: {_epochs_text(epochs)}, full height = ceiling"
    return Grid("joint", title, columns, rows, "", (Cell(NOISE_NOTE, "dim"),) if noisy else ())


def _joint_cells(line: JointLine, noisy: bool) -> tuple[Cell | Marks, ...]:
    noise = [noise_cell(line.noise)] if noisy else []
    return (
        Cell(line.row.view, "strong"),
        Cell(score_text(line.row)),
        Cell(line.row.adversary, "dim"),
        Cell(interval_text(line.row)),
        share_cell(line.row, with_ceiling=True),
        Cell(number(line.row.null, 3), "dim"),
        *noise,
        Marks(line.series),
        status_cell(line.row),
    )


def layer_grid(summary: Summary, folder: str, most: int) -> Grid:
    """The layers of the focus view, the most leaking first, with their strip of the heat map."""
    if summary.focus is None:
        return Grid("layer", "", (), ())
    games = summary.focus.games
    columns = [
        Column("layer", elastic=28),
        Column("type", minor=3),
        Column("parameters", right=True, minor=99),
    ]
    for index, game in enumerate(games):
        rows_of_game = [line.scores[index] for line in summary.layers]
        columns += [
            Column(f"{game} bits [95 %]", right=True, minor=0 if index == 0 else 5 + 2 * index),
            Column(_ceiling_title(game if index else "", rows_of_game), right=True, minor=2 * index and 4 + 2 * index),
        ]
    top = max(_heat_top(summary.layers), _FAINTEST)
    columns += [Column(NOISE_HALF, right=True), Column(f"by epoch, full = {percent(top)}"), Column("status", minor=2)]
    shown = summary.layers[: most if len(summary.layers) > most + 1 else None]
    hidden = len(summary.layers) - len(shown)
    title = f"Most leaking layers in view {summary.focus.view}{_at(summary.epochs)} ({summary.focus.reason})"
    more = f"… and {plural(hidden, 'more layer')}: ptaudit show {folder} --format md"
    grid = Grid(
        "layer", title, tuple(columns), tuple(_layer_cells(line, top) for line in shown), more if hidden else ""
    )
    return drop_blank_columns(grid)


def _heat_top(lines: Sequence[LayerLine]) -> float:
    """What the darkest cell stands for: the largest share of the strip, so that layers can be told apart."""
    return max((part for line in lines for part in line.heat if part is not None), default=0.0)


def _layer_cells(line: LayerLine, top: float) -> tuple[Cell | Marks, ...]:
    heat = tuple(None if part is None else part / top for part in line.heat)
    cells: list[Cell | Marks] = [
        Cell(line.layer, "strong"),
        Cell(line.kind, "dim"),
        Cell(count(line.parameters), "dim"),
    ]
    for row in line.scores:
        cells += [Cell(interval_text(row) if row else "-"), share_cell(row)]
    statuses = dict.fromkeys(word for row in line.scores if row and (word := first_word(row.status)) != "ok")
    return (*cells, noise_cell(line.noise), Marks(heat, "heat"), Cell(", ".join(statuses), "warn"))


def gate_grid(verdicts: Sequence[Verdict], folder: str, most: int | None = _MOST_GATES) -> Grid:
    """Every gate with its worst row; reasons and advice below."""
    columns = (
        Column("outcome"),
        Column("gate", elastic=28),
        Column("asks"),
        Column("worst [simultaneous]", right=True),
        Column("view", elastic=16, minor=2),
        Column("layer", elastic=28),
        Column("epoch", right=True, minor=1),
        Column("adversary", minor=3),
        Column("rows", right=True, minor=4),
    )
    shown = verdicts[:most]
    hidden = len(verdicts) - len(shown)
    notes = tuple(note for verdict in shown for note in gate_notes(verdict, brief=most is not None))
    notes = (*notes, *_pass_notes(shown))
    more = f"… and {plural(hidden, 'gate')} more: ptaudit gate {folder}" if hidden else ""
    title = "" if most else "Gates"
    return Grid("gate", title, columns, tuple(map(_gate_cells, shown)), more, notes)


def _gate_cells(verdict: Verdict) -> tuple[Cell, ...]:
    return (
        Cell(verdict.outcome.upper(), OUTCOME_TONE[verdict.outcome]),
        Cell(verdict.id, "strong"),
        Cell(gate_rule(verdict)),
        Cell(bounds_text(verdict.value, verdict.lo, verdict.hi, 3)),
        Cell(view_text(verdict.view, verdict.trained_with)),
        Cell(verdict.worst_layer),
        Cell(str(verdict.worst_epoch)),
        Cell(adversary_text(verdict.worst_adversary, "adaptive", verdict.worst_knows), "dim"),
        Cell(count(verdict.rows), "dim"),
    )


def gate_rule(verdict: Verdict) -> str:
    """What the gate asks, e.g. `identity.bits <= 1.5` or `identity.bits increase <= 0.2`."""
    change = " increase" if verdict.kind == "max_increase" else ""
    return f"{verdict.metric}{change} <= {verdict.threshold:g}"


def gate_notes(verdict: Verdict, *, brief: bool = False) -> tuple[Cell, ...]:
    """Why a gate did not pass, and what would help; in brief only one of the two."""
    notes = []
    if verdict.outcome != "pass" and verdict.reason and not (brief and verdict.advice):
        notes.append(Cell(f"{verdict.id}: {verdict.reason}", OUTCOME_TONE[verdict.outcome]))
    if verdict.advice:
        notes.append(Cell(f"{verdict.id}: advice: {verdict.advice}", "strong"))
    return tuple(notes)


def _pass_notes(verdicts: Sequence[Verdict]) -> tuple[Cell, ...]:
    """What passes do not say: a line for each warning, with the gates that it is about."""
    gates: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.warning:
            gates.setdefault(verdict.warning, []).append(verdict.id)
    more = "a stronger one may find more"
    return tuple(Cell(f"{', '.join(ids)}: passed, but {what}; {more}", "warn") for what, ids in gates.items())


def _verdict_lines(summary: Summary) -> tuple[Cell, ...]:
    lines = [conclusion_cell(summary.conclusion)]
    if summary.strongest:
        texts = (f"{row.game} {percent(share(row))} ({row.view})" for row in summary.strongest)
        lines.append(Cell(f"Closest to a ceiling: {', '.join(texts)}"))
    return tuple(lines)


def _caveat_lines(sentences: Sequence[str], folder: str) -> Lines:
    most = _MOST_CAVEATS if len(sentences) > _MOST_CAVEATS + 1 else None
    shown = [Cell(sentence) for sentence in sentences[:most]]
    hidden = len(sentences) - len(shown)
    if hidden:
        shown.append(Cell(f"… and {hidden} more: ptaudit show {folder} --format md", "dim"))
    return Lines("caveat", "What this does not show", tuple(shown), bullets=True)


def _next(summary: Summary, folder: str) -> str:
    if any(verdict.kind == "max" and verdict.outcome == "fail" for verdict in summary.gates):
        return f"change the spec, run it again with --out OTHER, then ptaudit compare {folder} OTHER"
    rest = "; of the defenses: leakage.csv" if summary.defended else ""
    return f"ptaudit show {folder} --format md (all layers, views and epochs{rest})"


def _at(epochs: Sequence[int]) -> str:
    return f" at epoch {epochs[-1]}" if epochs else ""


def _epochs_text(epochs: Sequence[int]) -> str:
    step = marks_step(len(epochs))
    if step > 1:
        return f"{epochs[0]} to {epochs[-1]}, a mark is the maximum of {step}"
    return " ".join(map(str, epochs)) if len(epochs) <= 8 else f"{epochs[0]} to {epochs[-1]}"


def _ceiling_title(game: str, rows: Sequence[Row | None]) -> str:
    """`label of 3.32` when one ceiling holds for all rows."""
    ceilings = {number(row.ceiling) for row in rows if row and row.measured}
    return f"{game} of {ceilings.pop() if len(ceilings) == 1 else 'ceiling'}".strip()
