"""The model as a chain of blocks: neighbouring layers under one path, and what the worst of them gives away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ptaudit.report.html.elements import Block, Chain, Leak
from ptaudit.report.words import count, interval_text, percent, plural, share
from ptaudit.tables.row import Row

if TYPE_CHECKING:
    from ptaudit.report.summary import LayerLine, Summary
    from ptaudit.tables.run import LayerEntry, Run

MOST_BLOCKS = 24


def chain(run: Run, summary: Summary) -> Chain | None:
    """The chain of the view that the table of layers is about; None where no game is about layers."""
    if summary.focus is None:
        return None
    found = {line.layer: line for line in summary.layers}
    blocks = tuple(_block(name, layers, found, summary.focus.games) for name, layers in grouped(run.layers))
    caption = (
        f"From input to output, in view {summary.focus.view} at epoch {summary.epochs[-1]}. A bar is the share of the "
        "ceiling that the worst layer of the block gives away alone."
    )
    return Chain(f"The model, block by block: view {summary.focus.view}", caption, blocks)


def grouped(layers: Sequence[LayerEntry], most: int = MOST_BLOCKS) -> list[tuple[str, list[LayerEntry]]]:
    """Neighbours that share the first parts of their paths, as many parts as give at most so many blocks."""
    depth = max((layer.name.count(".") + 1 for layer in layers), default=1)
    groups = _cut(layers, depth)
    while len(groups) > most and depth > 1:
        depth -= 1
        groups = _cut(layers, depth)
    return groups


def _cut(layers: Sequence[LayerEntry], depth: int) -> list[tuple[str, list[LayerEntry]]]:
    ordered = sorted(layers, key=lambda layer: layer.index)
    return [
        (name, list(same)) for name, same in groupby(ordered, lambda layer: ".".join(layer.name.split(".")[:depth]))
    ]


def _block(name: str, layers: Sequence[LayerEntry], found: dict[str, LayerLine], games: Sequence[str]) -> Block:
    types = ", ".join(dict.fromkeys(layer.type for layer in layers))
    parameters = plural(sum(layer.parameters for layer in layers), "parameter")
    many = f"{count(len(layers))} layers: " if len(layers) > 1 else ""
    lines = [found[layer.name] for layer in layers if layer.name in found]
    leaks = tuple(_leak(game, [line.scores[place] for line in lines]) for place, game in enumerate(games))
    missing = tuple(f"{layer.name} not captured: {layer.reason}" for layer in layers if layer.capture == "none")
    named = tuple(layer.name for layer in layers) if len(layers) > 1 else ()
    return Block(name, f"{many}{types}; {parameters}", named, missing, leaks)


def _leak(game: str, scores: Sequence[Row | None]) -> Leak:
    there = [(part, row) for row in scores if row is not None and (part := share(row)) is not None]
    if not there:
        return Leak(game, None, f"{game}: no number")
    part, row = max(there, key=lambda pair: pair[0])
    where = f" in {row.layer}" if len(scores) > 1 else ""
    return Leak(game, round(100 * part), f"{game} {percent(part)}: {interval_text(row)} bits{where}")
