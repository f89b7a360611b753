"""How much a record's gradient stands out from those of all others: leave-one-out gradient uniqueness.

g_i^T S_-i^+ g_i with S_-i the sum of g_j g_j^T over all other records (Abdelghafar et al., arXiv 2510.10902, where it
comes from an upper bound on what a published model discloses). It is a RANKING of records by how exposed they are, no
probability and no number of bits: it assumes nothing of an adversary and proves nothing about one.

All records at once, by the rank-one downdate of Sherman and Morrison: with the leverage h_i = g_i^T S^+ g_i, S the sum
over all records, the uniqueness is h_i / (1 - h_i). It does not change under an invertible linear map of the tokens.

Where it fails: the token must have far fewer coordinates than there are records. A record outside the span of all
others (leverage 1) has infinite uniqueness; the pseudo-inverse alone would drop the very direction that names it. With
no more records than coordinates that is so for all, and the ranks say nothing.
"""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.simultaneous import Z

TOP = 0.01
"""Share of the records whose share of all leverage is reported."""

RECORDS_PER_COORDINATE = 2
"""Fewest records for each direction that the tokens span; with fewer the leverages are all near 1."""

LEAST_RECORDS = 100
"""Fewest records: the top 1 % is one of them."""

NULL_RECORDS = 20_000
"""Gaussian records drawn for the null, in sets as large as the one that is measured."""

ROUNDING = 1e-6
"""Directions in which the tokens are smaller than this share of the largest are rounding of float32: not spanned."""

_OUTSIDE = 1e-9


def scores(tokens: Tensor) -> Tensor:
    """Leave-one-out uniqueness of every record.

    Args:
        tokens: one gradient a record, for L layers, `(L, N, d)`.

    Returns:
        `(L, N)`, float64, at least 0; infinite for a record outside the span of all others, 0 for a zero gradient, NaN
        for all records of a layer that has a token that is not finite.
    """
    h = leverage(tokens)
    return torch.where(h > 1.0 - _OUTSIDE, torch.inf, h / (1.0 - h).clamp_min(_OUTSIDE))


def leverage(tokens: Tensor) -> Tensor:
    """The bounded version, g_i^T S^+ g_i: `(L, N, d)` -> `(L, N)` in [0, 1], float64.

    Ranks as `scores` do; the leverages of a layer add up to the number of directions that its tokens span.
    """
    return _whitened(tokens).square().sum(-1).clamp(0.0, 1.0)


def _whitened(tokens: Tensor) -> Tensor:
    """Tokens in coordinates where S is the identity on the directions they span; 0 in the others."""
    finite = torch.isfinite(tokens).flatten(1).all(1)[:, None, None]
    left, size, _ = torch.linalg.svd(torch.where(finite, tokens, 0.0).double(), full_matrices=False)
    real = size > ROUNDING * size.amax(-1, keepdim=True)
    silent = (tokens == 0.0).all(-1)
    found: Tensor = (left * real[:, None]).masked_fill(silent[..., None], 0.0)
    return torch.where(finite, found, torch.nan)


def ranks(values: Tensor) -> Tensor:
    """Ranks of the records within each layer, from 0 (least) to 1 (most unique); equals share the mean: `(L, N)`."""
    n = values.shape[-1]
    if n < 2:
        return torch.full_like(values, 0.5, dtype=torch.float64)
    ranked = stats.rankdata(values.detach().cpu().numpy(), axis=-1)
    return torch.from_numpy((ranked - 1.0) / (n - 1.0)).to(values.device)


def measure(tokens: Tensor, seed: int) -> dict[str, list[Estimate]]:
    """How uneven uniqueness is: the share of all leverage that the top 1 % of the records carry, for each layer.

    Args:
        tokens: `(L, N, d)`.
        seed: seed of the resamples and of the null.

    Returns:
        `top_share`, one estimate for each layer. Null: the same of Gaussian tokens (leverage does not depend on their
        covariance, only on N and the directions they span). Ceiling: each of the top records at leverage 1, at most 1.
        The interval is over records, their part in the leverage of all others included (to first order). It held the
        mean share of fresh records in 97 % of trials on Gaussian tokens and 80 to 95 % on log-normal ones, and is too
        narrow where few records carry all and fewer than 2,000 were measured.
    """
    layers, n, _ = tokens.shape
    if why := too_few(n):
        return {"top_share": [inconclusive(why, n=n)] * layers}
    nulls: dict[int, float] = {}
    return {"top_share": [_top_share(layer, seed, nulls) for layer in tokens]}


def too_few(n: int, span: int = 0) -> str:
    """Why n records whose tokens span so many directions say nothing, with the number needed; empty if they do."""
    if n < LEAST_RECORDS:
        return f"needs {LEAST_RECORDS} records, has {n}"
    needed = RECORDS_PER_COORDINATE * span
    return f"needs {needed} records for {span} directions, has {n}" if n < needed else ""


def _top_share(tokens: Tensor, seed: int, nulls: dict[int, float]) -> Estimate:
    n = len(tokens)
    if not bool(torch.isfinite(tokens).all()):
        return inconclusive("tokens that are not finite", n=n)
    white = _whitened(tokens[None])[0]
    span = round(float(white.square().sum()))
    if span == 0:
        return inconclusive("tokens that are all zero", n=n)
    if why := too_few(n, span):
        return inconclusive(why, n=n)
    if span not in nulls:
        nulls[span] = _gaussian_share(n, span, seed)
    per_record = _influence(white, span).cpu().numpy()
    ceiling = min(1.0, _top(n) / span)
    # The top is few records: their spread is known to a t quantile of their number.
    few = float(stats.t.isf(0.025, _top(n))) / Z
    extra = (few**2 - 1.0) * float(per_record.var()) / n
    found = from_values(per_record, null=nulls[span], ceiling=ceiling, seed=seed, extra_variance=extra)
    return found.clipped(0.0, ceiling)


def _influence(white: Tensor, span: int) -> Tensor:
    """The share, and what each record does to it, as values of the records whose mean is the share: `(N,)`.

    A record counts by its own leverage as far as that is above the last of the top, and takes from the leverage of the
    top: the derivative of h_i by the weight of record j is -(g_i^T S^+ g_j)^2.
    """
    n = len(white)
    h = white.square().sum(-1)
    top = h.topk(_top(n)).indices
    own = (h - h[top[-1]]).clamp_min(0.0)
    taken = ((white @ (white[top].T @ white[top])) * white).sum(-1)
    moved = own - taken
    return h[top].sum() / span + (moved - moved.mean()) * (n / span)


def _top(n: int) -> int:
    """How many records the top is."""
    return math.ceil(TOP * n)


def _gaussian_share(n: int, span: int, seed: int) -> float:
    """Mean share for Gaussian tokens of the same number of records and directions."""
    generator = torch.Generator().manual_seed(seed)
    shares = []
    for _ in range(math.ceil(NULL_RECORDS / n)):
        basis = torch.linalg.qr(torch.randn(n, span, generator=generator, dtype=torch.float64)).Q
        shares.append(float(basis.square().sum(-1).topk(_top(n)).values.sum()) / span)
    return sum(shares) / len(shares)
