"""Which tokens are in a batch, and how often, from the gradient of the embedding.

A token that is in no record has no gradient in its row: the rows in use are the tokens of the batch (Melis et al.,
arXiv 1805.04049). Of one record more is to be had: where an embedding of positions is added to that of tokens, row v of
the gradient is the sum of those rows of the positions' gradient where v stands, so that solving for the places tells
how often each token occurs, and proves itself by coming out as zeros and ones. Of several records, and without such an
embedding, every token in use counts once.

Noise of known size is in every row; a row is in use where its square is more than noise would make it in one of twenty
batches, over all rows.
"""

from __future__ import annotations

import time

import torch
from scipy.stats import chi2
from torch import Tensor

from ptaudit.attacks.inversion import labels
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.text_layers import embedding_layer, position_layer
from ptaudit.progress import Progress

_FALSE = 0.05
"""Chance that noise alone makes a row of a batch look in use."""

_WHOLE = 0.05
"""Distance from 0 and 1 that rounding leaves in the places of a token."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why no token can be read."""
    return "" if rows_of(seen, granted) is not None else "no embedding that is given the token ids is shared"


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """The tokens of every batch; see `messages.Rebuild`."""
    began, rows = time.monotonic(), rows_of(seen, granted)
    assert rows is not None
    counts = in_use(rows, seen.noise_std).long()
    path = position_layer(granted)
    places = None if path is None else seen.gradients.get(f"{path}.weight")
    ran_out = False
    if seen.batch_size == 1 and places is not None and seen.noise_std == 0.0:
        with progress.task("counting tokens", len(seen)) as task:
            for target, used in enumerate(counts):
                ran_out = time.monotonic() - began > budget.seconds
                if ran_out:
                    break
                counts[target] = _counted(rows[target].mean(0), places[target].mean(0), used > 0)
                task.advance()
    objective = torch.zeros(len(seen), dtype=torch.float64)
    ran_out = ran_out or time.monotonic() - began > budget.seconds
    return Reconstruction(
        None, likely_labels(seen, granted), objective, 0, time.monotonic() - began, ran_out, tokens=counts.cpu()
    )


def rows_of(seen: SharedGradients, granted: Granted) -> Tensor | None:
    """Gradient of the embedding of tokens, `(B, r, V, E)`; None where there is none to be seen."""
    path = embedding_layer(granted)
    rows = None if path is None else seen.gradients.get(f"{path}.weight".lstrip("."))
    return None if rows is None else rows[:, :, : granted.space.vocabulary]


def in_use(rows: Tensor, noise_std: float | None) -> Tensor:
    """Which rows of `(B, r, V, E)` hold more than noise, `(B, V)`; of unknown size is what half of the rows hold."""
    if noise_std == 0.0:
        return (rows != 0.0).any(3).any(1)
    numbers = rows.shape[1] * rows.shape[3]
    size = rows.double().square().sum((1, 3))
    unit = size.median(1, keepdim=True).values / chi2.median(numbers) if noise_std is None else noise_std**2
    return size > unit * float(chi2.isf(_FALSE / rows.shape[2], numbers))


def likely_labels(seen: SharedGradients, granted: Granted) -> Tensor:
    """Labels as they are known, or read from the last layer; where neither is to be had the first class, a guess."""
    if granted.labels is not None:
        return granted.labels
    if not labels.why_not(seen, granted):
        return labels.recover(seen, granted)
    return torch.zeros(len(seen), seen.records, dtype=torch.long, device=granted.device)


def _counted(rows: Tensor, places: Tensor, used: Tensor) -> Tensor:
    """How often each token `(V,)` is in one text, from the gradients of tokens `(V, E)` and of positions `(P, E)`.

    Where the places of the tokens do not come out as zeros and ones, each token counts once.
    """
    here = places[(places != 0.0).any(1)].double()
    if not len(here) or len(here) > here.shape[1]:
        return used.long()
    share = rows[used].double() @ torch.linalg.pinv(here)
    found = used.long()
    if float((share - share.round()).abs().max()) < _WHOLE and bool((share.round().sum(0) == 1.0).all()):
        found[used] = share.round().sum(1).long()
    return found
