"""Folds of records; a predictor is fitted on all but every two of them.

A predictor never saw two of the folds: on one of these its setting is chosen and calibrated, on the other it is
reported, and the other way round. A reported row is answered by all predictors that saw neither it nor the fold they
were chosen on, averaged. So choice, calibration and report never share a record; of four folds six fits serve all, and
nothing is fitted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ptaudit.attacks.usable.family import Predictor

FOLDS = 4
"""Folds, where the caller has none of its own."""


@dataclass(frozen=True)
class Folds:
    """Where the rows belong.

    Attributes:
        fold: fold of each row, `(G,)`.
        place: number of each row's record among the N records, in the order of the records, `(G,)`.
        of_record: fold of each record, `(N,)`.
        count: number of folds.
    """

    fold: Tensor
    place: Tensor
    of_record: Tensor
    count: int

    def others(self, fold: int) -> list[int]:
        """All folds but one."""
        return [other for other in range(self.count) if other != fold]

    def record_means(self, values: Tensor) -> Tensor:
        """The mean over the rows of each record, `(..., G)` -> `(..., N)`."""
        count = torch.bincount(self.place, minlength=len(self.of_record)).to(values)
        total = values.new_zeros(*values.shape[:-1], len(self.of_record))
        return total.index_add_(-1, self.place, values) / count


def split(record: Tensor, strata: Tensor | None, generator: torch.Generator) -> Folds:
    """Random folds of the records, of equal size.

    Args:
        record: the record of each row, `(G,)`.
        strata: class of each row, `(G,)`: a class is dealt out evenly, by the first row of each record. None for none.
        generator: of the draw.
    """
    records, place = torch.unique(record, return_inverse=True)
    n = len(records)
    order = torch.randperm(n, generator=generator).to(record.device)
    if strata is not None:
        first = torch.full((n,), len(place), device=place.device)
        first = first.scatter_reduce(0, place, torch.arange(len(place), device=place.device), "amin")
        order = order[torch.argsort(strata[first][order], stable=True)]
    of_record = torch.empty_like(order)
    of_record[order] = torch.arange(n, device=order.device) % FOLDS
    return Folds(of_record[place], place, of_record, FOLDS)


def given(record: Tensor, fold: Tensor) -> Folds:
    """Folds of the caller's: of each row, `(G,)`; all rows of a record in the same one."""
    place = torch.unique(record, return_inverse=True)[1]
    names, fold = torch.unique(fold, return_inverse=True)
    of_record = torch.empty(int(place.max()) + 1, dtype=torch.long, device=place.device)
    of_record[place] = fold
    return Folds(fold, place, of_record, len(names))


def cross_predictions(tokens: Tensor, secrets: Tensor, folds: Folds, predict: Predictor) -> Tensor:
    """What the predictors that did not see a row's fold say of it.

    Args:
        tokens: `(L, G, d)`.
        secrets: V versions, `(V, G, K)`, see `family.Path`.
        folds: of the rows.
        predict: see `Family.predictor`.

    Returns:
        `(V, A, L, G, folds, K)` for A settings (feature maps and points of the path): the fifth place is the other fold
        that the predictor did not see; a row's own fold there is empty.
    """
    peak = tokens.abs().amax((1, 2), keepdim=True).clamp_min(1e-200)
    tokens, secrets = (tokens / peak).float(), secrets.float()
    out = torch.empty(0)
    for pair in combinations(range(folds.count), 2):
        away = (folds.fold == pair[0]) | (folds.fold == pair[1])
        here = ~away
        found = predict(tokens[:, here], secrets[:, here], tokens[:, away])
        if not len(out):
            versions, settings, rows, _, outputs = found.shape
            out = found.new_zeros(versions, settings, rows, tokens.shape[1], folds.count, outputs)
        other = sum(pair) - folds.fold[away]
        out[:, :, :, torch.nonzero(away).flatten(), other] = found
    return out
