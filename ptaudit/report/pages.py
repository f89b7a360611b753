"""The pages that people read on a terminal: the summary of a run, and its gates alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ptaudit.report import Page
from ptaudit.report.answer import limit_text, limited, noise_sentence, ungated, unmeasured
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import (
    NOISE_NOTE,
    Cell,
    Column,
    Document,
    Drawn,
    Facts,
    Grid,
    Lines,
    Marks,
    Section,
    Tone,
    drop_blank_columns,
    grid_of,
    lines_needed,
    noise_cell,
    share_cell,
    status_cell,
)
from ptaudit.report.dynamics import dynamics_lines
from ptaudit.report.groups import group_lines
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.summary import Conclusion, JointLine, LayerLine, Summary, conclude, summarise
from ptaudit.report.words import (
    adversary_text,
    bounds_text,
    count,
    interval_text,
    is_null,
    marks_step,
    number,
    percent,
    plural,
    score_text,
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
_MOST_ANSWERS = 3
_FAINTEST = 0.05
"""The darkest cell of the heat strip stands for this share of the ceiling at least, so that
noise must not look like leakage."""


def summary_page(run: Run, page: Page) -> Document:
    """The one-screen summary; the layer table takes the lines that the rest leaves."""
    summary = summarise(run)
    folder = page.folder or f"runs/{run.name}"
    before: tuple[Section, ...] = (
        *answer_blocks(run, summary),
        Facts("facts", summary.facts),
        joint_grid(summary.joint, summary.epochs),
        dynamics_lines(run),
        group_lines(run),
        defense_grid(run),
        threat_grid(run),
        localisation_grid(run),
    )
    after: tuple[Section, ...] = (
        gate_grid(summary.gates, folder),
        _caveat_lines(summary.caveats, folder),
        Facts("facts", (("next", _next(summary, folder)),)),
    )
    room = page.height - 2 - sum(lines_needed(block, page.width) for block in (*before, *after))
    layers = layer_grid(summary, folder, most=max(_FEWEST_LAYERS, room - 4))
    return Document(f"ptaudit {run.name}", (*before, layers, *after))


def gates_page(run: Run, page: Page, broken: Sequence[tuple[str, str]] = ()) -> Document:
    """All gates of a run and the verdict over them; and why others could not be decided at all."""
    folder = page.folder or f"runs/{run.name}"
    return Document(
        f"ptaudit gates of {run.name}",
        (
            Lines("verdict", "", (conclusion_cell(conclude(run)),)),
            gate_grid(run.verdicts, folder, most=None),
            Lines("error", "Not to be decided", tuple(Cell(why, "bad") for _, why in broken), bullets=True),
        ),
    )


def conclusion_cell(conclusion: Conclusion) -> Cell:
    """The verdict line in its tone."""
    return Cell(conclusion.text, OUTCOME_TONE[conclusion.outcome])


def joint_grid(lines: Sequence[JointLine], epochs: Sequence[int]) -> Grid:
    """Row `*` of every view and game; what noise hides half of it where that was measured."""
    noisy = any(line.noise for line in lines)
    noise: tuple[Drawn[JointLine], ...] = ((Column(NOISE_HALF, right=True), lambda line: noise_cell(line.noise)),)
    columns: tuple[Drawn[JointLine], ...] = (
        (Column("view", elastic=16), lambda line: Cell(line.row.view, "strong")),
        (Column("score"), lambda line: Cell(score_text(line.row))),
        (Column("adversary", minor=4), lambda line: Cell(line.row.adversary, "dim")),
        (Column("value [95 % interval]", right=True), lambda line: Cell(interval_text(line.row))),
        (Column("of ceiling", right=True), lambda line: share_cell(line.row, with_ceiling=True)),
        (Column("null", right=True, minor=3), lambda line: Cell(number(line.row.null, 3), "dim")),
        *(noise if noisy else ()),
        (Column("by epoch", minor=2), lambda line: Marks(line.series)),
        (Column("status", minor=1), lambda line: status_cell(line.row)),
    )
    title = f"All layers jointly (*){_at(epochs)}; by epoch: {_epochs_text(epochs)}, full height = ceiling"
    notes = [text for text in (NOISE_NOTE if noisy else "", _limits(lines)) if text]
    return replace(grid_of("joint", title, columns, lines), notes=tuple(Cell(text, "dim") for text in notes))


def _limits(lines: Sequence[JointLine]) -> str:
    """Of rows in which nothing was found, what could not have been seen."""
    nothing = [line.row for line in lines if is_null(line.row)]
    texts = [f"{score_text(row)} of {row.view}{limit_text(row)}" for row in nothing]
    return f"no better than a guess: {', '.join(texts)}" if texts else ""


def layer_grid(summary: Summary, folder: str, most: int) -> Grid:
    """The layers of the focus view, the most leaking first, with their strip of the heat map."""
    if summary.focus is None:
        return Grid("layer", "", (), ())
    top = max(_heat_top(summary.layers), _FAINTEST)
    columns: tuple[Drawn[LayerLine], ...] = (
        (Column("layer", elastic=28), lambda line: Cell(line.layer, "strong")),
        (Column("type", minor=3), lambda line: Cell(line.kind, "dim")),
        (Column("parameters", right=True, minor=99), lambda line: Cell(count(line.parameters), "dim")),
        *(drawn for index, game in enumerate(summary.focus.games) for drawn in _of_game(summary, index, game)),
        (Column(NOISE_HALF, right=True), lambda line: noise_cell(line.noise)),
        (
            Column(f"by epoch, tenths of {percent(top)}", minor=1),
            lambda line: Marks(tuple(None if part is None else part / top for part in line.heat), "heat"),
        ),
        (Column("status", minor=2), lambda line: Cell(", ".join(_statuses(line)), "warn")),
    )
    shown = summary.layers[: most if len(summary.layers) > most + 1 else None]
    hidden = len(summary.layers) - len(shown)
    title = f"Most leaking layers in view {summary.focus.view}{_at(summary.epochs)} ({summary.focus.reason})"
    where = f": ptaudit show {folder} --format md" if folder else ""
    more = f"… and {plural(hidden, 'more layer')}{where}" if hidden else ""
    return drop_blank_columns(grid_of("layer", title, columns, shown, more))


def _of_game(summary: Summary, index: int, game: str) -> Iterator[Drawn[LayerLine]]:
    """The two columns of a game."""
    minor = 4 + 2 * index if index else 0
    ceiling = _ceiling_title(game if index else "", [line.scores[index] for line in summary.layers])
    yield Column(f"{game} bits [95 %]", right=True, minor=minor and minor + 1), lambda line: _score(line.scores[index])
    yield Column(ceiling, right=True, minor=minor), lambda line: share_cell(line.scores[index])


def _score(row: Row | None) -> Cell:
    return Cell(interval_text(row) if row else "-")


def _statuses(line: LayerLine) -> Iterable[str]:
    return dict.fromkeys(word for row in line.scores if row and (word := first_word(row.status)) != "ok")


def _heat_top(lines: Sequence[LayerLine]) -> float:
    """What the darkest cell stands for: the largest share of the strip, so that layers can be told apart."""
    return max((part for line in lines for part in line.heat if part is not None), default=0.0)


def gate_grid(verdicts: Sequence[Verdict], folder: str, most: int | None = _MOST_GATES) -> Grid:
    """Every gate with its worst row; reasons and advice below."""
    columns: tuple[Drawn[Verdict], ...] = (
        (Column("outcome"), lambda gate: Cell(gate.outcome.upper(), OUTCOME_TONE[gate.outcome])),
        (Column("gate", elastic=28), lambda gate: Cell(gate.id, "strong")),
        (Column("asks"), lambda gate: Cell(gate_rule(gate))),
        (Column("worst [simultaneous]", right=True), lambda gate: Cell(bounds_text(gate.value, gate.lo, gate.hi, 3))),
        (Column("view", elastic=16, minor=3), lambda gate: Cell(view_text(gate.view, gate.trained_with))),
        (Column("layer", elastic=28, minor=1), lambda gate: Cell(gate.worst_layer)),
        (Column("epoch", right=True, minor=2), lambda gate: Cell(str(gate.worst_epoch))),
        (
            Column("adversary", minor=4),
            lambda gate: Cell(adversary_text(gate.worst_adversary, "adaptive", gate.worst_knows), "dim"),
        ),
        (Column("rows", right=True, minor=5), lambda gate: Cell(count(gate.rows), "dim")),
    )
    shown = verdicts[:most]
    hidden = len(verdicts) - len(shown)
    notes = tuple(note for verdict in shown for note in gate_notes(verdict, brief=most is not None))
    notes = (*notes, *_pass_notes(shown))
    more = f"… and {plural(hidden, 'gate')} more: ptaudit gate {folder}" if hidden else ""
    title = "" if most else "Gates"
    return replace(grid_of("gate", title, columns, shown, more), notes=notes)


def gate_rule(verdict: Verdict) -> str:
    """What the gate asks, e.g. `identity.bits <= 1.5` or `identity.bits increase <= 0.2`."""
    change = {"max_increase": " increase", "max_share": " / ceiling"}.get(verdict.kind, "")
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


def answer_blocks(run: Run, summary: Summary, most: int | None = _MOST_ANSWERS) -> tuple[Section, ...]:
    """What was found, a sentence a game, the worst first; then what the gates say of it."""
    told = [Cell(answer.text, "strong" if place == 0 else "") for place, answer in enumerate(summary.answers[:most])]
    told += [Cell(text) for text in (noise_sentence(run),) if text]
    cautions = limited(summary.answers, most=2 if most else 9), unmeasured(run), ungated(summary.answers, run.verdicts)
    asked = [Cell(text, "warn") for text in cautions if text]
    verdict = Lines("verdict", "", (conclusion_cell(summary.conclusion), *asked))
    return Lines("answer", "", tuple(told)), verdict


def _caveat_lines(sentences: Sequence[str], folder: str) -> Lines:
    most = _MOST_CAVEATS if len(sentences) > _MOST_CAVEATS + 1 else None
    shown = [Cell(sentence) for sentence in sentences[:most]]
    hidden = len(sentences) - len(shown)
    if hidden:
        shown.append(Cell(f"… and {hidden} more: ptaudit show {folder} --format md", "dim"))
    return Lines("caveat", "What this does not show", tuple(shown), bullets=True)


def _next(summary: Summary, folder: str) -> str:
    if any(verdict.kind != "max_increase" and verdict.outcome == "fail" for verdict in summary.gates):
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
