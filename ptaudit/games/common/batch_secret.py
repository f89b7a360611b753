"""Games about a secret of a batch, played by classifiers of what is seen of it: attribute, property, distribution.

The adversary owns records of one half of the audited ones, knows their secrets and makes batches of them: on two thirds
her classifiers are fitted, on the rest chosen and calibrated. She plays on batches of the other half, and the halves
change places. No record is in more than one of the three parts, neither as a target nor among those that hide one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.batch import COMBINED, Seen, Shown, prepare
from ptaudit.attacks.batch.learning import learns_more, tells_better
from ptaudit.attacks.batch.reading import Kept, read, screen
from ptaudit.games.common.answers import Answers, Batches, starved_of
from ptaudit.games.common.crossfit import data_limited
from ptaudit.games.common.held_out import Draw, HeldOut
from ptaudit.games.common.parts import dealt, spread
from ptaudit.games.common.scoring import score
from ptaudit.games.identity.measure import ADVISED_PER_MEMBER, RECORDS_PER_MEMBER
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.threads import side_by_side
from ptaudit.views.knowledge import Asked, Knowledge, Knows
from ptaudit.views.sight import Sight, TokenSight, look
from ptaudit.views.view import View

Found = dict[str, dict[str, list[Estimate]]]
"""For each adversary and metric one estimate for each line."""

METRICS = ("bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")

"""Marks of an adversary who was fitted and calibrated on undefended views, or with the weights of the epoch before."""

FIT_GAMES, PLAY_GAMES = 4096, 4096
"""Most batches that are fitted on, half as many to choose on, and most that are played, in each half; a quarter of that
where every batch is replayed."""

TRIED = 512
"""Batches with held-out records among them on which their use is tried."""

LEAST_GAMES = 512
SUMMED = 1 << 19
"""Most records that are summed in one part, unless that leaves fewer than `LEAST_GAMES`."""

LEAST_RECORDS = 80
LEAST_OWN = 24
OWN_PER_MEMBER = 6
"""Fewest records of the adversary's own for each record of a batch: those that she chooses on fill two batches."""


@dataclass(frozen=True)
class Half:
    """The games of one half: hers to fit on (of one round) and to choose on, and those that are played."""

    fit: Batches
    choose: Batches
    played: Batches


def measure(
    draw: Draw,
    n_records: int,
    view: View,
    now: Sight,
    plain: Sight | None,
    known: Sight,
    groups: Sequence[Sequence[int]],
    families: Sequence[str],
    own: int | None = None,
    seed: int = 0,
    *,
    strata: Tensor | None = None,
    ceiling: float | None = None,
    batches: int | None = None,
    held_out: HeldOut | None = None,
) -> Found:
    """Ask every family what it makes of the batches of a view.

    Args:
        draw: how batches with a secret are drawn.
        n_records: number of audited records N.
        view: batch size, rounds and whether all rounds show one batch.
        now: what the played batches look like.
        plain: the undefended view as the adversary knows it: every family is then also asked as a static one,
            fitted and calibrated on it. None where the view has no defense.
        known: what her own batches look like to her; `now`, unless the weights she knows are late.
        groups: for each reported line the rows she may choose from.
        families: `likelihood-ratio`, `linear`, `mlp`, `knn`, `forest`.
        own: most records she owns; None for half of all.
        seed: seed of split, draws, noise, classifiers and resamples.
        strata: what the parts should hold equal shares of, `(N,)`.
        ceiling: most bits the secret allows, where that is less than the entropy of the prior.
        batches: most batches that she fits on, and half as many to choose on; None for `FIT_GAMES`.
        held_out: held-out records as her own, which `draw` knows after the audited ones; for who knows the view as it
            is.

    Returns:
        For each adversary (by its key, see `asked`) `METRICS`, each with one estimate for each group.
    """
    late = known is not now
    names = names_of(families, plain, late)
    if reason := why_not(n_records, view, own):
        return lost(names, reason, len(groups), n_records)
    ways: dict[Knowledge, Sight] = {"late" if late else "adaptive": known}
    ways |= {} if plain is None else {"static": plain}
    answers = play(
        draw, n_records, view, now, ways, groups, families, own, seed, strata, batches or FIT_GAMES, held_out
    )
    return scored(answers, n_records, seed, ceiling)


def play(
    draw: Draw,
    n_records: int,
    view: View,
    now: Sight,
    ways: Mapping[Knowledge, Sight],
    groups: Sequence[Sequence[int]],
    families: Sequence[str],
    own: int | None,
    seed: int,
    strata: Tensor | None = None,
    batches: int = FIT_GAMES,
    held_out: HeldOut | None = None,
) -> dict[Asked, list[Answers]]:
    """The answers of both halves to the same games, for each way (what her own batches look like) and each family.

    Halves share nothing that is random: where no pass through a model is in between, they are played side by side.
    """
    generator = torch.Generator().manual_seed(seed)
    halves = draw_halves(draw, n_records, view, own, generator, strata, batches)
    sight = None if held_out is None or "adaptive" not in ways else held_out.sight()

    def play_half(half: Half, its_own: int) -> dict[Asked, Answers]:
        generator = torch.Generator().manual_seed(its_own)
        views, wrong = observe(now, half.played, view, generator), mismatched(half.played, generator)
        look_again, found = int(torch.randint(2**62, (), generator=generator)), {}
        for way, known in ways.items():
            kept = screen(known, half.fit.members[0], generator)
            fit, choose = (_seen(known, batches, view, kept, generator) for batches in (half.fit, half.choose))
            # Every way looks at the same played games, and keeps other numbers of them.
            blocks = read(now, half.played.members, view, kept, torch.Generator().manual_seed(look_again))
            shown = Shown(views, half.played.prior.to(views.device), blocks)
            if way == "adaptive" and held_out is not None and sight is not None and kept:
                games = games_of(view, batches, 1)
                drawn = held_out.batches(draw, half.fit, n_records, games, generator)
                tried = _seen(sight, drawn.first(TRIED), view, kept, generator)
                if tells_better(tried, fit, choose, seed):
                    fit = _seen(sight, drawn, view, kept, generator)
            starved = learns_more(fit, choose, groups, seed) if COMBINED in families and way == "adaptive" else []
            for family in families:
                log_q, null = prepare(fit, choose, shown, groups, family, seed)
                mine = starved if family == COMBINED else []
                found[Asked(family, way)] = Answers(log_q, null, wrong, half.played, mine)
        return found

    seeds = torch.randint(2**62, (len(halves),), generator=generator).tolist()
    together = all(isinstance(one, TokenSight) for one in (now, *ways.values()))
    played = list((side_by_side if together else map)(play_half, halves, seeds))
    return {who: [half[who] for half in played] for who in played[0]}


def scored(answers: Mapping[Asked, Sequence[Answers]], n_records: int, seed: int, ceiling: float | None) -> Found:
    """Estimates of every adversary; the bits of one who is wrong about the view may be negative."""
    found = {}
    for who, halves in answers.items():
        top = surprise(halves) if ceiling is None else ceiling
        metrics = score(halves, n_records, seed, top, clip=not who.mistaken)
        found[who.key] = data_limited(metrics, starved_of(halves))
    return found


def asked(families: Sequence[str], plain: object | None, late: bool = False, knows: Knows = "none") -> list[Asked]:
    """Who plays: each family, and where there is an undefended view each as the static one too."""
    ways: list[Knowledge] = ["late" if late else "adaptive", *([] if plain is None else ["static"])]  # type: ignore[list-item]
    return [Asked(family, way, knows) for way in ways for family in families]


def names_of(families: Sequence[str], plain: object | None, late: bool = False) -> list[str]:
    """The keys of those who play."""
    return [who.key for who in asked(families, plain, late)]


def surprise(halves: Sequence[Answers]) -> float:
    """Bits of one who always knows the secret of these games: what the prior leaves open."""
    means = [_at(half.batches.prior, half.batches.secret).log2().neg().mean() for half in halves]
    return float(torch.stack(means).mean())


def lost(adversaries: Sequence[str], reason: str, lines: int, n: int) -> Found:
    """What there is to say of games that cannot be played."""
    return {name: {metric: [inconclusive(reason, n=n)] * lines for metric in METRICS} for name in adversaries}


def why_not(n_records: int, view: View, own: int | None = None, what: str = "records") -> str:
    """Why a game cannot be played, in words with the number needed; empty if it can.

    Args:
        n_records: how many records fill the batches.
        view: batch size and rounds.
        own: most records the adversary owns.
        what: what those records are called.
    """
    rounds = view.batches
    needed = max(RECORDS_PER_MEMBER * view.records * rounds, LEAST_RECORDS)
    many = f" in {rounds} rounds" if rounds > 1 else ""
    batch = f"batches of {view.records}{many}"
    if n_records < needed:
        advised = max(ADVISED_PER_MEMBER * view.records * rounds, LEAST_RECORDS)
        return f"needs {needed} {what} for {batch}, has {n_records} ({advised} advised)"
    least = max(OWN_PER_MEMBER * view.records, LEAST_OWN)
    if own is not None and own < least:
        return f"needs {least} records of the adversary's own for {batch}, she has {own}"
    return ""


# Parts and draws


def draw_halves(
    draw: Draw,
    n_records: int,
    view: View,
    own: int | None,
    generator: torch.Generator,
    strata: Tensor | None = None,
    batches: int = FIT_GAMES,
) -> list[Half]:
    """The games of both halves."""
    strata = torch.zeros(n_records, dtype=torch.long) if strata is None else strata.cpu()
    side = dealt(strata, 2, generator)
    fit, choose, played = (
        games_of(view, most, rounds)
        for most, rounds in ((batches, 1), (batches // 2, view.batches), (min(batches, PLAY_GAMES), view.batches))
    )
    halves = []
    for mine in (0, 1):
        hers, theirs = (torch.nonzero(side == one).squeeze(1) for one in (mine, 1 - mine))
        hers = hers[spread(strata[hers], generator)[:own]]
        third = dealt(strata[hers], 3, generator) == 2
        single = draw(hers[~third], fit, generator)
        single = replace(single, members=single.members[:1])
        halves.append(Half(single, draw(hers[third], choose, generator), draw(theirs, played, generator)))
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


def observe(sight: Sight, batches: Batches, view: View, generator: torch.Generator) -> Tensor:
    """What is seen of the games, `(r, R, G, k)`; several looks at the same batch are averaged to one.

    The mean is all that rounds of one batch tell where only noise sets them apart; their others are the same, so
    their likelihoods must not be multiplied.
    """
    if not view.fixed_batch or view.rounds == 1:
        return look(sight, batches.members, generator)
    if isinstance(sight, TokenSight):
        return look(sight.quieter(view.rounds), batches.members, generator)
    return look(sight, batches.members.expand(view.rounds, -1, -1), generator).mean(0, keepdim=True)


def _seen(sight: Sight, batches: Batches, view: View, kept: dict[int, Kept], generator: torch.Generator) -> Seen:
    views = observe(sight, batches, view, generator)
    share = None if batches.share is None else batches.share.to(views.device)
    blocks = read(sight, batches.members, view, kept, generator)
    records = len(torch.unique(batches.members))
    secret, prior = batches.secret.to(views.device), batches.prior.to(views.device)
    return Seen(views, secret, prior, blocks, share, sight.random, records)


def _at(values: Tensor, secret: Tensor) -> Tensor:
    return values.gather(-1, secret[:, None]).squeeze(-1)
