"""A posterior that is there already, and the algebra of whole gradients beside it: stacked, or the better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.calibration import log_prior
from ptaudit.attacks.evidence import EVERY, Evidence, Statistic
from ptaudit.attacks.stacking import Stack, fit_stack


@dataclass(frozen=True)
class Scored:
    """Games as both see them.

    Attributes:
        log_q: log-posteriors of P lines that are there already, `(P, G, K)` float64.
        rounds: statistics of every value in each round, each `(G, K)`.
        prior: probability of every value without the gradient, `(G, K)`.
    """

    log_q: Tensor
    rounds: Sequence[Sequence[Statistic]]
    prior: Tensor

    @property
    def ratios(self) -> Tensor:
        """Log of posterior over prior, `(P, G, K)`."""
        return self.log_q - log_prior(self.prior)


def answer(
    evidence: Evidence, choose: Scored, secret: Tensor, played: Scored, groups: Sequence[Sequence[int]], once: bool
) -> Tensor:
    """Log-posteriors of the played games, `(P, G, K)` float64.

    Args:
        evidence: densities of the statistics, counted on other records.
        choose: games with known secrets, on which weights are fitted.
        secret: their secrets, `(G,)`.
        played: the games that are asked for.
        groups: for each line the layers whose statistics it may use.
        once: whether both are observations of their own at a random view, of which only one may count.
    """
    known, asked = (sum(evidence.scores(one) for one in some.rounds) for some in (choose, played))
    assert isinstance(known, Tensor)
    assert isinstance(asked, Tensor)
    least = 1.0 / (len(secret) + 1)
    found = []
    for line, group in enumerate(groups):
        places = {*group, EVERY} if len(group) > 1 else set(group)
        mine = [i for i, layer in enumerate(evidence.layers) if layer in places]
        before, now = (some.ratios[line : line + 1].float() for some in (choose, played))
        options = [(fit_stack(before, secret, choose.prior, least), now)]
        if mine:
            one, two = known[mine], asked[mine]
            if not once:
                one, two = torch.cat([before, one]), torch.cat([now, two])
            options.append((fit_stack(one, secret, choose.prior, least), two))
        stack, scores = max(options, key=_bits)
        found.append(stack.log_posterior(scores, played.prior))
    return torch.stack(found)


def _bits(option: tuple[Stack, Tensor]) -> float:
    return option[0].bits
