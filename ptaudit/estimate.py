"""The estimators as functions of arrays: what the audit plays, on anybody's numbers.

Arrays, lists, tensors and columns of a table are all taken, one row a record. One dimension of integers, booleans or
words are classes; everything else is numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ptaudit.array_input import numbers_of, side_of
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.attacks.registry import OF_TOKENS
from ptaudit.attacks.usable import LabelledTokens
from ptaudit.attacks.usable import measure as measure_usable
from ptaudit.estimators import uniqueness as leave_one_out
from ptaudit.estimators.base import REPORT, STOP, TRAIN, Pairs
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.games.identity import measure as identity
from ptaudit.spec.base import nearest
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.status import limited_by_sketch
from ptaudit.threads import one_thread
from ptaudit.views.view import View

__all__ = ["Estimate", "identity_bits", "mutual_information", "uniqueness", "usable_information"]

_SHARES = {TRAIN: 0.6, STOP: 0.2}


@one_thread()
def identity_bits(
    tokens: ArrayLike | Tensor,
    batch_size: int = 32,
    noise: float = 0.0,
    candidates: int = 256,
    seed: int = 0,
    rounds: int = 1,
) -> Estimate:
    """Bits that the sum of a batch of tokens gives away about which of K candidates was in it.

    A lower bound on the mutual information, by a calibrated likelihood ratio (`games.identity`). With fewer than 20
    records for each record of a batch the result is inconclusive; 32 are advised.

    Tokens are sketches, and do not hold the algebra of the gradients they are made of: an adversary with whole
    gradients, as in an audit, finds more, in small batches nearly everything. So a result without noise that is below
    90 % of its ceiling has the status `sketch-limited`: the leak of these tokens, and not of the gradients behind them.

    Args:
        tokens: one row a record, shape `(N, k)`.
        batch_size: records in a batch (m), the target included.
        noise: standard deviation per coordinate of Gaussian noise on the sum of the batch.
        candidates: most candidates; K = min(candidates, N/4), and log2 K is the ceiling.
        seed: seed of the split, the draws and the resamples.
        rounds: independent batches that hold the same target.

    Returns:
        Value, 95 % interval, null and ceiling in bits; `n` is the number of distinct targets.

    Raises:
        ValueError: for tokens that are not a matrix, or sizes and noise out of range.
    """
    given = tokens.detach() if isinstance(tokens, Tensor) else torch.as_tensor(np.asarray(tokens, dtype=np.float64))
    matrix = given.to(torch.float64)
    if matrix.dim() != 2 or matrix.shape[1] == 0:
        raise ValueError(f"tokens must have shape (records, coordinates), not {tuple(matrix.shape)}")
    if batch_size < 1 or rounds < 1 or candidates < 2 or not noise >= 0.0:
        raise ValueError("batch_size and rounds must be at least 1, candidates at least 2, noise at least 0")
    view = View("tokens", batch_size, rounds, noise_std=noise)
    adversary, found = identity.measure(Known(matrix[None], view), [[0]], [None], Effort(candidates), seed)
    bits = found["bits"][0]
    return bits if noise > 0.0 or adversary == "exact" else limited_by_sketch(bits)


@one_thread()
def mutual_information(
    x: ArrayLike | Tensor, y: ArrayLike | Tensor, estimator: str = "ksg", seed: int = 0, **options: int | str
) -> Estimate:
    """Mutual information between two sides of the same records.

    What each estimator bounds and where it fails is in its module, `ptaudit.estimators.NAME`. Of the records 60 % train
    an estimator that has something to train, 20 % end its training, 20 % are reported.

    Args:
        x: one row a record: numbers `(N,)` or `(N, d)`, or classes `(N,)`.
        y: likewise; not both sides may be classes.
        estimator: `ksg`, `gaussian` or `sliced`; or a critic, `infonce`, `nwj`, `mine` or `smile`.
        seed: seed of the parts, the fits and the resamples.
        options: of the estimator, e.g. `neighbours=5`.

    Returns:
        Value, 95 % interval, null and ceiling in bits. The value is the estimator's own and may be below 0. Sides that
        say nothing (constant, too few records) are inconclusive, with the reason.

    Raises:
        ValueError: for an unknown estimator or option, sides of different length, values that are missing or infinite,
            or classes on both sides.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r} ({nearest(estimator, ESTIMATORS)})")
    one, two = side_of(x, "x"), side_of(y, "y")
    n = _same_length(one, two, ("x", "y"))
    if not one.is_floating_point():
        one, two = two, one
    if not one.is_floating_point():
        raise ValueError(
            "x and y are both classes: count them (sklearn.metrics.mutual_info_score, in nats) or ask "
            "usable_information; integers that are quantities must be given as floats"
        )
    pairs = Pairs(one[None], two[None], torch.arange(n), random_parts(n, seed))
    return ESTIMATORS[estimator](pairs, seed, **options)[0].bits


@one_thread()
def usable_information(
    tokens: ArrayLike | Tensor, secret: ArrayLike | Tensor, family: str = "linear", seed: int = 0
) -> Estimate:
    """Bits that predictors of one family get out of tokens about a secret (V-information), on records they never saw.

    See `ptaudit.attacks.usable` for what it bounds and where it fails.

    Args:
        tokens: one row a record: numbers `(N,)` or `(N, d)`, or classes `(N,)`, which are taken as indicators.
        secret: classes `(N,)`, or numbers `(N,)` or `(N, s)`.
        family: `linear`, `mlp` or `knn`.
        seed: seed of the folds, the fits and the resamples.

    Returns:
        Value, 95 % interval, null and ceiling in bits, clipped to [0, ceiling]; the ceiling is the entropy of the
        classes, NaN for numbers. Fewer than 80 records, or 8 of a class, are inconclusive.

    Raises:
        ValueError: for an unknown family, sides of different length, or values that are missing or infinite.
    """
    if family not in OF_TOKENS:
        raise ValueError(f"unknown family {family!r} ({nearest(family, OF_TOKENS)})")
    seen, hidden = side_of(tokens, "tokens"), side_of(secret, "secret")
    n = _same_length(seen, hidden, ("tokens", "secret"))
    if not seen.is_floating_point():
        seen = torch.nn.functional.one_hot(seen).double()
    return measure_usable(LabelledTokens(seen[None], hidden, torch.arange(n)), [[0]], family, seed)["bits"][0]


def uniqueness(tokens: ArrayLike | Tensor) -> NDArray[np.float64]:
    """How much each record's gradient stands out from those of all others, as a rank (no probability, no bits).

    Args:
        tokens: one gradient a record, `(N, d)`, with far more records than coordinates.

    Returns:
        Ranks from 0 (least) to 1 (most unique), `(N,)`; see `ptaudit.estimators.uniqueness`.

    Raises:
        ValueError: for tokens that are not a matrix of finite numbers.
    """
    matrix = numbers_of(tokens, "tokens")
    return np.asarray(leave_one_out.ranks(leave_one_out.scores(matrix[None]))[0].numpy(), dtype=np.float64)


def _same_length(one: Tensor, two: Tensor, names: tuple[str, str]) -> int:
    if len(one) != len(two):
        raise ValueError(
            f"{names[0]} has {len(one)} records and {names[1]} has {len(two)}: row i of both must be the same record"
        )
    return len(one)


def random_parts(n: int, seed: int) -> Tensor:
    """A part for each record, drawn at random in the shares of `_SHARES`; the rest is reported."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    sizes = [int(n * _SHARES[TRAIN]), int(n * _SHARES[STOP])]
    part = torch.full((n,), REPORT)
    part[order[: sizes[0]]] = TRAIN
    part[order[sizes[0] : sum(sizes)]] = STOP
    return part
