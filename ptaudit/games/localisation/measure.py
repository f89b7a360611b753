"""Which layer does a secret move? Sensitivity, and how far apart the gradients of the secret's groups lie.

No adversary wins anything here, and nothing is in bits: these are the metrics of Mo et al. (arXiv 2105.13929) that say
where to look. `sensitivity` and `input_sensitivity` are root mean squares of the entries of Jacobians (see
`gradients.sensitivity`), `subspace_distance` and `js_distance` lie between 0 and 1 (see `stats.subspace` and
`stats.divergence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ptaudit.attacks.calibration import COARSE, FINE, best_point, calibrated_gain, mean_bits, shifted, uniform
from ptaudit.attacks.discriminant import class_prior
from ptaudit.attacks.registry import OF_TOKENS, load
from ptaudit.attacks.usable.folds import Folds, cross_predictions, split
from ptaudit.estimators.pairing import mismatched
from ptaudit.gradients.sensitivity import Norms
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.divergence import group_mean, js_distance
from ptaudit.stats.estimate import OK, Estimate, inconclusive, sqrt_estimate
from ptaudit.stats.subspace import LEAST_RECORDS, subspace_distance

METRICS = {
    "sensitivity": "hutchinson",
    "input_sensitivity": "hutchinson",
    "subspace_distance": "principal-angles",
    "js_distance": "classifier",
}
"""Metric to who measures it."""

CLASSIFIERS = ("linear", "mlp")
"""Families of predictors that tell groups apart; which one, is chosen on records apart."""


def sensitivities(norms: Norms, seed: int) -> list[Estimate]:
    """Root mean square of the Jacobian's entries, for all layers jointly and for each.

    The interval is over records, each of which had probes of its own, so it holds the error of the probes too. The null
    is 0, that of a layer which does not depend on what is private; there is no ceiling.
    """
    sizes = torch.tensor(norms.rows, dtype=torch.float64)[:, None]
    per_layer = norms.per_record
    joint = (per_layer * sizes).sum(0) / sizes.sum()
    values = torch.cat([joint[None], per_layer]).numpy()
    found = [sqrt_estimate(e) for e in from_matrix(values, null=0.0, ceiling=np.nan, seed=seed)]
    doubt = next((why for why in norms.doubts if why), "")
    lost = [inconclusive(why, n=values.shape[1]) if why else None for why in (doubt, *norms.doubts)]
    return [gone or estimate for gone, estimate in zip(lost, found, strict=True)]


def distances(tokens: Tensor, secret: Tensor, names: Sequence[str], seed: int) -> dict[str, list[Estimate]]:
    """How far apart the groups of a secret lie, for all layers jointly and for each.

    Args:
        tokens: tokens of N records, `(1 + L, N, k)`: of all layers jointly, then of each.
        secret: group of each record, `(N,)`.
        names: what the groups are called.
        seed: of cuts, folds, fits and resamples.

    Returns:
        `subspace_distance` and `js_distance`. Groups with too few records are left out; the status then says which.
    """
    count = torch.bincount(secret, minlength=len(names)).tolist()
    kept = torch.tensor([group for group, size in enumerate(count) if size >= LEAST_RECORDS])
    left_out = [f"`{name}` ({size})" for name, size in zip(names, count, strict=True) if size < LEAST_RECORDS]
    if why := too_few_groups(secret, names):
        lost = inconclusive(why, ceiling=1.0, n=len(secret))
        return dict.fromkeys(("subspace_distance", "js_distance"), [lost] * len(tokens))
    there = torch.isin(secret, kept.to(secret.device))
    group = torch.searchsorted(kept.to(secret.device), secret[there])
    tokens = tokens[:, there]
    found = {
        "subspace_distance": subspace_distance(tokens.cpu().numpy(), group.cpu().numpy(), seed),
        "js_distance": _told_apart(tokens, group, seed),
    }
    status = f"partial: without {', '.join(left_out)}: fewer than {LEAST_RECORDS} records" if left_out else OK
    return {name: [replace(e, status=status) if e.status == OK else e for e in row] for name, row in found.items()}


def too_few_groups(secret: Tensor, names: Sequence[str]) -> str:
    """Why groups `(N,)` cannot be told apart, with the number of records that they need; empty if they can."""
    count = torch.bincount(secret, minlength=len(names)).tolist()
    if sum(size >= LEAST_RECORDS for size in count) > 1:
        return ""
    of = ", ".join(f"`{name}` {size}" for name, size in zip(names, count, strict=True))
    return f"needs two groups of {LEAST_RECORDS} records, has {of}"


def _told_apart(tokens: Tensor, group: Tensor, seed: int) -> list[Estimate]:
    """Jensen-Shannon distance, of a classifier that may choose among all layers in the joint row."""
    finite = torch.isfinite(tokens).flatten(1).all(1)
    usable = torch.where(finite[:, None, None], tokens, 0.0)
    generator = torch.Generator().manual_seed(seed)
    record = torch.arange(len(group))
    folds = split(record, group.cpu(), generator)
    wrong = mismatched(record, folds.fold, generator).to(group.device)
    fold, place, of_record = (x.to(group.device) for x in (folds.fold, folds.place, folds.of_record))
    folds = Folds(fold, place, of_record, folds.count)
    versions = (group, group[wrong])
    classes = int(group.max()) + 1
    hidden = torch.stack([one_hot(version, classes) for version in versions])
    rows = [list(range(len(tokens))), *([i] for i in range(1, len(tokens)))]
    answers = [
        cross_predictions(usable, hidden, folds, load(OF_TOKENS[name]).predictor(True, seed)) for name in CLASSIFIERS
    ]
    real, null = (
        _bits(torch.cat([answer[version] for answer in answers]), truth, folds, rows, generator)
        for version, truth in enumerate(versions)
    )
    found = []
    labels, wrong_labels = (version.cpu().numpy() for version in versions)
    for row, bits, null_bits in zip(rows, real.numpy(), null.numpy(), strict=True):
        if bool(finite[row].all()):
            null_mean = group_mean(null_bits, wrong_labels)
            found.append(js_distance(bits, null_mean, labels, of_record.cpu().numpy(), seed))
        else:
            found.append(inconclusive("tokens that are not finite", ceiling=1.0, n=len(group)))
    return found


def _bits(
    answers: Tensor, group: Tensor, folds: Folds, rows: Sequence[Sequence[int]], generator: torch.Generator
) -> Tensor:
    """Bits over equally likely groups of every record, by a posterior chosen and calibrated on the other folds.

    Args:
        answers: log-probabilities, `(A, L, N, folds, K)`, see `folds.cross_predictions`.
        group: `(N,)`.
        folds: of the records.
        rows: for each reported row, the layers to choose from.
        generator: of the draws that make groups equally frequent where the choice is made.

    Returns:
        `(len(rows), N)`.
    """
    classes = answers.shape[-1]
    found = torch.zeros(len(rows), len(group), dtype=torch.float64)
    for fold in range(folds.count):
        mine, theirs = folds.fold == fold, torch.nonzero(folds.fold != fold).flatten()
        # Predictors know the groups' frequencies; without these their answers are likelihoods.
        frequency = class_prior(group[theirs], classes).log().to(answers)
        even, drawn = uniform(classes, answers), _balanced(group, theirs, generator)
        trial = answers[:, :, drawn, fold] - frequency
        bits = mean_bits(trial.flatten(0, 1), even, group[drawn], COARSE).flatten(1).amax(1)
        bits = bits.view(answers.shape[:2])
        for i, row in enumerate(rows):
            setting, layer = divmod(int(bits[:, row].argmax()), len(row))
            layer = row[layer]
            chosen, _ = best_point(mean_bits(trial[setting, layer][None], even, group[drawn], FINE), FINE)
            scores = answers[setting, layer][None, mine][:, :, folds.others(fold)].mean(2) - frequency
            found[i, mine.cpu()] = calibrated_gain(shifted(scores), even, chosen, group[mine])[0].cpu()
    return found


def _balanced(group: Tensor, among: Tensor, generator: torch.Generator) -> Tensor:
    """About as many records as there are, of each group alike: some of a large one, those of a small one repeatedly."""
    classes = torch.unique(group[among]).tolist()
    each = len(among) // len(classes)
    drawn = []
    for one in classes:
        mine = among[group[among] == one]
        mine = mine[torch.randperm(len(mine), generator=generator).to(mine.device)]
        drawn.append(mine.repeat(-(-each // len(mine)))[:each])
    return torch.cat(drawn)
