"""The sections of the page, in the order in which somebody asks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ptaudit.report.answer import rate, view_words
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import Cell, Column, Drawn, Facts, Grid, Lines, grid_of, share_cell
from ptaudit.report.dynamics import dynamics_lines
from ptaudit.report.full import full_report
from ptaudit.report.groups import group_lines
from ptaudit.report.html.advice import advice_parts
from ptaudit.report.html.chain import chain
from ptaudit.report.html.curves import curves
from ptaudit.report.html.heat import heat_maps, left_out_text
from ptaudit.report.html.margins import margin_grid
from ptaudit.report.html.elements import Details, Element, Picture, Section
from ptaudit.report.html.pictures import drawn, kept_pictures
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.pages import answer_blocks, layer_grid
from ptaudit.report.summary import Summary, summarise
from ptaudit.report.words import adversary_text, count, duration, interval_text, is_null, number, score_text
from ptaudit.spec.catalog import JOINT
from ptaudit.stats.estimate import OK
from ptaudit.tables.row import Row
from ptaudit.tables.spec import views_of
from ptaudit.tables.status import MEANINGS
from ptaudit.tables.table import Table, strongest

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ptaudit.tables.run import Run

_OF_CONTENT = ("explained_variance", "identified", "rebuilt", "labels_found")
_WHERE = {"defenses": ("defenses",), "members": ("membership", "roc", "regions", "transitions", "movement", "forecast",
          "plane", "difficulty")}  # fmt: skip


def sections(run: Run, records: pd.DataFrame, kept: Path | None, folder: str) -> tuple[Section, ...]:
    """All sections that have something to say; `kept` holds what a run kept of single records, if it did."""
    summary, bare = summarise(run), replace(run, rows=run.rows.as_trained)
    charts = drawn(run, records)
    made = (
        _answer(run, summary),
        Section("change", "What to change", _CHANGE, advice_parts(run, summary.answers)),
        _threat(run),
        _map(run),
        Section("epochs", "Leakage over the epochs", _EPOCHS, curves(run) or (Lines("", "", (Cell(_ONE_EPOCH),)),)),
        _model(run, summary),
        _some("defenses", "Defenses", _DEFENSES, (*_charts(charts, "defenses"), defense_grid(run, full=True))),
        _some("members", "Who was trained on", "", _members(run, charts)),
        _some("rebuilt", "What can be rebuilt", "", _rebuilt(run, kept)),
        _gates(run, folder),
        Section("time", "What it took", "", (_times(run),)),
        Section("limits", "What this does not show", "", (_caveats(summary),)),
        Section("again", "How to reproduce it", "", _again(run, folder)),
        Section("numbers", "All numbers", "", tuple(_numbers(run, bare, folder))),
    )
    return tuple(section for section in made if section is not None)


_CHANGE = "What other views and trainings of this very run were measured to give away. Nothing here is a guess."
_EPOCHS = "All layers jointly. Each line is what one adversary sees; the band is the 95 % interval over records."
_ONE_EPOCH = "One epoch was audited: there is no course to show. With audit.epochs: all there would be."
_DEFENSES = (
    "What each costs in accuracy and hides from whom. A static adversary was fitted on undefended gradients; an "
    "adaptive one knows the defense, and is the one to count on."
)


def _some(name: str, title: str, intro: str, parts: tuple[Element, ...]) -> Section | None:
    """A section that is there only if one of its parts says something."""
    filled = tuple(part for part in parts if _says(part))
    return Section(name, title, intro, filled) if filled else None


def _says(part: Element) -> bool:
    if isinstance(part, Grid):
        return bool(part.rows)
    return bool(part.lines) if isinstance(part, Lines) else True


def _charts(charts: dict[str, Picture], section: str) -> tuple[Picture, ...]:
    return tuple(charts[name] for name in _WHERE[section] if name in charts)


def _answer(run: Run, summary: Summary) -> Section:
    said, verdict = answer_blocks(run, summary, most=None)
    none = "No adversary of this run has a number that can be told in a sentence; see all numbers below."
    told = said if _says(said) else Lines("answer", "", (Cell(none),))
    return Section("answer", "The answer", "", (told, verdict, _glance(summary)))


def _glance(summary: Summary) -> Grid:
    """Every finding of the sentences, with what is needed to believe it."""
    rows = [(answer.game, one) for answer in summary.answers for one in answer.findings]
    cells = tuple(
        (
            Cell(game, "strong"),
            Cell(one.shown),
            Cell(one.rate),
            Cell(f"{one.row.metric} {interval_text(one.row)}"),
            share_cell(None if is_null(one.row) else one.row),
            Cell(number(one.row.null, 3)),
            Cell(number(one.row.detectable, 3)),
            Cell(count(one.row.n)),
        )
        for game, one in rows
    )
    columns = (
        Column("game"), Column("what is seen"), Column("how well it does"),
        Column("number [95 % interval]", right=True), Column("of what could be found", right=True),
        Column("a guess", right=True), Column("smallest that would be seen", right=True), Column("records", right=True),
    )  # fmt: skip
    at = f", at epoch {summary.epochs[-1]}" if summary.epochs else ""
    return Grid("glance", f"What each adversary finds{at}, all layers jointly", columns, cells)


def _threat(run: Run) -> Section:
    said = tuple(Cell(str(text)) for text in run.manifest.get("threat_model", ()))
    asked = {verdict.view for verdict in run.verdicts}
    seen = [(name, view) for name, view in views_of(run.spec_text).items()]
    columns = (Column("view"), Column("what the adversary sees"), Column("gates"))
    lines = tuple(
        (Cell(name, "strong"), Cell(view_words(name, view)), Cell("yes" if name in asked else "none", "dim"))
        for name, view in seen
    )
    parts = (Lines("threat", "", said, bullets=True), Grid("view", "Views", columns, lines), threat_grid(run))
    return Section("threat", "Who is the adversary", _THREAT, parts)


_THREAT = (
    "The numbers hold for these adversaries. One who sees or knows more may find more; one who knows the weights and "
    "sees the gradients is what a federated server is."
)


def _map(run: Run) -> Section:
    maps, left_out = heat_maps(run)
    text = left_out_text(left_out)
    parts: tuple[Element, ...] = (*maps, *((Lines("", "", (Cell(text),)),) if text else ()))
    if not parts:
        parts = (Lines("", "", (Cell("No game of this run is about single layers."),)),)
    return Section("map", "Which layer, since when", _MAP, parts)


_MAP = (
    "A row is a layer, a column an audited epoch (0: before training). Pointing at a cell tells its interval, its null "
    "(what nothing looks like), its ceiling and the smallest leak that would have been seen; the last column has the "
    "number of the last epoch. ? is not zero: it could not be measured."
)


def _model(run: Run, summary: Summary) -> Section | None:
    drawn_chain = chain(run, summary)
    table = replace(layer_grid(summary, "", most=12), notes=())
    parts: tuple[Element, ...] = (*((drawn_chain,) if drawn_chain else ()), table, _since(run, summary))
    return _some("model", "Where in the model", "", parts)


def _since(run: Run, summary: Summary) -> Grid:
    """Since which audited epoch each of the most leaking layers gives something away, and to whom."""
    if summary.focus is None:
        return Grid("since", "", (), ())
    here = run.rows.as_trained.where(view=summary.focus.view, game=summary.focus.games[0], metric="bits")
    best = strongest(here, "layer", "epoch")
    last = {row.layer: row for row in best.where(epoch=best.last_epoch)}
    lines = [last[line.layer] for line in summary.layers[:12] if line.layer in last]
    columns: tuple[Drawn[Row], ...] = (
        (Column("layer"), lambda row: Cell(row.layer, "strong")),
        (Column("first seen at epoch", right=True), lambda row: Cell(_first_seen(best.where(layer=row.layer)))),
        (Column("to whom"), lambda row: Cell(adversary_text(row.adversary, row.knowledge, row.knows))),
        (Column("how sure"), lambda row: Cell(f"{interval_text(row)} bits on {count(row.n)} records")),
        (Column("caution"), lambda row: Cell(_caution(row), "warn")),
    )
    return grid_of("since", f"{summary.focus.games[0]}: since when, to whom, how sure", columns, lines)


def _caution(row: Row) -> str:
    return "" if row.status == OK else MEANINGS.get(row.status, row.status)


def _first_seen(rows: Table) -> str:
    seen = [row.epoch for row in rows if row.measured and not is_null(row)]
    return str(min(seen)) if seen else "never"


def _members(run: Run, charts: dict[str, Picture]) -> tuple[Element, ...]:
    return (dynamics_lines(run), group_lines(run), *_charts(charts, "members"))


def _rebuilt(run: Run, kept: Path | None) -> tuple[Element, ...]:
    rows = run.rows.as_trained
    games = [game for (game,) in rows.where(metric=_OF_CONTENT).distinct("game")]
    here = rows.where(game=games, layer=JOINT, epoch=rows.last_epoch)
    columns: tuple[Drawn[Row], ...] = (
        (Column("view"), lambda row: Cell(row.view, "strong")),
        (Column("attack"), lambda row: Cell(adversary_text(row.adversary, row.knowledge, row.knows))),
        (Column("score"), lambda row: Cell(score_text(row))),
        (Column("value [95 % interval]", right=True), lambda row: Cell(interval_text(row))),
        (Column("in words"), lambda row: Cell(rate(row) if row.metric in _OF_CONTENT and row.measured else "", "dim")),
        (Column("status"), lambda row: Cell("" if row.status == "ok" else row.status, "warn")),
    )
    pictures = kept_pictures(kept) if games else ()
    warning = "These are records of the training data, kept because --keep-records was asked for: do not publish them."
    said = (Lines("", "", (Cell(warning, "bad"),)),) if pictures else ()
    return (grid_of("rebuilt", "", columns, here), *said, *pictures)


def _gates(run: Run, folder: str) -> Section:
    none = "No gate was set: nothing was asked to hold. A gate makes CI fail where a number is above its limit."
    parts: tuple[Element, ...] = (margin_grid(run),) if run.verdicts else (Lines("", "", (Cell(none),)),)
    return Section("gates", "Gates", _GATES if run.verdicts else "", parts)


_GATES = (
    "Bounds hold for all rows of a gate at once. A pass says that this adversary's score is at most the limit, not "
    "that nothing leaks."
)


def _times(run: Run) -> Facts:
    return Facts("time", tuple((name, duration(seconds)) for name, seconds in run.timings.items()))


def _caveats(summary: Summary) -> Lines:
    return Lines("caveat", "", tuple(map(Cell, summary.caveats)), bullets=True)


_OF_VERSIONS = (
    "ptaudit", "python", "torch", "torchvision", "numpy", "device", "seeds", "audit_seed", "started", "finished",
    "spec_sha256", "model_sha256", "data_sha256", "split_sha256",
)  # fmt: skip


def _again(run: Run, folder: str) -> tuple[Element, ...]:
    where = shlex.quote(folder)
    commands = (
        f"ptaudit run {where}/spec.resolved.yaml --out again",
        f"ptaudit compare {where} again",
        f"ptaudit gate {where}",
    )
    told = tuple((name, _text(run.manifest[name])) for name in _OF_VERSIONS if name in run.manifest)
    said = "The same spec, versions, device and number of threads give the same tables, byte for byte on a CPU."
    return (
        Lines("", "", (Cell(said),)),
        Lines("command", "", tuple(map(Cell, commands))),
        Facts("versions", told),
    )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_NUMBERS = ("joint", "epoch", "captured", "file")


def _numbers(run: Run, bare: Run, folder: str) -> Iterator[Element]:
    """The full tables that are nowhere else on the page, folded away."""
    for block in (*full_report(run, folder).filled, localisation_grid(bare)):
        if isinstance(block, Grid | Lines) and block.name in (*_NUMBERS, "localisation") and _says(block):
            yield Details(block.title, (replace(block, title=""),))
