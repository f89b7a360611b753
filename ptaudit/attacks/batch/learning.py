"""Whether an adversary would find more with more batches to learn from: fitted on all of its own, and on half of them.

What a classifier of one kind gains by twice the batches is a sign of what all of them would gain by more. The gain is
that on the games that nobody was fitted on, the same ones for both, so its error is that of paired differences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.attacks.batch import noted
from ptaudit.attacks.batch.choice import answer, choose_setting
from ptaudit.attacks.batch.observations import FitObservations, NumberBlock
from ptaudit.attacks.calibration import log_prior
from ptaudit.stats.detection import tells_more

FAMILY = "linear"


def learns_more(
    fit: FitObservations, choose: FitObservations, groups: Sequence[Sequence[int]], seed: int
) -> list[bool]:
    """For every line, whether all batches tell more than half of them: the lower bound of the gain is above 0.

    Args:
        fit: the adversary's own batches, one round each.
        choose: games of other records to judge on.
        groups: for each line the layers (and rows of sketches) that it may use.
        seed: of the fits.

    Returns:
        False for lines without numbers of matrices.
    """
    pairs = list(zip(fit.blocks, choose.blocks))
    widest = [max((p for p in pairs if set(p[0].layers) <= set(g)), key=_width, default=None) for g in groups]
    told = {pair[0].layers: _gains(fit, choose, pair, seed) for pair in widest if pair is not None}
    return [pair is not None and told[pair[0].layers] for pair in widest]


def tells_better(more: FitObservations, fit: FitObservations, choose: FitObservations, seed: int) -> bool:
    """Whether batches of some records tell more of the games of others than as many of other records, by all layers."""
    told = []
    for some in (more, fit):
        block, asked = max(zip(some.blocks, choose.blocks), key=_width)
        n = min(len(more.secret), len(fit.secret))
        known, shares = block.values[0, :n], some.shares[None, :n]
        ratios = noted.ratios(known, shares, asked.values.flatten(0, 1), FAMILY, seed)[0]
        told.append(float(_bits(ratios, choose).mean()))
    return told[0] > told[1]


def _width(pair: tuple[NumberBlock, NumberBlock]) -> int:
    return len(pair[0].layers)


def _gains(fit: FitObservations, choose: FitObservations, pair: tuple[NumberBlock, NumberBlock], seed: int) -> bool:
    known, asked = pair[0].values[0], pair[1].values.flatten(0, 1)
    if known.shape[1] == 0:
        return False
    shares = fit.shares
    half = len(known) // 2
    more, less = (
        _bits(noted.ratios(known[:n], shares[None, :n], asked, FAMILY, seed)[0], choose) for n in (len(known), half)
    )
    return tells_more((more - less).double().cpu().numpy(), more.double().cpu().numpy())


def _bits(ratios: Tensor, choose: FitObservations) -> Tensor:
    """Bits of every game at the best setting and calibration, from log-ratios `(A, games and rounds, K)`."""
    total = torch.unflatten(ratios[:, None], -2, (len(choose.views), -1)).sum(-3, dtype=torch.float64)
    told = answer(total, choose.prior, choose_setting(total, choose.prior, choose.secret))[0]
    own: Tensor = (told - log_prior(choose.prior)).gather(1, choose.secret[:, None]).squeeze(1)
    return own / torch.log(own.new_tensor(2.0))
