"""One prepared adversary: fitted on her own batches, chosen and calibrated on others, asked about the reported ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from ptaudit.adversaries.batch import forest, gaussian, predictors
from ptaudit.adversaries.batch.choice import answer, choose_setting
from ptaudit.adversaries.batch.seen import Family, Seen, Shown
from ptaudit.adversaries.usable import knn, linear, mlp
from ptaudit.estimators.pairing import derangement

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "likelihood-ratio": gaussian.likelihoods,
        "linear": predictors.predictor(linear.FAMILY),
        "mlp": predictors.predictor(mlp.FAMILY),
        "knn": predictors.predictor(knn.FAMILY),
        "forest": forest.votes,
    }
)
"""The families by name."""

_CELLS = 1 << 25
"""Most numbers of the observations that are looked at together."""


def prepare(
    fit: Seen, choose: Seen, played: Shown | Seen, groups: Sequence[Sequence[int]], family: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Prepare an adversary on her own games and let her answer for the played ones.

    A posterior is fitted to single rounds of `fit` for every row, its log-ratios over the prior are summed over the
    rounds; setting, row of the group, and calibration are those that are best on the games of `choose`. The adversary
    who answers with the prior is in the family: nothing learned gives 0 bits.

    Args:
        fit: games to fit on.
        choose: games to choose and calibrate on, of other records, with as many rounds as the played ones.
        played: the reported games.
        groups: for each line the rows that the adversary chooses from.
        family: one of `FAMILIES`.
        seed: of the fits and of the shuffled secrets.

    Returns:
        Log-posteriors of every value, `(P, G, K)` for P lines, float64; and those of the same adversary prepared with
        the secrets of `fit` and `choose` deranged, which are to be judged against shuffled secrets. A line with a row
        that is not finite is NaN.

    Raises:
        ValueError: for an unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}: one of {', '.join(FAMILIES)}")
    games = (fit, choose, played)
    finite = torch.stack([torch.isfinite(some.views).all(-1).all(-1).all(0) for some in games]).all(0)
    generator = torch.Generator().manual_seed(seed)
    secrets, asked = (_versions(some.secret, generator) for some in (fit, choose))
    rows = fit.views.shape[1]
    cells = sum(some.views.shape[0] * some.views.shape[2] * some.views.shape[3] for some in games)
    parts = []
    for some in torch.split(torch.arange(rows), max(1, _CELLS // cells)):
        known, tried, shown = (torch.where(finite[some, None, None], g.views[:, some].double(), 0.0) for g in games)
        parts.append(_play(known, secrets, (tried, choose.prior, asked), (shown, played.prior), family, seed))
    log_q, bits = (torch.cat(same, 1) for same in zip(*parts))
    lines = []
    for group in groups:
        mine = torch.tensor(list(group), device=bits.device)
        line = log_q[torch.arange(len(bits)), mine[bits[:, mine].argmax(1)]]
        lines.append(line if bool(finite[mine].all()) else torch.full_like(line, torch.nan))
    real, null = torch.stack(lines, 1)
    return real, null


def _play(
    known: Tensor,
    secrets: Tensor,
    tried: tuple[Tensor, Tensor, Tensor],
    shown: tuple[Tensor, Tensor],
    family: str,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Log-posteriors `(V, R, G, K)` of some rows, and mean bits of the choice `(V, R)`, for every version."""
    (views, prior, asked), (asking, prior_played) = tried, shown
    peak = known.abs().amax((0, 2, 3)).clamp_min(1e-200)[:, None, None]
    first, rest = _flat(known) / peak, torch.cat([_flat(views), _flat(asking)], 1) / peak
    found = FAMILIES[family](first, secrets.repeat(1, len(known)), prior.shape[1], rest, seed)
    mine = views.shape[0] * views.shape[2]
    own, theirs = _summed(found[..., :mine, :], len(views)), _summed(found[..., mine:, :], len(asking))
    log_q, bits = [], []
    for ratios, played, secret in zip(own, theirs, asked):
        choice = choose_setting(ratios, prior, secret)
        log_q.append(answer(played, prior_played, choice))
        bits.append(choice.bits)
    return torch.stack(log_q), torch.stack(bits)


def _flat(views: Tensor) -> Tensor:
    """Rounds one after the other: `(r, R, G, k)` -> `(R, r * G, k)`."""
    return views.transpose(0, 1).flatten(1, 2)


def _summed(ratios: Tensor, rounds: int) -> Tensor:
    """What all rounds of a game say together: `(..., r * G, K)` -> `(..., G, K)`."""
    return torch.unflatten(ratios, -2, (rounds, -1)).sum(-3, dtype=torch.float64)


def _versions(secret: Tensor, generator: torch.Generator) -> Tensor:
    """The secrets, and the secrets of other games in their place: `(2, G)`."""
    return torch.stack([secret, secret[derangement(len(secret), generator).to(secret.device)]])
