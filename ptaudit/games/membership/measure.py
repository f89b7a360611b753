"""The membership game, without reference models: was this record trained on?

The adversary holds the trained model (view `model`) and labelled members and non-members of the other half of the
records. Three scores of a record: its loss (Yeom et al., CSF 2018), the norm of its gradient, and the likelihood of its
gradient under members against non-members (after Nasr et al., S&P 2019); others are given. Scores over pooled records
are not calibrated per record: a TPR here is that of the population, not of each person.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from ptaudit.attacks.threshold import calibrate, fit_gradient_likelihood, shuffled_halves
from ptaudit.games.membership.info import OF_TOKENS, OWN, TAIL, metrics_of
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.permutation import derangement
from ptaudit.stats.roc import LOW_FPRS, auc_estimate, tnr_at_fnr_estimate, tpr_at_fpr_estimate, tpr_name

Array = NDArray[np.float64]
Halves = tuple[NDArray[np.int64], NDArray[np.int64]]
Key = tuple[str, int]
"""Adversary and row."""
Sides = tuple[Array, Array]
"""Scores of members and of others, higher for members."""
Lines = dict[str, Estimate]
"""One estimate for each metric."""

MIN_RECORDS = 40
"""Fewest members, and fewest non-members."""

OF_LEARNED = math.sqrt(2.0)
"""Factor on the error of who learns the likelihood of gradients, see `learned`."""

_NULL_SHUFFLES = 20
TAIL_FNR = 0.01
_TINY = 1e-30


@dataclass(frozen=True)
class RecordSignals:
    """What the weights give away of N records, all members or all non-members.

    Attributes:
        tokens: `(R, N, k)`, float64; the last row stands for all layers.
        norm_sq: squared gradient norms of the same rows, `(R, N)`.
        loss: `(N,)`.
    """

    tokens: Tensor
    norm_sq: Tensor
    loss: Tensor


@dataclass(frozen=True)
class Measured:
    """What the game found.

    Attributes:
        lines: for each adversary and row `auc`, `bits`, `accuracy` (balanced) and the TPR at each low FPR.
        normal: the scores that these are of, as normal scores; NaN for a record that is in neither half.
    """

    lines: Mapping[Key, Lines]
    normal: Mapping[Key, Sides]


def measure(
    members: RecordSignals,
    others: RecordSignals,
    seed: int = 0,
    more: Mapping[Key, Sides] | None = None,
    attacks: Collection[str] = OWN,
) -> Measured:
    """Play the game.

    Args:
        members: records that were trained on.
        others: records that were not.
        seed: seed of the halves, the shuffles and the resamples.
        more: scores of further attacks.
        attacks: which of `OWN` to play; the loss is reported for all layers jointly only.
    """
    n = min(len(members.loss), len(others.loss))
    rows, more = range(len(members.tokens)), more or {}
    keys: list[Key] = [("loss", rows[-1]), *more]
    keys += [(name, row) for name in OF_TOKENS for row in rows]
    keys = [key for key in keys if key in more or key[0] in attacks]
    if why := too_few(n):
        return Measured({key: unmeasured(key[0], why, n) for key in keys}, {})
    halves = halves_of((len(members.loss), len(others.loss)), seed)
    return _estimates({**_scores((members, others), halves, attacks), **more}, halves, seed)


def too_few(n: int) -> str:
    """Why so many members and as many others are not enough, with the number needed; empty if they are."""
    return f"needs {MIN_RECORDS} members and as many non-members, has {n}" if n < MIN_RECORDS else ""


def halves_of(records: tuple[int, int], seed: int) -> list[Halves]:
    """Halves of so many members, and of so many others: what is learned on one half is reported on the other."""
    return [shuffled_halves(n, torch.Generator().manual_seed(seed + i)) for i, n in enumerate(records)]


def _scores(
    sides: tuple[RecordSignals, RecordSignals], halves: Sequence[Halves], attacks: Collection[str]
) -> dict[Key, Sides]:
    """Scores of members and of non-members, higher for members, for each adversary and row."""
    joint = len(sides[0].tokens) - 1
    found: dict[Key, Sides] = {}
    if "loss" in attacks:
        loss_in, loss_out = (-side.loss.double().cpu().numpy() for side in sides)
        found["loss", joint] = (loss_in, loss_out)
    by_row: dict[str, list[Array]] = {}
    if "gradient-norm" in attacks:
        by_row["gradient-norm"] = [-(side.norm_sq.double() + _TINY).log().cpu().numpy() for side in sides]
    if "gradient-likelihood" in attacks:
        by_row["gradient-likelihood"] = _likelihoods(sides, halves)
    for row in range(joint + 1):
        found |= {(name, row): (inside[row], outside[row]) for name, (inside, outside) in by_row.items()}
    return found


def _likelihoods(sides: tuple[RecordSignals, RecordSignals], halves: Sequence[Halves]) -> list[Array]:
    """Of members and of non-members, `(R, n)`; that of each half is fitted on the other."""
    likelihood = [np.full(side.norm_sq.shape, np.nan) for side in sides]
    for half in range(2):
        known = [side.tokens[:, h[1 - half]] for side, h in zip(sides, halves)]
        model = fit_gradient_likelihood(known[0], known[1])
        for side, h, out in zip(sides, halves, likelihood):
            out[:, h[half]] = model.score(side.tokens[:, h[half]]).cpu().numpy()
    return likelihood


@dataclass(frozen=True)
class _CrossScored:
    """One score after the game: threshold and posterior of each half come from the other.

    Attributes:
        normal: normal scores of all records, `(n,)`.
        bits: bits of each record, weighted by `_balanced`.
        right: whether the threshold was right, weighted likewise.
        null_bits: mean bits with membership shuffled.
    """

    normal: Array
    bits: Array
    right: Array
    null_bits: float


def _estimates(scores: Mapping[Key, Sides], halves: Sequence[Halves], seed: int) -> Measured:
    """All metrics of every score; those of one metric together, as all are of the same records."""
    # With an odd number of records one is in neither half, and has no likelihood.
    used = [np.concatenate(side) for side in halves]
    finite = {
        key: both
        for key, both in scores.items()
        if all(np.isfinite(side[index]).all() for side, index in zip(both, used))
    }
    lost = {key: unmeasured(key[0], "scores that are not finite", 0) for key in scores}
    if not finite:
        return Measured(lost, {})
    truth = [np.repeat([True, False], [len(side[half]) for side in halves]) for half in range(2)]
    played = {key: _play(both, halves, truth, seed) for key, both in finite.items()}
    bits = from_matrix(
        np.stack([p.bits for p in played.values()]), null=[p.null_bits for p in played.values()], ceiling=1.0, seed=seed
    )
    right = from_matrix(np.stack([p.right for p in played.values()]), null=0.5, ceiling=1.0, seed=seed)
    member = np.concatenate(truth)
    nulls = _shuffled_auc([p.normal for p in played.values()], member, seed)
    found = {}
    for i, (key, p) in enumerate(played.items()):
        inside, outside = p.normal[member], p.normal[~member]
        lines = {
            "auc": auc_estimate(inside, outside, seed=seed, null=nulls[i]),
            "bits": bits[i].clipped(0.0, 1.0),
            "accuracy": right[i].clipped(0.0, 1.0),
            **{tpr_name(f): tpr_at_fpr_estimate(inside, outside, f, seed=seed) for f in (*LOW_FPRS, 0.0)},
        }
        if key[0] == "loss":
            lines[TAIL] = tnr_at_fnr_estimate(inside, outside, TAIL_FNR, seed=seed)
        found[key] = {metric: learned(key[0], estimate) for metric, estimate in lines.items()}
    normal = {key: _by_record(p.normal, finite[key], halves) for key, p in played.items()}
    return Measured({**lost, **found}, normal)


def _by_record(normal: Array, sides: Sides, halves: Sequence[Halves]) -> Sides:
    """Normal scores in the order of the records: they come half by half, members first."""
    ordered, start = (np.full(len(sides[0]), np.nan), np.full(len(sides[1]), np.nan)), 0
    for half in range(2):
        for side, parts in zip(ordered, halves):
            side[parts[half]] = normal[start : start + len(parts[half])]
            start += len(parts[half])
    return ordered


def _play(scores: Sides, halves: Sequence[Halves], truth: Sequence[NDArray[np.bool_]], seed: int) -> _CrossScored:
    normal, bits, right, null_bits = [], [], [], []
    by_half = [np.concatenate([side[h[half]] for side, h in zip(scores, halves)]) for half in range(2)]
    for half, (score, member) in enumerate(zip(by_half, truth)):
        reference, known = by_half[1 - half], truth[1 - half]
        posterior = calibrate(reference, known)
        normal.append(posterior.normal_score(score))
        bits.append(_balanced(posterior.bits(score, member), member))
        right.append(_balanced((normal[-1] > posterior.cut) == member, member))
        shuffle = np.random.default_rng([seed, half])
        blind = calibrate(reference, known[derangement(len(known), shuffle)])
        mixed = member[derangement(len(member), shuffle)]
        null_bits.append(_balanced(blind.bits(score, mixed), mixed))
    z, b, r, null = (np.concatenate(part) for part in (normal, bits, right, null_bits))
    return _CrossScored(z, b, r, float(null.mean()))


def _balanced(values: Array | NDArray[np.bool_], member: NDArray[np.bool_]) -> Array:
    """Values weighted so that members and non-members count alike in their mean, whatever the share of members."""
    weight = np.where(member, 0.5 / member.mean(), 0.5 / (~member).mean())
    return np.asarray(values * weight)


def learned(adversary: str, estimate: Estimate) -> Estimate:
    """The estimate; of who learns the likelihood of gradients from records, with its error times the root of two.

    What each half learns of the chance differences between members and others, the other half is tested against, and
    the other way round: both products are of the same two differences. Without signal the halves therefore err alike,
    and two of them are worth one. An interval that takes them for independent misses the truth in 17 % of cases.
    """
    if adversary != "gradient-likelihood" or not estimate.conclusive:
        return estimate
    draws, root = estimate.draws, OF_LEARNED
    return replace(
        estimate,
        lo=estimate.value - root * (estimate.value - estimate.lo),
        hi=estimate.value + root * (estimate.hi - estimate.value),
        draws=None if draws is None else draws.mean() + root * (draws - draws.mean()),
    ).clipped(0.0, estimate.ceiling)


def _shuffled_auc(scores: Sequence[Array], member: NDArray[np.bool_], seed: int) -> Array:
    """Mean AUC of each score with membership shuffled, from the sum of the members' ranks (Mann and Whitney 1947)."""
    generator = np.random.default_rng([seed, len(member)])
    shuffled = np.stack([member[derangement(len(member), generator)] for _ in range(_NULL_SHUFFLES)])
    ranks = rankdata(np.stack(scores), axis=1)
    inside = member.sum()
    sums = (ranks @ shuffled.T).mean(1)
    return np.asarray((sums - inside * (inside + 1) / 2) / (inside * (len(member) - inside)))


def unmeasured(adversary: str, reason: str, n: int = 0) -> Lines:
    """All that an adversary reports, as inconclusive."""
    return {name: replace(inconclusive(reason, ceiling=1.0), n=n) for name in metrics_of(adversary)}
