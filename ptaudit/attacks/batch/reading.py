"""What an adversary notes of the matrices of batches: numbers of each layer, and which of them it keeps.

Wide layers have more numbers than there are batches to learn from. Those that vary most on the first of the batches
that it fits on are kept; what it notes of any other batch has no part in that choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.batch.observations import NumberBlock
from ptaudit.attacks.decode import MOST, Decoder
from ptaudit.attacks.magnitudes import column_numbers, row_numbers
from ptaudit.gradients.matrices import Factors
from ptaudit.views.observation import Observation, TokenObservation
from ptaudit.views.view import View

WIDEST = 4096
"""Most numbers of a block, and about as many of all layers together where there are many of them."""

TOTAL = 16384

SCREENED = 256
"""Batches on which numbers are chosen."""


@dataclass(frozen=True)
class Kept:
    """Which numbers of the rows and of the columns of one layer are kept: indices, of every kind those that vary most.

    The first ones of all kinds come first, so that a beginning has its share of each.

    Attributes:
        rows: of the rows.
        columns: of the columns.
        decoder: finds whole records in small batches, where inputs are binary; all of its counts are kept.
    """

    rows: Tensor
    columns: Tensor
    decoder: Decoder | None = None


@dataclass(frozen=True)
class Notes:
    """Numbers of the rows and columns of one layer, `(r, G, f)` or `(G, f)` float32 each."""

    rows: Tensor
    columns: Tensor


def screen(observation: Observation, members: Tensor, generator: torch.Generator) -> dict[int, Kept]:
    """The numbers to keep of each layer whose matrices are known, chosen on batches `(G, m)`.

    Args:
        observation: what is seen.
        members: records of each batch.
        generator: of what is random in the view.
    """
    layers: dict[int, list[tuple[list[Tensor], list[Tensor]]]] = {}
    for matrices in observation.read(members[:SCREENED], generator):
        for place, layer in enumerate(matrices):
            if layer:
                layers.setdefault(place, []).append((row_numbers(layer), column_numbers(layer)))
    most = max(16, min(WIDEST, TOTAL // max(1, len(layers))) // 2)
    found = {}
    for place, parts in layers.items():
        rows, columns = (_varied([torch.cat(kind) for kind in zip(*side)], most) for side in zip(*parts))
        found[place] = Kept(rows, columns, _decoder(observation, place, members))
    return found


def _decoder(observation: Observation, place: int, members: Tensor) -> Decoder | None:
    """What finds records in small batches, from the inputs of those records that the adversary has in its own."""
    if (
        not isinstance(observation, TokenObservation)
        or observation.sums is None
        or observation.random
        or members.shape[1] > MOST
    ):
        return None
    layer = observation.sums.layers[place]
    if len(layer) != 1 or not isinstance(layer[0], Factors) or layer[0].positions > 1 or not layer[0].whole:
        return None
    return Decoder.of(layer[0].right[torch.unique(members), 0])


def read(
    observation: Observation, members: Tensor, view: View, kept: dict[int, Kept], generator: torch.Generator
) -> tuple[NumberBlock, ...]:
    """Blocks of numbers of batches `(r, G, m)`: of each layer, of the rows of all layers, and of all of them."""
    if not kept:
        return ()
    notes = _averaged(observation, members, view, kept, generator)
    places = sorted(kept)
    blocks = [NumberBlock((place,), torch.cat([notes[place].rows, notes[place].columns], -1)) for place in places]
    if len(places) > 1:
        share = max(8, WIDEST // len(places))
        blocks.append(NumberBlock(tuple(places), torch.cat([notes[place].rows[..., :share] for place in places], -1)))
        both = [part for place in places for part in (notes[place].rows, notes[place].columns)]
        blocks.append(NumberBlock(tuple(places), torch.cat([part[..., : max(8, share // 2)] for part in both], -1)))
    return tuple(blocks)


def _averaged(
    observation: Observation, members: Tensor, view: View, kept: dict[int, Kept], generator: torch.Generator
) -> dict[int, Notes]:
    """Notes of every round; those of several observations of one batch are averaged to one."""
    if not view.fixed_batch or view.rounds == 1:
        return _notes(observation, members, kept, generator)
    if isinstance(observation, TokenObservation):
        return _notes(observation.quieter(view.rounds), members, kept, generator)
    if not observation.random:
        return _notes(observation, members, kept, generator)
    every = _notes(observation, members.expand(view.rounds, -1, -1), kept, generator)
    return {p: Notes(n.rows.mean(0, keepdim=True), n.columns.mean(0, keepdim=True)) for p, n in every.items()}


def _notes(
    observation: Observation, members: Tensor, kept: dict[int, Kept], generator: torch.Generator
) -> dict[int, Notes]:
    """Notes of every round, `(r, G, f)`, piece by piece."""
    rounds = [
        [
            {place: notes_of(piece[place], mine) for place, mine in kept.items()}
            for piece in observation.read(batch, generator)
        ]
        for batch in members
    ]
    return {
        place: Notes(*(
            torch.stack([torch.cat([getattr(piece[place], side) for piece in pieces]) for pieces in rounds])
            for side in ("rows", "columns")
        ))
        for place in kept
    }  # fmt: skip


def notes_of(layer: Sequence[Tensor], kept: Kept) -> Notes:
    """Numbers of the matrices of one layer, `(G, f)`."""
    rows, columns = (torch.cat(side(layer), 1) for side in (row_numbers, column_numbers))
    decoded = [] if kept.decoder is None else [kept.decoder.counts(layer[0])]
    return Notes(rows[:, kept.rows], torch.cat([*decoded, columns[:, kept.columns]], 1))


def _varied(kinds: Sequence[Tensor], most: int) -> Tensor:
    """Indices of the numbers that vary most of each kind, `(G, f)` each; of many kinds each has its share."""
    found, left = [], most
    first = [0]
    for kind in kinds:
        first.append(first[-1] + kind.shape[1])
    spreads = [torch.nan_to_num(kind).std(0) for kind in kinds]
    order = sorted(range(len(kinds)), key=lambda place: kinds[place].shape[1])
    for done, place in enumerate(order):
        some = spreads[place].argsort(descending=True, stable=True)
        some = some[: min(left // (len(order) - done), int((spreads[place] > 0.0).sum()))]
        left -= len(some)
        found.append((torch.arange(len(some)), some + first[place]))
    rank, index = (torch.cat(same) for same in zip(*found))
    return index[rank.argsort(stable=True)]
