"""Usable information of a secret in tokens, with interval, null and ceiling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ptaudit.attacks.registry import OF_TOKENS, load
from ptaudit.attacks.usable import scores
from ptaudit.attacks.usable.family import Family
from ptaudit.attacks.usable.folds import Folds, cross_predictions, given, split
from ptaudit.estimators.pairing import mismatched
from ptaudit.stats.binomial import rule_of_three
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import Estimate, inconclusive

LEAST_RECORDS = 80
"""Fewest records; fewer make the measurement inconclusive."""

RECORDS_PER_CLASS = 8
"""Fewest records of each class: two in every fold."""

LEAST_FOLDS = 3
RECORDS_PER_FOLD = 10
"""Fewest folds of the caller's, and fewest records in each."""

_NEAR_CEILING = 0.99
_CELLS = 1 << 25

FoldScores = tuple[Tensor, Tensor]
"""Scores of every record `(metrics, L, N)`, and mean bits on the choosing folds `(L, folds)`."""


@dataclass(frozen=True)
class LabelledTokens:
    """G rows of tokens, and what they may tell.

    Attributes:
        tokens: for L layers, `(L, G, d)`.
        secret: classes `(G,)`, any integers; or numbers `(G,)` or `(G, s)`.
        record: the record of each row, `(G,)`: folds and intervals are over records, and each record counts once.
        folds: fold of each row, `(G,)`, at least three; four are drawn where there are none. To be given where rows of
            different records share others (the rest of a batch).
    """

    tokens: Tensor
    secret: Tensor
    record: Tensor
    folds: Tensor | None = None


def measure(told: LabelledTokens, groups: Sequence[Sequence[int]], family: str, seed: int) -> dict[str, list[Estimate]]:
    """V-information of a secret in tokens, for all layers at once.

    For classes it bounds I(S;T) from below in expectation. For numbers both predictors are Gaussian, so it does so for
    Gaussian secrets only: of a secret with two peaks, say, the Gaussian prior is poor, and bits that a better prior
    would give are counted as the tokens'. Several numbers are scored jointly, with full covariances.

    It is low where the family is too small for the dependence (linear: an XOR; knn: many coordinates) or the records
    are few for the size of the token: predictors are fitted on half of them (of four folds), and three are averaged.

    Args:
        told: tokens and secrets of the same rows.
        groups: for each reported row the layers that the adversary chooses from, on the choosing folds.
        family: one of `registry.OF_TOKENS`.
        seed: seed of the folds, the fits, the shuffle and the resamples.

    Returns:
        `bits`, and for classes `accuracy`, one estimate for each group, clipped to [0, ceiling] after the interval is
        formed (the draws are not). Ceiling of the bits: entropy of the class frequencies, NaN for numbers. Null of the
        bits: all of it again with the secrets deranged over the records of each fold; of the accuracy: the frequency of
        the most frequent class.

    Raises:
        ValueError: for an unknown family.
    """
    if family not in OF_TOKENS:
        raise ValueError(f"unknown family {family!r}: one of {', '.join(OF_TOKENS)}")
    tokens, folds = told.tokens, told.folds
    secret, record = told.secret.to(tokens.device), told.record.to(tokens.device)
    discrete = not secret.is_floating_point()
    if reason := _why_not(tokens, secret, record, folds):
        lost = inconclusive(reason, n=len(torch.unique(record)))
        return {metric: [lost] * len(groups) for metric in (("bits", "accuracy") if discrete else ("bits",))}
    secret = torch.unique(secret, return_inverse=True)[1] if discrete else secret.double().view(len(secret), -1)
    generator = torch.Generator().manual_seed(seed)
    if folds is None:
        parts = split(record, secret if discrete else None, generator)
    else:
        parts = given(record, folds.to(record.device))
    wrong = mismatched(record, parts.fold, generator).to(secret.device)
    finite = torch.isfinite(tokens).flatten(1).all(1)
    usable = torch.where(finite[:, None, None], tokens, 0.0)
    real, null = _play(usable, [secret, secret[wrong]], parts, load(OF_TOKENS[family]), seed)
    scored, null_bits = _of_groups(real, groups, parts), _of_groups(null, groups, parts)[0].mean(-1)
    found = {"bits": _estimates(scored[0], null_bits, _entropy(secret, parts) if discrete else math.nan, parts, seed)}
    if discrete:
        guess = torch.full_like(null_bits, float(_frequencies(secret, parts).max()))
        found["accuracy"] = _estimates(scored[1], guess, 1.0, parts, seed)
    whole = [bool(finite[list(group)].all()) for group in groups]
    lost = inconclusive("tokens that are not finite", n=len(parts.of_record))
    return {metric: [e if fine else lost for e, fine in zip(row, whole)] for metric, row in found.items()}


def _play(tokens: Tensor, versions: Sequence[Tensor], folds: Folds, family: Family, seed: int) -> list[FoldScores]:
    """Every version of the secret, as many layers at a time as memory bears."""
    discrete = not versions[0].is_floating_point()
    width = int(versions[0].max()) + 1 if discrete else versions[0].shape[1]
    hidden = torch.stack([one_hot(secret, width) if discrete else secret for secret in versions])
    score = scores.of_classes if discrete else scores.of_numbers
    cells = len(versions) * family.settings * tokens.shape[1] * folds.count * width
    predict, parts = family.predictor(discrete, seed), []
    for some in torch.split(tokens, max(1, _CELLS // cells)):
        answers = cross_predictions(some, hidden, folds, predict)
        parts.append([score(answer, secret, folds) for answer, secret in zip(answers, versions)])
    return [
        (folds.record_means(torch.cat([scored for scored, _ in same], 1)), torch.cat([bits for _, bits in same]))
        for same in zip(*parts)
    ]


def _of_groups(played: FoldScores, groups: Sequence[Sequence[int]], folds: Folds) -> Tensor:
    """In each fold the scores of the layer that was best on the choosing ones: `(metrics, groups, N)`."""
    scored, bits = played
    every, rows = torch.arange(scored.shape[-1], device=bits.device), []
    for group in groups:
        layers = torch.tensor(list(group), device=bits.device)
        best = layers[bits[layers].argmax(0)]
        rows.append(scored[:, best[folds.of_record], every])
    return torch.stack(rows, 1)


def _estimates(values: Tensor, null: Tensor, ceiling: float, folds: Folds, seed: int) -> list[Estimate]:
    """One estimate for each row of `values` (groups, N).

    The folds are answered by differently fitted predictors: where their means differ by more than the records explain,
    the difference widens the interval.
    """
    per_record, n = values.double().cpu(), values.shape[-1]
    place = folds.of_record.cpu()
    means = torch.stack([per_record[:, place == fold].mean(1) for fold in range(folds.count)])
    extra = (means.var(0) / folds.count - per_record.var(1) / n).clamp_min(0.0)
    found = from_matrix(
        per_record.numpy(), null=null.cpu().numpy(), ceiling=ceiling, seed=seed, extra_variance=extra.numpy()
    )
    top = math.inf if math.isnan(ceiling) else ceiling
    # Near the ceiling the few records that were not won say little of those to come.
    least = rule_of_three(ceiling, n)
    closed = [replace(e, lo=min(e.lo, least)) if e.value >= _NEAR_CEILING * top else e for e in found]
    return [e.clipped(0.0, top) if e.conclusive else e for e in closed]


def _frequencies(secret: Tensor, folds: Folds) -> Tensor:
    """Share of each class, every record counted once."""
    return folds.record_means(one_hot(secret).T.double()).mean(-1)


def _entropy(secret: Tensor, folds: Folds) -> float:
    share = _frequencies(secret, folds)
    return float(-(share * share.log2()).sum())


def too_few(n: int) -> str:
    """Why nothing can be measured of n records, with the number needed; empty if something can."""
    return f"needs {LEAST_RECORDS} records, has {n}" if n < LEAST_RECORDS else ""


def _why_not(tokens: Tensor, secret: Tensor, record: Tensor, folds: Tensor | None) -> str:
    """Why nothing can be measured, in words with the number needed; empty if something can."""
    n = len(torch.unique(record))
    if why := too_few(n):
        return why
    if folds is not None and (reason := _why_not_folds(record, folds)):
        return reason
    if tokens.shape[-1] == 0:
        return "tokens without coordinates"
    if secret.is_floating_point():
        if not bool(torch.isfinite(secret).all()):
            return "a secret that is not finite"
        return "a secret that is the same for all records" if bool((secret == secret[0]).all()) else ""
    pairs = torch.unique(torch.stack([secret.long(), record.long()], 1), dim=0)
    names, count = torch.unique(pairs[:, 0], return_counts=True)
    if len(names) == 1:
        return "a secret that is the same for all records"
    rarest = int(count.argmin())
    if count[rarest] < RECORDS_PER_CLASS:
        return f"class {int(names[rarest])} has {int(count[rarest])} records, needs {RECORDS_PER_CLASS}"
    return ""


def _why_not_folds(record: Tensor, folds: Tensor) -> str:
    pairs = torch.unique(torch.stack([folds.to(record.device), record], 1), dim=0)
    count = torch.unique(pairs[:, 0], return_counts=True)[1]
    if len(count) < LEAST_FOLDS:
        return f"needs {LEAST_FOLDS} folds, has {len(count)}"
    least = int(count.min())
    return "" if least >= RECORDS_PER_FOLD else f"needs {RECORDS_PER_FOLD} records in every fold, has {least} in one"
