"""Which tokens of the positions of a batch stand in one text: searches for texts that a row space proves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.matching import Clock

UNKNOWN = -1
"""In the place of a token where there is none, or nobody knows which."""

INSIDE = 1e-4
"""Distance of a vector from a row space, relative to its length, that rounding leaves."""

_MOST = 2048
"""Texts that are all tried."""

_STARTS = 4
"""Searches for each text that a restart stands for: of four texts of six tokens, up to 15 found all."""

Distances = Callable[[Tensor], Tensor]
"""Texts `(n, L)` -> distance of the vector of each position from the row space, `(n, L)`; 0 after the end of a text."""


@dataclass(frozen=True)
class TokenSets:
    """The tokens of a batch, position by position.

    Attributes:
        options: the tokens of each of L positions, `(k,)` each.
        distances: of texts made of them.
        ends: whether a text may end before the last position.
    """

    options: Sequence[Tensor]
    distances: Distances
    ends: bool


def prolonged(sets: TokenSets, m: int, clock: Clock) -> list[Tensor]:
    """At most m texts `(L,)`, the longest first, where the vector of a position depends on what stands before alone.

    Args:
        sets: the tokens of each position.
        m: texts of the batch.
        clock: that may be over.
    """
    if not (options := sets.options):
        return []
    texts, ended = torch.full((1, len(options)), UNKNOWN, device=options[0].device), []
    for place, tokens in enumerate(options):
        if not clock.goes_on():
            return []
        longer = texts.repeat_interleave(len(tokens), 0)
        longer[:, place] = tokens.repeat(len(texts))
        proved = (sets.distances(longer)[:, place] < INSIDE).view(len(texts), len(tokens))
        ended += [text for text, some in zip(texts, proved.any(1)) if place and not some]
        texts = longer[proved.flatten()][: 2 * m]
    return [*texts, *(reversed(ended) if sets.ends else ())][:m]


def exchanged(sets: TokenSets, m: int, starts: int, generator: torch.Generator, clock: Clock) -> list[Tensor]:
    """At most m texts `(L,)`, of all that there can be, or where these are too many, found by exchanging one token or
    the end as long as that brings a text nearer.

    Args:
        sets: the tokens of each position.
        m: texts of the batch.
        starts: searches for each text, in units of `_STARTS`.
        generator: of where searches start.
        clock: that may be over.
    """
    if not sets.options:
        return []
    if (every := _every(sets)) is not None:
        return list(every[(sets.distances(every) < INSIDE).all(1)][:m])
    found: list[Tensor] = []
    for _ in range(_STARTS * m * starts):
        if len(found) == m or not clock.goes_on():
            break
        text = _nearest(_start(sets, found, generator), sets, clock)
        if bool((sets.distances(text[None]) < INSIDE).all()) and not any(text.equal(one) for one in found):
            found.append(text)
    return found


def _every(sets: TokenSets) -> Tensor | None:
    """All texts `(n, L)`; None where they are too many."""
    length = len(sets.options)
    ends = range(1, length + 1) if sets.ends else (length,)
    if sum(math.prod(len(tokens) for tokens in sets.options[:end]) for end in ends) > _MOST:
        return None
    parts = [torch.cartesian_prod(*sets.options[:end]).view(-1, end) for end in ends]
    return torch.cat([torch.nn.functional.pad(part, (0, length - part.shape[1]), value=UNKNOWN) for part in parts])


def _start(sets: TokenSets, found: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """A text of random tokens, of those that are in no text that was found where there are such."""
    text = torch.full((len(sets.options),), UNKNOWN, device=sets.options[0].device)
    last = 0
    for place, tokens in enumerate(sets.options):
        told = torch.tensor([int(one[place]) for one in found], device=tokens.device)
        left = tokens[~torch.isin(tokens, told)]
        last = place + 1 if len(left) else last
        some = left if len(left) else tokens
        text[place] = some[int(torch.randint(len(some), (), generator=generator))]
    if sets.ends:
        text[max(last, 1) :] = UNKNOWN
    return text


def _nearest(text: Tensor, sets: TokenSets, clock: Clock) -> Tensor:
    """The text that no exchange brings nearer."""
    best = float(_far(text[None], sets))
    while best > INSIDE**2 and clock.goes_on():
        others = _others(text, sets)
        values = _far(others, sets)
        if float(values.min()) >= best:
            break
        best, text = float(values.min()), others[values.argmin()]
    return text


def _others(text: Tensor, sets: TokenSets) -> Tensor:
    """All texts that differ in one token, or in where they end, `(n, L)`."""
    found, length = [text], int((text != UNKNOWN).sum())
    for place in range(length):
        for token in sets.options[place]:
            found.append(text.clone())
            found[-1][place] = token
    first = torch.stack([tokens[0] for tokens in sets.options])
    for end in range(1, len(first) + 1) if sets.ends else ():
        found.append(torch.where(text == UNKNOWN, first, text))
        found[-1][end:] = UNKNOWN
    return torch.stack(found)


def _far(texts: Tensor, sets: TokenSets) -> Tensor:
    """Mean square of the distances of each text, `(n,)`."""
    return sets.distances(texts).square().sum(1) / (texts != UNKNOWN).sum(1)
