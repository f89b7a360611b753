"""The membership game, without reference models: was this record trained on?

The adversary holds the trained model (view `model`) and labelled members and non-members of the other half of the
records. Three scores of a record: its loss (Yeom et al., CSF 2018), the norm of its gradient, and the likelihood of its
gradient under members against non-members (after Nasr et al., S&P 2019). Scores over pooled records are not
calibrated per record: a TPR here is that of the population, not of each person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.adversaries.threshold import calibrate, fit_gradient_likelihood, shuffled_halves
from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.permutation import derangement
from ptaudit.stats.roc import auc, auc_estimate, tpr_at_fpr_estimate

Array = NDArray[np.float64]

LOW_FPRS = (0.01, 0.001)
MIN_RECORDS = 40
"""Fewest members, and fewest non-members."""

_NULL_SHUFFLES = 20
_TINY = 1e-30


@dataclass(frozen=True)
class Side:
    """What the weights give away of N records, all members or all non-members.

    Attributes:
        tokens: `(R, N, k)`, float64.
        norm_sq: squared gradient norms of the same rows, `(R, N)`.
        loss: `(N,)`.
    """

    tokens: Tensor
    norm_sq: Tensor
    loss: Tensor


def measure(members: Side, others: Side, joint: int, seed: int = 0) -> dict[tuple[str, int], dict[str, Estimate]]:
    """Play the game.

    Args:
        members: records that were trained on.
        others: records that were not.
        joint: the row of `tokens` that stands for all layers; the loss is reported there only.
        seed: seed of the halves, the shuffles and the resamples.

    Returns:
        For each adversary and row: `auc`, `bits`, `accuracy` (balanced) and the TPR at each low FPR.
    """
    n = min(len(members.loss), len(others.loss))
    rows = range(len(members.tokens))
    keys = [("loss", joint), *((name, row) for name in ("gradient-norm", "gradient-likelihood") for row in rows)]
    if n < MIN_RECORDS:
        return dict.fromkeys(
            keys, _all_inconclusive(f"needs {MIN_RECORDS} members and as many non-members, has {n}", n)
        )
    halves = [_halves(side, seed + i) for i, side in enumerate((members, others))]
    scores = _scores((members, others), halves, joint)
    found = {key: _estimates(*scores[key], halves, seed) for key in keys}
    return {key: _learned(lines) if key[0] == "gradient-likelihood" else lines for key, lines in found.items()}


def metric(fpr: float) -> str:
    """Name of the TPR at a false-positive rate."""
    return f"tpr_at_fpr_{fpr:g}"


def _halves(side: Side, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return shuffled_halves(len(side.loss), torch.Generator().manual_seed(seed))


def _scores(
    sides: tuple[Side, Side], halves: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], joint: int
) -> Mapping[tuple[str, int], tuple[Array, Array]]:
    """Scores of members and of non-members, higher for members, for each adversary and row.

    The likelihood of each half is fitted on the other.
    """
    found: dict[tuple[str, int], tuple[Array, Array]] = {}
    loss_in, loss_out = (-side.loss.double().cpu().numpy() for side in sides)
    found["loss", joint] = (loss_in, loss_out)
    norms = [-(side.norm_sq.double() + _TINY).log().cpu().numpy() for side in sides]
    likelihood = [np.full(norm.shape, np.nan) for norm in norms]
    for half in range(2):
        known = [side.tokens[:, h[1 - half]] for side, h in zip(sides, halves)]
        model = fit_gradient_likelihood(known[0], known[1])
        for side, h, out in zip(sides, halves, likelihood):
            out[:, h[half]] = model.score(side.tokens[:, h[half]]).cpu().numpy()
    for row in range(len(norms[0])):
        found["gradient-norm", row] = (norms[0][row], norms[1][row])
        found["gradient-likelihood", row] = (likelihood[0][row], likelihood[1][row])
    return found


def _estimates(
    scores_in: Array, scores_out: Array, halves: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], seed: int
) -> dict[str, Estimate]:
    """All metrics of one score: threshold and posterior of each half come from the other."""
    z, bits, right, null_bits, member = [], [], [], [], []
    for half in range(2):
        played = [scores_in[halves[0][half]], scores_out[halves[1][half]]]
        known = [scores_in[halves[0][1 - half]], scores_out[halves[1][1 - half]]]
        if not all(np.isfinite(np.concatenate(s)).all() for s in (played, known)):
            return _all_inconclusive("scores that are not finite", 0)
        truth = np.repeat([True, False], [len(s) for s in played])
        labels = np.repeat([True, False], [len(s) for s in known])
        score, reference = np.concatenate(played), np.concatenate(known)
        posterior = calibrate(reference, labels)
        normal = posterior.normal_score(score)
        z.append(normal)
        member.append(truth)
        bits.append(_balanced(posterior.bits(score, truth), truth))
        right.append(_balanced((normal > posterior.cut) == truth, truth))
        shuffle = np.random.default_rng([seed, half])
        blind = calibrate(reference, labels[derangement(len(labels), shuffle)])
        mixed = truth[derangement(len(truth), shuffle)]
        null_bits.append(_balanced(blind.bits(score, mixed), mixed))
    truth, normal = np.concatenate(member), np.concatenate(z)
    return _summarised(
        normal, truth, np.concatenate(bits), np.concatenate(right), float(np.mean(np.concatenate(null_bits))), seed
    )


def _summarised(
    z: Array, member: NDArray[np.bool_], bits: Array, right: Array, null_bits: float, seed: int
) -> dict[str, Estimate]:
    inside, outside = z[member], z[~member]
    null = _shuffled_auc(z, member, seed)
    found = {
        "auc": auc_estimate(inside, outside, seed=seed, null=null),
        "bits": from_values(bits, null=null_bits, ceiling=1.0, seed=seed).clipped(0.0, 1.0),
        "accuracy": from_values(right, null=0.5, ceiling=1.0, seed=seed).clipped(0.0, 1.0),
    }
    for fpr in LOW_FPRS:
        found[metric(fpr)] = tpr_at_fpr_estimate(inside, outside, fpr, seed=seed, null=fpr)
    return found


def _balanced(values: Array | NDArray[np.bool_], member: NDArray[np.bool_]) -> Array:
    """Values weighted so that members and non-members count alike in their mean, whatever the share of members."""
    weight = np.where(member, 0.5 / member.mean(), 0.5 / (~member).mean())
    return np.asarray(values * weight)


def _learned(lines: dict[str, Estimate]) -> dict[str, Estimate]:
    return {metric: _widened(estimate) for metric, estimate in lines.items()}


def _widened(estimate: Estimate) -> Estimate:
    """The estimate with its error times the root of two.

    What each half learns of the chance differences between members and others, the other half is tested against, and
    the other way round: both products are of the same two differences. Without signal the halves therefore err alike,
    and two of them are worth one. An interval that takes them for independent misses the truth in 17 % of cases.
    """
    if not estimate.conclusive or estimate.draws is None:
        return estimate
    centre, root = estimate.draws.mean(), math.sqrt(2.0)
    return replace(
        estimate,
        lo=estimate.value - root * (estimate.value - estimate.lo),
        hi=estimate.value + root * (estimate.hi - estimate.value),
        draws=centre + root * (estimate.draws - centre),
    ).clipped(0.0, estimate.ceiling)


def _shuffled_auc(z: Array, member: NDArray[np.bool_], seed: int) -> float:
    """Mean AUC of the same scores with membership shuffled."""
    generator = np.random.default_rng([seed, len(z)])
    found = []
    for _ in range(_NULL_SHUFFLES):
        shuffled = member[derangement(len(member), generator)]
        found.append(float(auc(z[shuffled], z[~shuffled])))
    return float(np.mean(found))


def _all_inconclusive(reason: str, n: int) -> dict[str, Estimate]:
    names = ("auc", "bits", "accuracy", *(metric(fpr) for fpr in LOW_FPRS))
    return {name: replace(inconclusive(reason, ceiling=1.0), n=n) for name in names}
