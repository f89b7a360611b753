"""The identity game: which one of K candidate records was in the batch of m?

White-box: the adversary knows the weights, so it can compute the token of any candidate. Exactly one candidate is in
the batch; candidates and the other m-1 records come from disjoint quarters of the records, and the adversary is fitted
on the other half. Score: log2 K minus the adversary's cross-entropy, in bits; a lower bound on I(S;O).

A view that does not add up is played on an observation of it. The adaptive adversary prepares on such an observation
too; the static one prepares on sums of tokens and is then wrong about what it sees, so its bits may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.attacks.calibration import Calibration, calibrated_gain, top_hit, uniform
from ptaudit.attacks.known import Known
from ptaudit.attacks.likelihood_ratio import rival_losses
from ptaudit.attacks.nuisance_density import squared_distances
from ptaudit.attacks.observed_density import Effort, alone, blurred, features
from ptaudit.games.common.crossfit import (
    QuarterScores,
    RecordScores,
    credited,
    crossfit,
    data_limited,
    estimates,
    quarters,
    spread_over,
)
from ptaudit.games.identity.family import IdentityGames
from ptaudit.stats.channel import channel_bits
from ptaudit.stats.detection import tells_more
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import Games, draw_games
from ptaudit.views.observation import Observation
from ptaudit.views.records_needed import why_too_few
from ptaudit.views.view import View

EFFORT = Effort()

GAMES_PER_QUARTER = 512
"""Games played with the targets of one quarter of the records."""

MAX_SETS = 8
"""Most candidate sets cut from one quarter."""

EQUAL_TOLERANCE = 1e-5
"""Relative distance below which two tokens count as equal: float32 rounding of the same gradient."""


def measure(
    who: Known,
    groups: Sequence[Sequence[int]],
    parameters: Sequence[int | None],
    effort: Effort = EFFORT,
    seed: int = 0,
) -> tuple[str, dict[str, list[Estimate]]]:
    """Play the game for several rows at once and say what it means.

    Args:
        who: the adversary and what is seen.
        groups: for each reported row, the rows of the tokens that the adversary may choose from.
        parameters: gradient dimensions behind each group; None where they are not known.
        effort: most candidates K, and batches of its own records on which it chooses and calibrates.
        seed: seed of the split, the draws, the noise and the resamples.

    Returns:
        The adversary's name, and for `bits` and `accuracy` (of naming the record) one estimate for each group. The
        bits of the static adversary are not clipped below.
    """
    tokens, view = who.tokens, who.view
    n = tokens.shape[1]
    k = min(effort.candidates, n // 4)
    top = math.log2(k) if k > 1 else math.nan
    name = "exact" if _quiet(view) and not who.observation else "combined" if who.algebra else "likelihood-ratio"
    if reason := why_too_few(tokens, view):
        lost = {"bits": inconclusive(reason, ceiling=top, n=n), "accuracy": inconclusive(reason, ceiling=1.0, n=n)}
        return name, {metric: [estimate] * len(groups) for metric, estimate in lost.items()}
    scores = play(who, groups, replace(effort, candidates=k), seed)
    bits, hits, null, more = scores.values
    ceilings = [min(top, noise_ceiling(view, d)) for d in parameters]
    least = -math.inf if who.knowledge == "static" else 0.0
    found = estimates((bits, null), ceilings, scores.targets, seed, least)
    accuracy = estimates((hits, torch.full_like(hits, 1.0 / k)), [1.0] * len(groups), scores.targets, seed)
    smaller = [all_there is not None and all_there <= tokens.shape[-1] for all_there in parameters]
    marked = [replace(e, status=_status(e, scores, i, top, smaller[i])) for i, e in enumerate(found)]
    starved = [tells_more(*(one.double().cpu().numpy() for one in both)) for both in zip(more, bits)]
    return scores.adversary, data_limited({"bits": marked, "accuracy": accuracy}, starved)


def noise_ceiling(view: View, parameters: int | None) -> float:
    """Most bits that the noise of a view lets through, see `channel_bits`; infinite without noise or clipping."""
    if view.clip is None:
        return math.inf
    return channel_bits(view.noise_std, view.clip, parameters, view.rounds)


def play(who: Known, groups: Sequence[Sequence[int]], effort: Effort, seed: int) -> RecordScores:
    """The scores of every record; see `measure`. Needs `RECORDS_PER_MEMBER` records per batch member."""
    tokens, view, observation, k = who.tokens, who.view, who.observation, effort.candidates
    generator = torch.Generator().manual_seed(seed)
    order = quarters(tokens.shape[1], generator)
    if _quiet(view):
        if observation is None:
            return _exact(tokens, order, groups, k)
        if who.known is observation and (alike := _repeatable(observation, tokens.shape[1], generator)) is not None:
            return _exact(alike, order, groups, k)
    if who.known is not None:
        who = replace(who, tokens=features(tokens, who.known, generator))
    elif observation is not None and _quiet(view):
        tokens, view, observation = blurred(tokens, view, observation)
        who = replace(who, tokens=tokens, view=view, observation=observation)
    table = IdentityGames(who, groups, effort, seed)
    full = [True] * len(groups)

    def play_half(own: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[QuarterScores]:
        families = table.fit(own, generator)
        full[:] = [one and two for one, two in zip(full, families.every.full)]
        return [play_quarter(families.answer, pair, view, k, generator) for pair in pairs]

    values = crossfit(order, play_half)
    return RecordScores(
        values, 4 * targets_of(order.shape[1], k), tuple(full), "combined" if who.algebra else "likelihood-ratio"
    )


def play_quarter(
    asked: Callable[[Tensor, Tensor, Games], list[tuple[Tensor, Tensor]]],
    pair: tuple[Tensor, Tensor],
    view: View,
    k: int,
    generator: torch.Generator,
) -> QuarterScores:
    """Play all candidate sets of one quarter.

    Args:
        asked: for candidates, fillers and games the scores `(P, G, K)` and shares of the prior `(P,)` of the adversary,
            of the same one fitted to shuffled secrets, and where asked for of one fitted to half of its records.
        pair: records of the quarter, and of the other quarter, which fill the batches.
        view: the view.
        k: number of candidates K.
        generator: of the draws.
    """
    targets, fillers = pair
    sets = targets[: targets_of(len(targets), k)].view(-1, k)
    per_target = max(1, GAMES_PER_QUARTER // sets.numel())
    values, influences = [], []
    for members in sets:
        games = draw_games(k, len(fillers), per_target, view, generator)
        scored, rivals = _scored(asked(members, fillers, games), games.secret)
        mine, influence = credited(scored, per_target, games.hidden(view), len(fillers))
        rivalry = (k - 1) * (rivals - rivals.mean(-1, keepdim=True))
        values.append(mine + rivalry)
        influences.append(influence)
    return spread_over(torch.cat(values, -1), len(targets)), torch.stack(influences).mean(0)


def _scored(answers: Sequence[tuple[Tensor, Tensor]], secret: Tensor) -> tuple[Tensor, Tensor]:
    """Bits, hits, null bits of every game and what all records tell more than half, `(4, P, G)`; what each candidate
    takes from the others, `(4, P, K)`."""
    secret = secret.to(answers[0][0].device)
    (low, real), null, *less = (_calibrated(*answer) for answer in answers)
    k = low.shape[-1]
    prior, wrong = uniform(k, low), (secret + 1) % k
    bits = calibrated_gain(low, prior, real, secret)
    half = calibrated_gain(less[0][0], prior, less[0][1], secret) if less else bits
    scored = torch.stack([bits, top_hit(low, secret), calibrated_gain(null[0], prior, null[1], wrong), bits - half])
    rivals = rival_losses(low, secret, real)
    return scored, torch.cat([rivals, torch.zeros_like(rivals)])


def _calibrated(scores: Tensor, share: Tensor) -> tuple[Tensor, Calibration]:
    """Scores less the largest of each game, and the share of the prior that goes with them."""
    low = scores - scores.amax(-1, keepdim=True)
    return low, Calibration(torch.ones_like(share), share.to(low.device))


def targets_of(quarter: int, k: int) -> int:
    """Records of a quarter that fill whole candidate sets."""
    return min(quarter // k, MAX_SETS) * k


def _exact(tokens: Tensor, order: Tensor, groups: Sequence[Sequence[int]], k: int) -> RecordScores:
    """Batch of one record without noise: the posterior is uniform over the candidates with the observed token."""
    same = torch.cat(
        [_same_token(tokens[:, members]) for part in order for members in part[: targets_of(len(part), k)].view(-1, k)],
        -1,
    )
    fewest = torch.stack([same[list(group)].amin(0) for group in groups])
    bits = math.log2(k) - fewest.log2()
    nothing = torch.zeros_like(bits)
    values = torch.stack([bits, 1.0 / fewest, nothing, nothing])
    return RecordScores(values, bits.shape[-1], (False,) * len(groups), "exact")


def _quiet(view: View) -> bool:
    """Whether what is seen is one record and no noise."""
    return view.others == 0 and view.noise_std == 0.0


def _repeatable(observation: Observation, records: int, generator: torch.Generator) -> Tensor | None:
    """What an observation shows of every record alone, if that has nothing random in it: `(R, N, k)`, float64."""
    few = torch.arange(min(records, 16))[:, None]
    if not torch.equal(observation.observe(few, generator), observation.observe(few, generator)):
        return None
    return alone(records, observation, generator).double()


def _same_token(tokens: Tensor) -> Tensor:
    """How many of the K candidates have the token of each candidate (at least itself): `(R, K, k)` -> `(R, K)`."""
    norm = torch.linalg.vector_norm(tokens, dim=-1)
    near = EQUAL_TOLERANCE * (norm[:, :, None] + norm[:, None, :])
    # A matrix product finds distances to 1e-8 of the norms in float64.
    same: Tensor = squared_distances(tokens, tokens) <= near.square()
    return same.sum(-1).to(tokens.dtype)


def _status(estimate: Estimate, scores: RecordScores, group: int, top: float, smaller: bool) -> str:
    """`saturated` within one bit of log2 K; `dim-limited` where the largest token won and the gradient is larger."""
    if not estimate.conclusive or scores.adversary == "exact":
        return estimate.status
    if estimate.value > top - 1.0:
        return "saturated"
    return "dim-limited" if scores.full[group] and not smaller else estimate.status
