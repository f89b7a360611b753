"""Games about a secret of a batch, played by classifiers of what is seen of it: attribute, property, distribution.

The adversary owns records of one half of the audited ones, knows their secrets and makes batches of them: on two thirds
its classifiers are fitted, on the rest chosen and calibrated. It plays on batches of the other half, and the halves
change places. No record is in more than one of the three parts, neither as a target nor among those that hide one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.batch import COMBINED, FitObservations, ObservedGames, PlayedObservations, prepare
from ptaudit.attacks.batch.learning import learns_more, tells_better
from ptaudit.attacks.batch.reading import Kept, read, screen
from ptaudit.games.common.batches import Answers, Batches, dealt, spread, starved_of
from ptaudit.games.common.crossfit import data_limited
from ptaudit.games.common.observed_view import DrawBatches, ObservedView, asked
from ptaudit.games.common.scoring import score
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, auc, bits, share
from ptaudit.threads import side_by_side
from ptaudit.views.knowledge import Asked
from ptaudit.views.observation import Observation, TokenObservation, observe_rounds
from ptaudit.views.records_needed import too_few
from ptaudit.views.view import View

FoundByAdversary = dict[str, dict[str, list[Estimate]]]
"""For each adversary and metric one estimate for each line."""

METRICS = ("bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")

PLAY_GAMES = 4096
"""Most batches that are played in each half; a quarter of that where every batch is replayed."""

TRIED = 512
"""Batches with held-out records among them on which their use is tried."""

LEAST_GAMES = 512
SUMMED = 1 << 19
"""Most records that are summed in one part, unless that leaves fewer than `LEAST_GAMES`."""

LEAST_RECORDS = 80
LEAST_OWN = 24
OWN_PER_MEMBER = 6
"""Fewest records of the adversary's own for each record of a batch: those that it chooses on fill two batches."""


@dataclass(frozen=True)
class Half:
    """The games of one half: its own to fit on (of one round) and to choose on, and those that are played."""

    fit: Batches
    choose: Batches
    played: Batches


def measure(
    draw: DrawBatches, strata: Tensor, observed: ObservedView, families: Sequence[str], ceiling: float | None = None
) -> FoundByAdversary:
    """Ask every family what it makes of the batches of a view.

    Halves share nothing that is random: where no pass through a model is in between, they are played side by side.

    Args:
        draw: how batches with a secret are drawn; of the held-out records too, which come after the audited ones.
        strata: what the parts should hold equal shares of, for each audited record, `(N,)`.
        observed: the view, and who plays on it.
        families: `likelihood-ratio`, `linear`, `mlp`, `knn`, `forest`.
        ceiling: most bits the secret allows, where that is less than the entropy of the prior.

    Returns:
        For each adversary (by its key, see `asked`) `METRICS`, each with one estimate for each group.
    """
    n, view, seed, held_out = len(strata), observed.view, observed.seed, observed.held_out
    if reason := why_not_played(n, view, observed.own):
        return lost(families, observed, reason, n)
    generator = torch.Generator().manual_seed(seed)
    halves = draw_halves(draw, strata, observed, generator)
    ways = observed.ways
    observation = None if held_out is None or "adaptive" not in ways else held_out.observation()

    def play_half(half: Half, its_own: int) -> dict[Asked, Answers]:
        generator = torch.Generator().manual_seed(its_own)
        views, wrong = observe_batches(observed.now, half.played, view, generator), mismatched(half.played, generator)
        look_again, found = int(torch.randint(2**62, (), generator=generator)), {}
        for way, known in ways.items():
            kept = screen(known, half.fit.members[0], generator)
            fit, choose = (
                _fit_observations(known, batches, view, kept, generator) for batches in (half.fit, half.choose)
            )
            # Every way looks at the same played games, and keeps other numbers of them.
            blocks = read(observed.now, half.played.members, view, kept, torch.Generator().manual_seed(look_again))
            shown = PlayedObservations(views, half.played.prior.to(views.device), blocks)
            if way == "adaptive" and held_out is not None and observation is not None and kept:
                drawn = held_out.batches(draw, half.fit, n, games_of(view, observed.batches, 1), generator)
                tried = _fit_observations(observation, drawn.first(TRIED), view, kept, generator)
                if tells_better(tried, fit, choose, seed):
                    fit = _fit_observations(observation, drawn, view, kept, generator)
            learning = COMBINED in families and way == "adaptive"
            starved = learns_more(fit, choose, observed.groups, seed) if learning else []
            for family in families:
                log_q, null = prepare(ObservedGames(fit, choose, shown), observed.groups, family, seed)
                mine = starved if family == COMBINED else []
                found[Asked(family, way)] = Answers(log_q, null, wrong, half.played, mine)
        return found

    seeds = torch.randint(2**62, (len(halves),), generator=generator).tolist()
    together = all(isinstance(one, TokenObservation) for one in (observed.now, *ways.values()))
    played = list((side_by_side if together else map)(play_half, halves, seeds))
    return scored({who: [half[who] for half in played] for who in played[0]}, n, seed, ceiling)


def scored(
    answers: Mapping[Asked, Sequence[Answers]], n_records: int, seed: int, ceiling: float | None
) -> FoundByAdversary:
    """Estimates of every adversary; the bits of one who is wrong about the view may be negative."""
    found = {}
    for who, halves in answers.items():
        top = surprise(halves) if ceiling is None else ceiling
        metrics = score(halves, n_records, seed, top, clip=not who.mistaken)
        found[who.key] = data_limited(metrics, starved_of(halves))
    return found


def surprise(halves: Sequence[Answers]) -> float:
    """Bits of one who always knows the secret of these games: what the prior leaves open."""
    means = [_at(half.batches.prior, half.batches.secret).log2().neg().mean() for half in halves]
    return float(torch.stack(means).mean())


def lost(families: Sequence[str], observed: ObservedView, reason: str, n: int) -> FoundByAdversary:
    """What there is to say of games that cannot be played."""
    names = [who.key for who in asked(families, observed.plain, observed.late)]
    return {name: {metric: [inconclusive(reason, n=n)] * len(observed.groups) for metric in METRICS} for name in names}


def why_not_played(n_records: int, view: View, own: int | None = None, what: str = "records") -> str:
    """Why a game cannot be played, in words with the number needed; empty if it can.

    Args:
        n_records: how many records fill the batches.
        view: batch size and rounds.
        own: most records the adversary owns.
        what: what those records are called.
    """
    if reason := too_few(n_records, view, LEAST_RECORDS, what):
        return reason
    rounds = f" in {view.batches} rounds" if view.batches > 1 else ""
    least = max(OWN_PER_MEMBER * view.records, LEAST_OWN)
    if own is not None and own < least:
        return f"needs {least} records of the adversary's own for batches of {view.records}{rounds}, it has {own}"
    return ""


def foretold(prior: Tensor, units: int) -> Iterator[Foretold]:
    """What games about a secret whose K values have these frequencies, `(K,)`, will be able to show of so many targets;
    see `measure`."""
    guess = float(prior.max())
    yield bits(units, float(torch.special.entr(prior).sum()) / math.log(2.0))
    yield share("accuracy", guess, units)
    won = share("gain", guess, units)
    yield replace(won, null=0.0, detectable=won.detectable - guess, ceiling=1.0 - guess)
    if len(prior) == 2:
        ones = round(float(prior[1]) * units)
        yield auc(ones, units - ones)


# Parts and draws


def draw_halves(draw: DrawBatches, strata: Tensor, observed: ObservedView, generator: torch.Generator) -> list[Half]:
    """The games of both halves."""
    strata, view, most = strata.cpu(), observed.view, observed.batches
    side = dealt(strata, 2, generator)
    fit, choose, played = (
        games_of(view, some, rounds)
        for some, rounds in ((most, 1), (most // 2, view.batches), (min(most, PLAY_GAMES), view.batches))
    )
    halves = []
    for mine in (0, 1):
        own, theirs = (torch.nonzero(side == one).squeeze(1) for one in (mine, 1 - mine))
        own = own[spread(strata[own], generator)[: observed.own]]
        third = dealt(strata[own], 3, generator) == 2
        single = draw(own[~third], fit, generator)
        single = replace(single, members=single.members[:1])
        halves.append(Half(single, draw(own[third], choose, generator), draw(theirs, played, generator)))
    return halves


def games_of(view: View, most: int, rounds: int) -> int:
    """How many games are drawn in a part."""
    many = most if view.linear else most // 4
    return max(LEAST_GAMES, min(many // rounds, SUMMED // (view.records * rounds)))


def cycled(targets: Tensor, games: int, view: View, generator: torch.Generator) -> Tensor:
    """Targets of about so many games, in random order, each the same number of times: once where there is one batch."""
    alone = view.others == 0 and view.noise_std == 0.0
    some = targets[torch.randperm(len(targets), generator=generator)[:games]]
    return some.repeat(1 if alone else max(1, games // len(some)))


def mismatched(batches: Batches, generator: torch.Generator) -> Tensor:
    """The secret that shuffling puts in the place of the true one: that of another target (or batch), `(G,)`."""
    alike = bool((batches.unit < 0).any())
    unit = torch.arange(len(batches.unit)) if alike else batches.unit
    units, place = torch.unique(unit, return_inverse=True)
    value = torch.empty(len(units), dtype=torch.long).scatter_(0, place, batches.secret)
    order = torch.randperm(len(units), generator=generator)
    moved = torch.empty_like(value)
    moved[order] = value[order.roll(1)]
    return moved[place]


# What is seen


def observe_batches(observation: Observation, batches: Batches, view: View, generator: torch.Generator) -> Tensor:
    """What is seen of the games, `(r, R, G, k)`; several observations of the same batch are averaged to one.

    The mean is all that rounds of one batch tell where only noise sets them apart; their others are the same, so
    their likelihoods must not be multiplied.
    """
    if not view.fixed_batch or view.rounds == 1:
        return observe_rounds(observation, batches.members, generator)
    if isinstance(observation, TokenObservation):
        return observe_rounds(observation.quieter(view.rounds), batches.members, generator)
    return observe_rounds(observation, batches.members.expand(view.rounds, -1, -1), generator).mean(0, keepdim=True)


def _fit_observations(
    observation: Observation, batches: Batches, view: View, kept: dict[int, Kept], generator: torch.Generator
) -> FitObservations:
    views = observe_batches(observation, batches, view, generator)
    share = None if batches.share is None else batches.share.to(views.device)
    blocks = read(observation, batches.members, view, kept, generator)
    records = len(torch.unique(batches.members))
    secret, prior = batches.secret.to(views.device), batches.prior.to(views.device)
    return FitObservations(views, secret, prior, blocks, share, observation.random, records, batches.size)


def _at(values: Tensor, secret: Tensor) -> Tensor:
    return values.gather(-1, secret[:, None]).squeeze(-1)
