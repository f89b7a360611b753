"""From answers to numbers: bits, accuracy, gain, AUC and low-FPR power of a game about a secret, with honest intervals.

Games share records, so an interval over games would be too short. Every metric is written as the mean over games of a
value of each game (for an AUC DeLong's placement); every record then gets its share of the error (see
`resampling_units`), and what is resampled is the record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.calibration import LEAST_PRIOR, at, log_prior, top_hit
from ptaudit.games.common.batches import Answers
from ptaudit.games.common.crossfit import closed
from ptaudit.games.common.one_vs_rest import LEAST_TARGETS, OneVsRest, one_vs_rest_of, placements, power, weights_of
from ptaudit.games.common.resampling_units import ResamplingUnits, errors, independent_games, resampling_units_of
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import LOW_FPRS, tpr_name

Array = NDArray[np.float64]
Index = NDArray[np.int64]

NOT_FINITE = "gradients that are not finite"

METRICS = ("bits", "accuracy", "gain", "auc")
"""Metrics that are means over games, in the order of `Values`."""


@dataclass(frozen=True)
class Values:
    """What the games of one half say, for P lines.

    Attributes:
        games: values whose mean over games is the metric, `(4, P, G)`, see `METRICS`.
        null: of the same game with the secret shuffled, `(4, P)`.
        comparisons: what an AUC judges, see `one_vs_rest`.
        weights: of the comparisons.
        units: what is resampled.
    """

    games: Tensor
    null: Tensor
    comparisons: list[OneVsRest]
    weights: Array
    units: ResamplingUnits


def score(
    halves: Sequence[Answers], records: int, seed: int, ceiling: float | None = None, *, clip: bool = True
) -> dict[str, list[Estimate]]:
    """Score what an adversary said of the reported games.

    Args:
        halves: answers of the cross-fitted halves, which share no records.
        records: number of audited records N: members and units are numbers below it.
        seed: of the resamples, the same for all rows of a run, and of the draws of games that share nobody.
        ceiling: most bits that the secret allows; the entropy of the prior if left out.
        clip: whether bits and gain below 0 are reported as 0: not for an adversary who may be wrong about its view.

    Returns:
        One estimate a line for each of

        - `bits`: log2 posterior less log2 prior of the secret. Null: prepared with shuffled secrets.
        - `accuracy`: of the most likely value. Null: of the most likely value without the gradient.
        - `gain`: accuracy less that null. Its own null: with shuffled secrets.
        - `auc`: of the log-ratio of posterior to prior: for two values that of 1 less that of 0, of the games with
          secret 1 against those with 0; for more, for each value v its own log-ratio, of the games with secret v
          against all others, averaged over v by the prior. A value that fewer than 5 targets have, or lack, in a half
          is left out. Who says the same of every game has 0.5. DeLong et al., Biometrics 44 (1988).
        - `tpr_at_fpr_0.01`, `tpr_at_fpr_0.001`: of the same scores over games that share no target (where there is no
          target: no record), for more than two values with a threshold for each, see `one_vs_rest.power`;
              `inconclusive` where the games are too few.

        `n` is the number of units; where there are none, of records that fill the batches. A line with answers that are
        not numbers is inconclusive.
    """
    generator = torch.Generator().manual_seed(seed)
    resampling_units = [resampling_units_of(half.batches) for half in halves]
    finite = torch.stack([~torch.isnan(q).flatten(1).any(1).cpu() for h in halves for q in (h.log_q, h.null_log_q)])
    fine = torch.nonzero(finite.all(0)).flatten()
    n = sum(units.size for units in resampling_units)
    lost = inconclusive(NOT_FINITE, n=n)
    found = {name: [lost] * finite.shape[1] for name in (*METRICS, *map(tpr_name, LOW_FPRS))}
    if len(fine):
        weights = weights_of(halves, resampling_units)
        values = [values_of(half, fine, weights, units) for half, units in zip(halves, resampling_units)]
        every = torch.cat([half.batches.prior for half in halves])
        rows = _means(values, entropy(every) if ceiling is None else ceiling, records, seed, clip)
        rows |= _powers(values, [independent_games(units, generator) for units in resampling_units], seed)
        for name, row in rows.items():
            for line, estimate in zip(fine.tolist(), row):
                found[name][line] = estimate
    return found


def entropy(prior: Tensor) -> float:
    """Entropy of the prior in bits, averaged over games; `(G, K)`."""
    return float(-(prior.double() * log_prior(prior)).sum(-1).mean() / math.log(2.0))


# What a game is worth


def values_of(half: Answers, fine: Tensor, weights: Array, units: ResamplingUnits) -> Values:
    """The values of all games for the lines that are fine, and the scores that an AUC compares."""
    secret, prior = half.batches.secret.cpu(), half.batches.prior.cpu()
    least = log_prior(prior)
    real, null = (
        q.cpu()[fine].double().clamp_min(math.log(LEAST_PRIOR)) - least for q in (half.log_q, half.null_log_q)
    )
    wrong = half.wrong.cpu()
    comparisons = one_vs_rest_of(real, secret)
    placed = [placements(some, weights) for some in (comparisons, one_vs_rest_of(null, wrong))]
    hits, guess = top_hit(real + least, secret), top_hit(least[None], secret)
    fooled = top_hit(null + least, wrong) - top_hit(least[None], wrong)
    games = torch.stack([at(real, secret) / math.log(2.0), hits, hits - guess, placed[0]])
    nulls = torch.stack([at(null, wrong) / math.log(2.0), guess.expand_as(hits), fooled, placed[1]])
    return Values(games, nulls.mean(-1), comparisons, weights, units)


# What all games say


def _means(values: Sequence[Values], top: float, records: int, seed: int, clip: bool) -> dict[str, list[Estimate]]:
    """The metrics that are means over games."""
    metrics, lines, _ = values[0].games.shape
    games = [some.games.flatten(0, 1) for some in values]
    share = torch.tensor([part.shape[1] for part in games], dtype=torch.float64)
    share /= share.sum()
    means = torch.stack([part.mean(1) for part in games])
    per_record = (share @ means)[:, None].repeat(1, records)
    drawn = means.new_zeros(metrics * lines)
    units = sum(len(some.units.units) for some in values)
    for part, some, weight in zip(games, values, share):
        per_record += weight * errors(part, some.units, units, records)
        if some.units.unit is None:  # games drawn at random; with units their spread is in that of the units
            drawn += weight**2 * part.var(1) / part.shape[1]
    # The halves are answered by differently fitted adversaries: a difference that the records do not explain counts.
    between = means.var(0) / len(means) if len(means) > 1 else torch.zeros_like(drawn)
    extra = drawn + (between - per_record.var(1) / records - drawn).clamp_min(0.0)
    null = torch.einsum("h,hml->ml", share, torch.stack([some.null for some in values]))
    ceilings = [top, 1.0, 1.0 - float(null[1, 0]), 1.0]
    found = from_matrix(
        per_record.numpy(),
        null=null.flatten().numpy(),
        ceiling=np.repeat(ceilings, lines),
        seed=seed,
        extra_variance=extra.numpy(),
    )
    apart, size = (sum(getattr(some.units, name) for some in values) for name in ("apart", "size"))
    rows = {}
    for i, (name, ceiling) in enumerate(zip(METRICS, ceilings)):
        low = 0.0 if clip or name in ("accuracy", "auc") else -math.inf
        mine = found[i * lines : (i + 1) * lines]
        reason = "needs 3 targets" if name != "auc" else _no_auc(len(values[0].comparisons))
        rows[name] = [
            replace(closed(one, apart, low), n=size) if one.conclusive
            else inconclusive(reason, ceiling=ceiling, n=size)
            for one in mine
        ]  # fmt: skip
    return rows


def _no_auc(comparisons: int) -> str:
    sides = "either secret" if comparisons == 1 else f"{LEAST_TARGETS} targets with and without a value of the secret"
    return f"needs games with {sides} in both halves"


def _powers(values: Sequence[Values], games: Sequence[Index], seed: int) -> dict[str, list[Estimate]]:
    """TPR at low FPRs of the comparisons, of some games of each half."""
    pooled = []
    for parts in zip(*(some.comparisons for some in values)):
        scores = np.concatenate([part[0][:, mine] for part, mine in zip(parts, games)], 1)
        pooled.append((scores, np.concatenate([part[1][mine] for part, mine in zip(parts, games)])))
    lines = range(len(pooled[0][0]))
    return {tpr_name(fpr): [power(pooled, line, fpr, seed) for line in lines] for fpr in LOW_FPRS}
