"""What the page is made of, beside the blocks that all formats know: plain values, which the template draws."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ptaudit.report.document import Facts, Grid, Lines


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map: what stands in it, how dark it is (0 to 9, or `none`), and what pointing at it tells."""

    text: str
    level: str
    title: str


@dataclass(frozen=True)
class HeatRow:
    """A layer: its path, its cells by epoch, and its last number with its interval."""

    layer: str
    cells: tuple[HeatCell, ...]
    last: str


@dataclass(frozen=True)
class HeatMap:
    """Layer by epoch of one game on one view."""

    title: str
    caption: str
    epochs: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    open: bool


@dataclass(frozen=True)
class Point:
    """A number at an epoch, in the units of the drawing; `title` is what is said when it is pointed at."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class Curve:
    """The course of one view."""

    name: str
    style: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
    """A line chart: one game, a line for each view. Ticks are (place in the drawing, text)."""

    title: str
    described: str
    curves: tuple[Curve, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Leak:
    """How much a block of layers gives away in one game: the share of the ceiling, 0 to 100, of its worst layer."""

    game: str
    percent: int | None
    text: str


@dataclass(frozen=True)
class Block:
    """Neighbouring layers under one path: what they are, their names where there are several, which are not captured
    and why, and what the worst of them gives away."""

    name: str
    about: str
    layers: tuple[str, ...]
    missing: tuple[str, ...]
    leaks: tuple[Leak, ...]


@dataclass(frozen=True)
class Chain:
    """The model as a chain of blocks, from input to output."""

    title: str
    caption: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Picture:
    """A chart as inline SVG, or a PNG as a data address, with its caption."""

    title: str
    caption: str
    svg: Markup | None = None
    png: str = ""


@dataclass(frozen=True)
class Details:
    """Something that is folded away until it is asked for."""

    title: str
    parts: tuple[Element, ...]


Element = Facts | Lines | Grid | HeatMap | Curves | Chain | Picture | Details


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    id: str
    title: str
    intro: str
    parts: tuple[Element, ...]
