"""Posteriors over blocks of numbers about gradients: predictors that learn the share of every value in a batch.

Of its own batches the adversary knows who is in them. Where the secret is the value of one record, the share of the
batch that has it is the mean of the secret over its members: learned from, it gives the same posterior as the secrets
do, with less noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from torch import Tensor

from ptaudit.attacks.usable.family import mapped
from ptaudit.attacks.usable.linear import logistic_path
from ptaudit.attacks.usable.mlp import class_path

Predictor = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""Numbers `(n, f)` to fit on, V versions of the shares `(V, n, K)`, numbers to answer for `(u, f)`, seed: the
log-probabilities `(V, A, u, K)` at A settings."""

FARTHEST = 8.0
"""Farthest number in standard deviations."""

MOST, FEW = 768, 96
"""Most numbers that are looked at, at most half as many as there are batches: those that go with the secret most; and
how many `NARROW` families look at in further settings: where noise hides most numbers, they drown what few tell."""

TREES, LEAST_LEAF, TRIED = 100, 4, 0.1
"""Trees of a forest, fewest batches in a leaf, share of the numbers that are tried at a split."""

BOOSTED, RATE = (220, 100), (0.06, 0.1)
"""Boosted trees, and how much of each is added: of two values, which take trees for one alone, and of more."""

LEAVES = 15
"""Leaves of a boosted tree."""

TREE_NUMBERS = 300
"""Numbers that trees look at, those that go with the secret most: with more they take longer and find no more."""

LEAST_SHARE = 1e-4


def ratios(known: Tensor, shares: Tensor, unseen: Tensor, family: str, seed: int) -> Tensor:
    """Log-likelihood ratios of every value, `(V, A, u, K)`, up to a constant for each batch; A settings.

    Args:
        known: numbers of the batches to fit on, `(n, f)`.
        shares: V versions of the share of every value in them, `(V, n, K)`.
        unseen: numbers to answer for, `(u, f)`.
        family: one of `NOTED`.
        seed: the only source of randomness.
    """
    one, two = (torch.nan_to_num(some.float())[None] for some in (known, unseen))
    one, two = (some[0].clamp(-FARTHEST, FARTHEST) for some in mapped(lambda some, _: some, one, two))
    frequency = (shares.sum(1) + 1.0) / (shares.shape[1] + shares.shape[2])
    widths = [min(MOST, len(one) // 2)]
    if family in NARROW and min(widths[0], one.shape[1]) > FEW:
        widths.append(FEW)
    found = []
    for most in widths:
        if one.shape[1] <= most:
            found.append(NOTED[family](one, shares, two, seed))
        else:
            kept = [_telling(one, share, most) for share in shares]
            some = [NOTED[family](one[:, k], share[None], two[:, k], seed) for k, share in zip(kept, shares)]
            found.append(torch.cat(some))
    return torch.cat(found, 1) - frequency.log()[:, None, None]


def _telling(known: Tensor, share: Tensor, most: int) -> Tensor:
    """The numbers that go with any of the shares most, of batches `(n, f)` and `(n, K)`: indices."""
    apart = share - share.mean(0)
    with_shares = known.mT @ (apart / apart.std(0).clamp_min(1e-9))
    return with_shares.abs().amax(1).topk(most).indices


def _linear(known: Tensor, shares: Tensor, unseen: Tensor, seed: int) -> Tensor:
    return logistic_path(known[None], shares, unseen[None])[:, :, 0]


def _mlp(known: Tensor, shares: Tensor, unseen: Tensor, seed: int) -> Tensor:
    return class_path(known[None], shares, unseen[None], torch.Generator().manual_seed(seed))[:, :, 0]


def _forest(known: Tensor, shares: Tensor, unseen: Tensor, seed: int) -> Tensor:
    """Mean share in the leaves, with one tree more that knows only the frequencies."""
    found = []
    for share in shares:
        x, asked, truth = (part.cpu().numpy() for part in (*_for_trees(known, share, unseen), share))
        trees = ExtraTreesRegressor(
            TREES, min_samples_leaf=LEAST_LEAF, max_features=TRIED, n_jobs=1, random_state=seed % 2**32
        )
        answers = trees.fit(x, truth).predict(asked)
        found.append(np.log((TREES * answers + truth.mean(0) + 1e-3) / (TREES + 1.0)))
    return torch.from_numpy(np.stack(found))[:, None].to(unseen)


def _for_trees(known: Tensor, share: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    if known.shape[1] <= TREE_NUMBERS:
        return known, unseen
    some = _telling(known, share, TREE_NUMBERS)
    return known[:, some], unseen[:, some]


def _boosting(known: Tensor, shares: Tensor, unseen: Tensor, seed: int) -> Tensor:
    """Boosted trees of every share."""
    found = []
    for share in shares:
        x, asked = (part.cpu().numpy() for part in _for_trees(known, share, unseen))
        kinds = share.shape[1]
        answers = []
        for value in range(kinds - (kinds == 2)):
            trees = HistGradientBoostingRegressor(
                max_iter=BOOSTED[kinds > 2], learning_rate=RATE[kinds > 2], max_leaf_nodes=LEAVES, early_stopping=False,
                random_state=seed % 2**32,
            )  # fmt: skip
            answers.append(trees.fit(x, share[:, value].cpu().numpy()).predict(asked))
        told = torch.from_numpy(np.stack(answers, 1)).to(unseen)
        told = torch.cat([told, 1.0 - told], 1) if kinds == 2 else told
        told = told.clamp_min(LEAST_SHARE)
        found.append((told / told.sum(1, keepdim=True)).log())
    return torch.stack(found)[:, None]


NOTED: Mapping[str, Predictor] = MappingProxyType(
    {"linear": _linear, "mlp": _mlp, "forest": _forest, "boosting": _boosting}
)
"""The families of predictors by name."""

NARROW = ("linear", "mlp")
"""Those that many numbers without meaning harm; trees choose among them."""
