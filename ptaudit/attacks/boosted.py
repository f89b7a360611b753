"""Boosted trees that tell the true candidate of a game from wrong ones by many statistics at once.

What a statistic says depends on the others: a residual of 1e-4 is a match where the rank is small and nothing where it
is full. Trees see that; and what counts is also how a candidate stands among its rivals, so the distance of every
statistic from the rivals' largest and median is given too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

WRONG = 5
"""Wrong candidates of a game that the true one is told from."""

TREES, LEAVES, RATE = 60, 15, 0.15

Score = Callable[[Tensor], Tensor]
"""Statistics `(G, K, F)` to log-odds of every candidate, `(G, K)` float32."""


def fit_boosted(statistics: Tensor, secret: Tensor, seed: int) -> Score:
    """Grow trees on games with known secrets.

    Args:
        statistics: of every candidate, `(G, K, F)`.
        secret: place of the true one, `(G,)`.
        seed: of the choice of wrong candidates and of the trees.
    """
    games, k, _ = statistics.shape
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(games, k - 1, generator=generator).topk(min(WRONG, k - 1)).indices
    wrong = wrong + (wrong >= secret[:, None]).long()
    chosen = torch.cat([secret[:, None], wrong], 1)
    x = _beside_rivals(statistics)
    some = x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1])).flatten(0, 1)
    truth = (torch.arange(chosen.shape[1]) == 0).repeat(games)
    trees = HistGradientBoostingClassifier(
        max_iter=TREES, learning_rate=RATE, max_leaf_nodes=LEAVES, l2_regularization=1.0, early_stopping=False,
        random_state=seed % 2**32,
    )  # fmt: skip
    trees.fit(some.cpu().numpy(), truth.numpy())

    def score(statistics: Tensor) -> Tensor:
        flat = _beside_rivals(statistics).flatten(0, 1)
        odds = torch.from_numpy(trees.decision_function(flat.cpu().numpy()))
        return odds.view(statistics.shape[:2]).float().to(statistics.device)

    return score


def _beside_rivals(statistics: Tensor) -> Tensor:
    middle, top = statistics.median(1, keepdim=True).values, statistics.amax(1, keepdim=True)
    return torch.cat([statistics, statistics - top, statistics - middle], -1)
