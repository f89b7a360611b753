"""The label game: of which class is one record of the batch?

The adversary knows the weights, class frequencies and labelled records of the same population; the batch holds the
target and m-1 others. Score: bits over the class frequencies, which she would guess without the gradient.

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
from ptaudit.attacks.discriminant import fit
from ptaudit.attacks.observed_density import Window, draw, hidden, pictures
from ptaudit.games.attribute import latent as attribute
from ptaudit.games.common.batch_secret import Found
from ptaudit.games.common.crossfit import GAMES_PER_QUARTER, Played, crossfit, estimates, filler_influence, quarters
from ptaudit.games.common.held_out import HeldOut
from ptaudit.games.identity.measure import why_not
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import observe
from ptaudit.views.sight import Sight
from ptaudit.views.view import View

ADVERSARY = "likelihood-ratio"

BATCHES = 1024
"""Most batches that the adversary fits on."""

CEILING_DRAWS = 65_536
"""Batches by which the ceiling of a sum is found."""


def measure(
    tokens: Tensor,
    labels: Tensor,
    classes: int,
    view: View,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
    sight: Sight | None = None,
    known: Sight | None = None,
) -> tuple[str, dict[str, list[Estimate]]]:
    """Play the game for several rows at once.

    Args:
        tokens: tokens of N records for R rows, `(R, N, k)`, float64, as the adversary computes them; clipped already
            where the view clips.
        labels: class of each record, `(N,)`.
        classes: number of classes.
        view: batch size, rounds and noise.
        groups: for each reported row, the rows of `tokens` that the adversary may choose from.
        seed: seed of the split, the draws, the noise and the resamples.
        sight: what the games are played on; left out, sums of the tokens and the noise of the view.
        known: what the adversary prepares on, see `identity.measure`; left out where there is a sight: static.

    Returns:
        The adversary's name, and for `bits` and `accuracy` one estimate for each group. The ceiling of the bits is the
        entropy of the class frequencies; the null of the accuracy is the frequency of the most frequent class.
        The bits of the static adversary are not clipped below.
    """
    static = sight is not None and known is None
    name = ADVERSARY
    share = torch.bincount(labels, minlength=classes).double() / len(labels)
    entropy = float(-(share[share > 0] * share[share > 0].log2()).sum())
    reason = why_not(tokens, view, 2) or ("" if entropy > 0 else "one class only")
    if reason:
        lost = {
            "bits": inconclusive(reason, ceiling=entropy, n=len(labels)),
            "accuracy": inconclusive(reason, ceiling=1.0),
        }
        return name, {metric: [estimate] * len(groups) for metric, estimate in lost.items()}
    values, labelled = play(tokens, labels, classes, view, groups, seed, sight, known)
    bits, hits, null = values
    # Games are played by the records of whole quarters: their own class frequencies are what a guess can reach.
    found = torch.bincount(labelled, minlength=classes).double() / len(labelled)
    ceiling = float(-(found[found > 0] * found[found > 0].log2()).sum())
    guess = torch.full_like(hits, float(found.max()))
    n = len(labelled)
    return name, {
        "bits": estimates(
            bits, null, [min(ceiling, math.log2(classes))] * len(groups), n, seed, least=-math.inf if static else 0.0
        ),
        "accuracy": estimates(hits, guess, [1.0] * len(groups), n, seed),
    }


def measure_sums(
    labels: Tensor,
    view: View,
    now: Sight,
    plain: Sight | None,
    known: Sight,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
    batches: int = BATCHES,
    held_out: HeldOut | None = None,
) -> Found:
    """Play the game where what is seen is made of more than one record; see `attribute.measure`.

    Returns:
        For each adversary `bits` and `accuracy`. The ceiling of the bits is what exact class counts allow.
    """
    top = ceiling(labels, view.records, view.batches)
    found = attribute.measure(
        labels, view, now, plain, known, groups, [COMBINED], None, seed, ceiling=top, batches=batches,
        held_out=held_out,
    )  # fmt: skip
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


def play(
    tokens: Tensor,
    labels: Tensor,
    classes: int,
    view: View,
    groups: Sequence[Sequence[int]],
    seed: int,
    sight: Sight | None = None,
    known: Sight | None = None,
) -> tuple[Tensor, Tensor]:
    """Scores of every record, `(3, groups, n)`, and the labels of those records."""
    generator = torch.Generator().manual_seed(seed)
    order = quarters(tokens.shape[1], generator)
    if known is not None:
        tokens = pictures(tokens, known, generator)

    def play_half(own: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Played]:
        posterior = fit(tokens[:, own], labels[own], classes, view, generator, Window(known, own) if known else None)
        chosen = torch.tensor([max(g, key=lambda row: float(posterior.fold_bits[row])) for g in groups])
        results = []
        for targets, fillers in pairs:
            per_target = max(1, GAMES_PER_QUARTER // len(targets))
            games = draw(len(targets), len(fillers), per_target, view, generator)
            if sight is None:
                views = observe(tokens[:, targets], tokens[:, fillers], games, view.noise_std, generator)
            else:
                every = Window(sight, torch.arange(tokens.shape[1]))
                views = every.games(targets, fillers, games, generator)
            secret = labels[targets][games.secret]
            wrong = labels[targets][(games.secret + 1) % len(targets)]
            scored = posterior.play(views, secret, wrong)
            mine = scored.view(3, len(tokens), len(targets), per_target).mean(-1)
            rest = scored - mine.repeat_interleave(per_target, -1)
            results.append((mine[:, chosen], filler_influence(rest, hidden(games, view), len(fillers))[:, chosen]))
        return results

    return crossfit(order, play_half), labels[order.flatten()]
