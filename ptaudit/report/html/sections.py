"""The sections of the page, in the order in which somebody asks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ptaudit.report.answer import Finding, view_words
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import Cell, Column, Drawn, Facts, Grid, Lines, grid_of, share_cell, status_cell
from ptaudit.report.dynamics import dynamics_lines
from ptaudit.report.full import full_report
from ptaudit.report.groups import group_lines
from ptaudit.report.html.advice import advice_parts
from ptaudit.report.html.chain import chain
from ptaudit.report.html.curves import curves
from ptaudit.report.html.elements import Details, Element, Picture, Section
from ptaudit.report.html.heat import heat_maps, left_out_text
from ptaudit.report.html.margins import margin_grid
from ptaudit.report.html.pictures import drawn
from ptaudit.report.html.rebuilt import rebuilt_parts
from ptaudit.report.html.since import meanings, since_grid, worst_layers
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.pages import answer_blocks, layer_grid
from ptaudit.report.summary import Summary, summarise
from ptaudit.report.words import count, duration, interval_text, number
from ptaudit.stats.estimate import OK
from ptaudit.tables.spec import views_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ptaudit.tables.run import Run

_MOST_LAYERS = 12
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
        _some("rebuilt", "What can be rebuilt", "", rebuilt_parts(run, records, kept)),
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
    columns: tuple[Drawn[Finding], ...] = (
        (Column("game"), lambda one: Cell(one.row.game, "strong")),
        (Column("what is seen"), lambda one: Cell(one.shown)),
        (Column("how well it does"), lambda one: Cell(one.rate)),
        (Column("number [95 % interval]", right=True), lambda one: Cell(f"{one.row.metric} {interval_text(one.row)}")),
        (Column("a guess", right=True), lambda one: Cell(number(one.row.null, 3))),
        (Column("smallest seen", right=True), lambda one: Cell(number(one.row.detectable, 3))),
        (Column("of what could be found", right=True), lambda one: share_cell(one.scale, with_ceiling=True)),
        (Column("records", right=True), lambda one: Cell(count(one.row.n))),
        (Column("caution"), lambda one: Cell("") if one.scale.status == OK else status_cell(one.scale)),
    )
    at = f", at epoch {summary.epochs[-1]}" if summary.epochs else ""
    findings = [one for answer in summary.answers for one in answer.findings]
    grid = grid_of("glance", f"What each adversary finds{at}, all layers jointly", columns, findings)
    return replace(grid, notes=(Cell(_GLANCE), *meanings(one.scale for one in findings)))


_GLANCE = (
    "The strongest of the adversaries that were played; intervals are of one number at a time. Smallest seen: what "
    "would have been found in four of five runs. Of what could be found: in bits where the game has them, as in the "
    "maps and courses below; noise and sums lower what there is to find."
)


def _threat(run: Run) -> Section:
    said = tuple(Cell(str(text)) for text in run.manifest.get("threat_model", ()))
    views = views_of(run.spec_text)
    names = dict.fromkeys([*views, *(view for (view,) in run.rows.distinct("view"))])
    columns: tuple[Drawn[str], ...] = (
        (Column("view"), lambda name: Cell(name, "strong")),
        (Column("what the adversary sees"), lambda name: Cell(view_words(name, views.get(name)))),
        (Column("gates"), lambda name: Cell(", ".join(v.id for v in run.verdicts if v.view == name) or "none", "dim")),
    )
    parts = (Lines("threat", "", said, bullets=True), grid_of("view", "Views", columns, names), threat_grid(run))
    return Section("threat", "Who is the adversary", _THREAT, parts)


_THREAT = (
    "The numbers hold for these adversaries. One who sees or knows more may find more; one who knows the weights and "
    "sees the gradients is what a federated server is."
)


def _map(run: Run) -> Section:
    maps, left_out = heat_maps(run)
    text = left_out_text(left_out)
    parts: tuple[Element, ...] = (worst_layers(run), *maps, *((Lines("", "", (Cell(text),)),) if text else ()))
    if not maps and not text:
        parts = (Lines("", "", (Cell("No game of this run is about single layers."),)),)
    return Section("map", "Which layer, since when", _MAP, parts)


_MAP = (
    "A row is a layer, a column an audited epoch (0: before training). Pointing at a cell tells its interval, its null "
    "(what nothing looks like), its ceiling and the smallest leak that would have been seen; the last column has the "
    "number of the last epoch. ? is not zero: it could not be measured."
)


def _model(run: Run, summary: Summary) -> Section | None:
    drawn_chain = chain(run, summary)
    table = replace(layer_grid(summary, "", most=_MOST_LAYERS), notes=())
    parts: tuple[Element, ...] = (
        *((drawn_chain,) if drawn_chain else ()),
        table,
        since_grid(run, summary, _MOST_LAYERS),
    )
    return _some("model", "Where in the model", "", parts)


def _members(run: Run, charts: dict[str, Picture]) -> tuple[Element, ...]:
    return (dynamics_lines(run), group_lines(run), *_charts(charts, "members"))


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
