"""One prepared adversary: fitted on its own batches, chosen and calibrated on others, asked about the reported ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.attacks.batch import noted
from ptaudit.attacks.batch.choice import answer, choose_setting
from ptaudit.attacks.batch.observations import (
    FitObservations,
    NumberBlock,
    ObservedGames,
    PlayedObservations,
)
from ptaudit.attacks.batch.opinion import Opinion, Versions, best, stacked
from ptaudit.attacks.registry import COMBINED, OF_BATCHES, load
from ptaudit.estimators.pairing import derangement

OF_SKETCHES, OF_NUMBERS = ("likelihood-ratio", "linear"), ("linear", "mlp", "forest", "boosting")
"""What `combined` stacks: families of sketches, and of numbers of whole gradients."""

BESIDE_NUMBERS = ("linear",)
"""Of sketches, where the matrices of all layers are known without noise: of these a density of their sketch tells
nothing that their numbers do not, and takes most of the time."""

ENOUGH = 2048
"""Batches from which on a network of each layer is trained too, and not only of all layers; trees are grown; and
sketches are looked at beside numbers."""

JOINT_ROWS = 2
"""Most rows of the sketches that are of all layers."""

_CELLS = 1 << 25
"""Most numbers of the observations that are looked at together."""


def prepare(observed: ObservedGames, groups: Sequence[Sequence[int]], family: str, seed: int) -> tuple[Tensor, Tensor]:
    """Prepare an adversary on its own games and let it answer for the played ones.

    A posterior is fitted to single rounds of `fit` for every row and block, its log-ratios over the prior are summed
    over the rounds; setting, row or block of the group, and calibration are those that are best on the games of
    `choose`; `combined` has their stack, see `opinion.stacked`. The adversary who answers with the prior is in the
    family: nothing learned gives 0 bits.

    Args:
        observed: games to fit on, to choose and calibrate on, and the reported ones.
        groups: for each line the rows that the adversary chooses from; the blocks of these layers go with them.
        family: one of `registry.OF_BATCHES`.
        seed: of the fits and of the shuffled secrets.

    Returns:
        Log-posteriors of every value, `(P, G, K)` for P lines, float64; and those of the same adversary prepared with
        the secrets of `fit` and `choose` deranged, which are to be judged against shuffled secrets. A line with a row
        that is not finite is NaN.

    Raises:
        ValueError: for an unknown family.
    """
    if family not in OF_BATCHES:
        raise ValueError(f"unknown family {family!r}: one of {', '.join(OF_BATCHES)}")
    fit, choose, played = observed.games
    finite = torch.stack([torch.isfinite(g.views).all(-1).all(-1).all(0) for g in observed.games]).all(0)
    generator = torch.Generator().manual_seed(seed)
    own, asked = (_versions(some, generator) for some in (fit, choose))
    opinions: list[Opinion] = []
    of_sketches, of_numbers = _families(family, fit)
    for name in of_sketches:
        opinions += _of_sketches(observed, finite, (own, asked), name, seed)
    for name in of_numbers:
        opinions += _of_blocks(observed, (own, asked), name, seed)
    lines = []
    for group in groups:
        mine = [one for one in opinions if set(one.rows) <= set(group)]
        if family == COMBINED:
            line = stacked(mine, asked, (choose, played), len(choose.views))
        else:
            line = best(mine)
        lines.append(line if bool(finite[list(group)].all()) else torch.full_like(line, torch.nan))
    real, null = torch.stack(lines, 1)
    return real, null


def _families(family: str, fit: FitObservations) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The families that look at sketches, and those that look at numbers."""
    if family != COMBINED:
        return (family,), (family,) if family in noted.NOTED else ()
    few = len(fit.secret) < ENOUGH
    covered = {place for block in fit.blocks for place in block.layers}
    of_numbers = OF_NUMBERS[:2] if few else OF_NUMBERS
    if not covered or fit.views.shape[1] - len(covered) > JOINT_ROWS:
        return OF_SKETCHES, of_numbers
    if fit.random:
        return (OF_SKETCHES[:1], OF_NUMBERS[:1]) if few else (OF_SKETCHES, of_numbers)
    return () if few else BESIDE_NUMBERS, of_numbers


def _of_sketches(
    observed: ObservedGames, finite: Tensor, versions: tuple[Versions, Versions], family: str, seed: int
) -> list[Opinion]:
    """What a family says of the sketches in every row."""
    fit, choose, played = observed.games
    rows = fit.views.shape[1]
    cells = sum(some.views.shape[0] * some.views.shape[2] * some.views.shape[3] for some in observed.games)
    found = []
    for some in torch.split(torch.arange(rows), max(1, _CELLS // cells)):
        known, tried, shown = (
            torch.where(finite[some, None, None], g.views[:, some].double(), 0.0) for g in observed.games
        )
        peak = known.abs().amax((0, 2, 3)).clamp_min(1e-200)[:, None, None]
        first, rest = _flat(known) / peak, torch.cat([_flat(tried), _flat(shown)], 1) / peak
        secrets = versions[0].secret.repeat(1, len(known))
        ratios = load(OF_BATCHES[family])(first, secrets, choose.prior.shape[1], rest, seed)
        found += _opinions(ratios, (choose, played), versions[1], [(int(row),) for row in some])
    return found


def _of_blocks(observed: ObservedGames, versions: tuple[Versions, Versions], family: str, seed: int) -> list[Opinion]:
    """What a family says of the numbers in every block."""
    fit, choose, played = observed.games
    found = []
    every = family != "boosting" and (family != "mlp" or len(fit.secret) >= ENOUGH)
    for known, tried, shown in zip(fit.blocks, choose.blocks, played.blocks):
        if not every and known.layers != fit.blocks[-1].layers:
            continue
        first, rest = _rounds(known), torch.cat([_rounds(tried), _rounds(shown)])
        if first.shape[1] == 0:
            continue
        shares = versions[0].share.repeat(1, len(known.values), 1)
        ratios = noted.ratios(first, shares, rest, family, seed)[:, :, None]
        found += _opinions(ratios, (choose, played), versions[1], [known.layers], numbers=True)
    return found


def _opinions(
    ratios: Tensor,
    games: tuple[FitObservations, PlayedObservations | FitObservations],
    asked: Versions,
    rows: Sequence[tuple[int, ...]],
    numbers: bool = False,
) -> list[Opinion]:
    """The best setting of every row and its calibration, from log-ratios `(V, A, R, games and rounds, K)`."""
    choose, played = games
    mine = choose.views.shape[0] * choose.views.shape[2]
    own, theirs = (
        torch.unflatten(part, -2, (len(some.views), -1)).sum(-3, dtype=torch.float64)
        for part, some in zip((ratios[..., :mine, :], ratios[..., mine:, :]), games)
    )
    every = torch.arange(len(rows), device=own.device)
    parts = []
    for ratio, told, secret in zip(own, theirs, asked.secret):
        choice = choose_setting(ratio, choose.prior, secret)
        chosen = (ratio[choice.setting, every].float(), told[choice.setting, every].float())
        parts.append((*chosen, answer(told, played.prior, choice), choice.bits))
    tried, shown, log_q, bits = (torch.stack(same) for same in zip(*parts))
    return [
        Opinion(place, numbers, tried[:, row], shown[:, row], log_q[:, row], bits[:, row])
        for row, place in enumerate(rows)
    ]


def _rounds(block: NumberBlock) -> Tensor:
    return block.values.flatten(0, 1)


def _flat(views: Tensor) -> Tensor:
    """Rounds one after the other: `(r, R, G, k)` -> `(R, r * G, k)`."""
    return views.transpose(0, 1).flatten(1, 2)


def _versions(some: FitObservations, generator: torch.Generator) -> Versions:
    """The secrets, and the secrets of other games in their place."""
    order = derangement(len(some.secret), generator).to(some.secret.device)
    share = some.shares
    return Versions(torch.stack([some.secret, some.secret[order]]), torch.stack([share, share[order]]))
