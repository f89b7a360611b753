"""The label game: of which class is one record of the batch?

The adversary knows the weights, class frequencies and labelled records of the same population; the batch holds the
target and m-1 others. Score: bits over the class frequencies, which it would guess without the gradient.

Of more than one record the sum tells at most how many of each class there are, so it is the attribute game about the
class (`measure_sums`), with what exact class counts allow as its ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from ptaudit.attacks.batch import COMBINED
from ptaudit.attacks.discriminant import Labelled, fit_class_posterior
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import ObservedRecords, every_record, features
from ptaudit.estimators.pairing import entropy
from ptaudit.games.attribute import latent
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.crossfit import GAMES_PER_QUARTER, QuarterScores, credited, crossfit, estimates, quarters
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import draw_games
from ptaudit.views.records_needed import too_few, why_too_few
from ptaudit.views.view import View

ADVERSARY = "likelihood-ratio"

CEILING_DRAWS = 65_536
"""Batches by which the ceiling of a sum is found."""


def measure(
    who: Known, labels: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int = 0
) -> tuple[str, dict[str, list[Estimate]]]:
    """Play the game for several rows at once.

    Args:
        who: the adversary and what is seen.
        labels: class of each of the N records, `(N,)`.
        classes: number of classes.
        groups: for each reported row, the rows of the tokens that the adversary may choose from.
        seed: seed of the split, the draws, the noise and the resamples.

    Returns:
        The adversary's name, and for `bits` and `accuracy` one estimate for each group. The ceiling of the bits is the
        entropy of the class frequencies; the null of the accuracy is the frequency of the most frequent class.
        The bits of the static adversary are not clipped below.
    """
    name, top = ADVERSARY, entropy(labels)
    if reason := why_not(labels, who.view) or why_too_few(who.tokens, who.view):
        lost = {
            "bits": inconclusive(reason, ceiling=top, n=len(labels)),
            "accuracy": inconclusive(reason, ceiling=1.0),
        }
        return name, {metric: [estimate] * len(groups) for metric, estimate in lost.items()}
    values, labelled = play(who, labels, classes, groups, seed)
    bits, hits, null = values
    # Games are played by the records of whole quarters: their own class frequencies are what a guess can reach.
    found = torch.bincount(labelled, minlength=classes).double() / len(labelled)
    guess = torch.full_like(hits, float(found.max()))
    n = len(labelled)
    tops = [min(entropy(labelled), math.log2(classes))] * len(groups)
    least = 0.0 if who.knowledge == "adaptive" else -math.inf
    return name, {
        "bits": estimates((bits, null), tops, n, seed, least),
        "accuracy": estimates((hits, guess), [1.0] * len(groups), n, seed),
    }


def why_not(labels: Tensor, view: View) -> str:
    """Why classes of N records, `(N,)`, cannot be told on a view, with what is needed; empty if they can."""
    if view.records > 1:
        return latent.why_not(latent.coded(labels)[0], view)
    return too_few(len(labels), view) or ("" if entropy(labels) > 0.0 else "one class only")


def measure_sums(labels: Tensor, observed: ObservedView) -> FoundByAdversary:
    """Play the game where what is seen is made of more than one record; see `latent.measure`.

    Returns:
        For each adversary `bits` and `accuracy`. The ceiling of the bits is what exact class counts allow.
    """
    top = ceiling(labels, observed.view.records, observed.view.batches)
    found = latent.measure(labels, observed, [COMBINED], top)
    return {name: {metric: metrics[metric] for metric in ("bits", "accuracy")} for name, metrics in found.items()}


def ceiling(labels: Tensor, m: int, rounds: int = 1) -> float:
    """Bits about the class of one of m records in the class counts of its batch (of r, with other records in each).

    By Monte Carlo with a fixed seed: classes are drawn by their frequency, and given the counts every record of a
    batch is as likely the target as any other.
    """
    _, codes = torch.unique(labels.cpu(), return_inverse=True)
    frequency = np.bincount(codes.numpy()) / len(codes)
    draw = np.random.default_rng(0)
    target = draw.choice(len(frequency), CEILING_DRAWS, p=frequency)
    own, ratio = np.eye(len(frequency))[target], np.zeros((CEILING_DRAWS, len(frequency)))
    with np.errstate(divide="ignore"):  # a class that no record of the batch has is not the target's
        for _ in range(rounds):
            ratio += np.log((own + draw.multinomial(m - 1, frequency, CEILING_DRAWS)) / m / frequency)
    before = np.log(frequency)
    posterior = log_softmax(ratio + before, 1)
    gain = posterior[np.arange(CEILING_DRAWS), target] - before[target]
    return max(0.0, float(gain.mean()) / math.log(2.0))


def play(who: Known, labels: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int) -> tuple[Tensor, Tensor]:
    """Scores of every record, `(3, groups, n)`, and the labels of those records."""
    tokens, view, observation, known = who.tokens, who.view, who.observation, who.known
    generator = torch.Generator().manual_seed(seed)
    order = quarters(tokens.shape[1], generator)
    if known is not None:
        tokens = features(tokens, known, generator)
    every = every_record(tokens, view.noise_std, observation)

    def play_half(own: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[QuarterScores]:
        observed = ObservedRecords(known, own) if known else None
        posterior = fit_class_posterior(Labelled(tokens[:, own], labels[own], classes, observed), view, generator)
        chosen, results = posterior.fitted.best(groups), []
        for targets, fillers in pairs:
            per_target = max(1, GAMES_PER_QUARTER // len(targets))
            games = draw_games(len(targets), len(fillers), per_target, view, generator)
            views = every.games(targets, fillers, games, generator)
            mine = labels[targets]
            scored = posterior.play(views, mine[games.secret], mine[(games.secret + 1) % len(targets)])
            both = credited(scored, per_target, games.hidden(view), len(fillers))
            results.append((both[0][:, chosen], both[1][:, chosen]))
        return results

    return crossfit(order, play_half), labels[order.flatten()]
