"""Classifiers of a batch's secret from numbers about its gradient, stacked on batches of other records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from redteam_posterior import fit_mixture
from redteam_world import Array, Index
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from torch import nn

LEAST = 1e-6

Model = Callable[[Array], Array]
"""Features (G, F) to probabilities (G, K)."""


@dataclass(frozen=True)
class Batches:
    """G batches of the attacker's, and their secrets.

    Attributes:
        x: numbers about the gradient, `(G, F)`.
        share: probability of every secret given who is in the batch, `(G, K)`: for a record's label, the share of its
            members with each; these are known of the attacker's own batches, and are less noisy than the label itself.
        prior: without the gradient, `(K,)`.
    """

    x: Array
    share: Array
    prior: Array


def fit(own: Batches, calibrate: Batches, seed: int = 0) -> tuple[Model, dict[str, float]]:
    """Stacked probabilities of all classifiers, and how much each weighs."""
    keep = own.x.std(0) > 1e-9
    centre, scale = own.x[:, keep].mean(0), own.x[:, keep].std(0)

    def scaled(x: Array) -> Array:
        return np.clip((x[:, keep] - centre) / scale, -6.0, 6.0).astype(np.float32)

    x, held = scaled(own.x), (scaled(calibrate.x), calibrate.share)
    near = _nearest(x, own.share)
    models = [_network(x, own.share, held, (0, decay)) for decay in (1e-4, 3e-3, 3e-2)]
    models += [_some(near[:200], lambda x, held: _network(x, own.share, held, (0, 1e-3)), x, held)]
    models += [_some(near[:300], lambda x, held: _network(x, own.share, held, (64, 1e-2)), x, held)]
    models += [_network(x, own.share, held, (64, 1e-2)), _forest(x, own.share, seed)]
    models += [_some(near[:300], lambda x, _: _boosted(x, own.share, seed), x, held)]
    prior = np.broadcast_to(own.prior, calibrate.share.shape)

    def scores(x: Array) -> Array:
        return np.stack([np.log(np.maximum(model(x), LEAST)) - np.log(own.prior) for model in models], 2)

    weights, mixture = fit_mixture(scores(held[0]), prior, calibrate.share)

    def answer(raw: Array) -> Array:
        logits = scores(scaled(raw)) @ weights + np.log(own.prior)
        q = np.exp(logits - logits.max(1, keepdims=True))
        return (1.0 - mixture) * q / q.sum(1, keepdims=True) + mixture * own.prior

    names = ["linear-weak", "linear", "linear-strong", "linear-few", "mlp-few", "mlp", "forest", "boosting"]
    return answer, dict(zip(names, np.round(weights, 3).tolist()))


def _network(x: Array, share: Array, held: tuple[Array, Array], kind: tuple[int, float]) -> Model:
    """Logistic regression, or one hidden layer, on the shares; stopped where held-out batches are told best."""
    (width, decay), sizes = kind, (x.shape[1], share.shape[1])
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Linear(sizes[0], width), nn.ReLU(), nn.Linear(width, sizes[1])) if width else nn.Linear(*sizes)
    )
    if not width:
        nn.init.zeros_(net.weight)
    data, target = torch.from_numpy(x), torch.from_numpy(share).float()
    hx, hy = torch.from_numpy(held[0]), torch.from_numpy(held[1]).float()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3 if not width else 1e-3, weight_decay=decay / 3e-3)
    best, state, since = float("inf"), None, 0
    for _ in range(150):
        for index in torch.randperm(len(data)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data[index]), target[index]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(nn.functional.cross_entropy(net(hx), hy))
        since = 0 if loss < best else since + 1
        if loss < best:
            best, state = loss, {name: value.clone() for name, value in net.state_dict().items()}
        if since > 15:
            break
    net.load_state_dict(state or net.state_dict())

    def answer(x: Array) -> Array:
        with torch.no_grad():
            return torch.softmax(net(torch.from_numpy(x)).double(), 1).numpy()

    return answer


def _forest(x: Array, share: Array, seed: int) -> Model:
    """A forest of the shares themselves."""
    forest = ExtraTreesRegressor(150, min_samples_leaf=4, max_features=0.1, n_jobs=1, random_state=seed).fit(x, share)
    return lambda x: _normal(forest.predict(x))


def _boosted(x: Array, share: Array, seed: int) -> Model:
    """Gradient boosting of every share."""
    models: list[Any] = []
    for value in range(share.shape[1] - (share.shape[1] == 2)):
        model = HistGradientBoostingRegressor(
            max_iter=220, learning_rate=0.06, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed
        )
        models.append(model.fit(x, share[:, value]))

    def answer(x: Array) -> Array:
        q = np.stack([model.predict(x) for model in models], 1)
        return _normal(np.concatenate([q, 1.0 - q], 1) if share.shape[1] == 2 else q)

    return answer


def _nearest(x: Array, share: Array) -> Index:
    """Numbers in the order of how much they go with one of the shares."""
    centred = (share - share.mean(0)) / (share.std(0) + 1e-9)
    return np.argsort(-np.abs(x.T @ centred).max(1))


def _some(columns: Index, fit: Callable[[Array, tuple[Array, Array]], Model], x: Array, held: Any) -> Model:
    """A classifier of some of the numbers."""
    model = fit(x[:, columns], (held[0][:, columns], held[1]))
    return lambda raw: model(raw[:, columns])


def _normal(q: Array) -> Array:
    q = np.clip(q, 1e-4, None)
    return q / q.sum(1, keepdims=True)
