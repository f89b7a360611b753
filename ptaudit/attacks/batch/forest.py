"""A random forest for each row, by scikit-learn: sees steps and interactions that need no scale."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from ptaudit.attacks.batch.gaussian import principal_axes
from ptaudit.attacks.densities import sub_token

TREES = 16
SHARE = 0.5
"""Share of the observations that a tree sees."""

LEAST_LEAF = 5
MOST_COORDINATES = 64
MOST_AXES = 32
MOST_KNOWN = 4000
"""Most observations that a forest is fitted on."""

Array = NDArray[np.float32]


def votes(known: Tensor, secrets: Tensor, values: int, unseen: Tensor, seed: int) -> Tensor:
    """Log-ratios of the mean frequency in the leaves, with one tree more that knows only the frequencies;
    `PosteriorFamily`."""
    known, secrets = known[:, :MOST_KNOWN], secrets[:, :MOST_KNOWN]
    labels = secrets.cpu().numpy()
    found = np.empty((len(secrets), 2, len(known), unseen.shape[1], values), np.float32)
    for row in range(len(known)):
        for which, (one, two) in enumerate(_feature_maps(known[row], unseen[row])):
            for v, secret in enumerate(labels):
                frequency = (np.bincount(secret, minlength=values) + 1.0) / (len(secret) + values)
                share = (TREES * _shares(one, secret, two, values, seed) + frequency) / (TREES + 1.0)
                found[v, which, row] = np.log(share / frequency)
    return torch.from_numpy(found).to(known.device)


def _shares(known: Array, secret: NDArray[np.int64], unseen: Array, values: int, seed: int) -> NDArray[np.float64]:
    """Mean frequency of every value in the leaves, `(u, K)`."""
    forest = RandomForestClassifier(
        TREES, min_samples_leaf=LEAST_LEAF, max_samples=SHARE, n_jobs=1, random_state=seed % 2**32
    )
    forest.fit(known, secret)
    share = np.zeros((len(unseen), values))
    share[:, forest.classes_] = forest.predict_proba(unseen)
    return share


def _feature_maps(known: Tensor, unseen: Tensor) -> list[tuple[Array, Array]]:
    """Two feature maps: some coordinates; the leading axes, where few splits see most of a gradient, and the length."""
    mean = known.mean(0)
    coordinates = sub_token(known.shape[1], min(known.shape[1], MOST_COORDINATES)).to(known.device)
    axes = principal_axes((known - mean)[None], (unseen - mean)[None])
    turned = [
        torch.cat([some[0, :, -MOST_AXES:], torch.linalg.vector_norm(some[0], dim=1, keepdim=True)], 1)
        for some in (axes.known, axes.unseen)
    ]
    mapped = [(known[:, coordinates], unseen[:, coordinates]), (turned[0], turned[1])]
    return [(one.float().cpu().numpy(), two.float().cpu().numpy()) for one, two in mapped]
