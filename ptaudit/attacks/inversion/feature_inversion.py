"""Records from what the first linear layer is given: features in closed form, then pictures that have them.

Behind convolutions, pooling and activations of any kind the first linear layer with a bias still gives away what it is
given, one vector of features for each record (see `separation`). A picture with these features is then searched for,
as in Mahendran and Vedaldi, arXiv 1412.0035: the squared distance of features and total variation, Adam, from the
guess without a gradient. (Cocktail party attack: Kariyappa et al., arXiv 2209.05578, takes the same two steps with
independent components for the first.) No second derivative is needed, and a step costs one pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.analytic import objective
from ptaudit.attacks.inversion.inverting_gradients import total_variation
from ptaudit.attacks.inversion.linear_layers import feature_layer, linear_inputs, slopes_of
from ptaudit.attacks.inversion.matching import Clock
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.separation import LinearLayer, several
from ptaudit.progress import Progress

SMOOTHNESS = 0.1
"""Weight of total variation, of pictures in units of the spread of their pixels; distances are relative."""

_RATE = 0.15
"""Of Adam at the start, in units of the spread of inputs; it falls to 0 along a quarter of a cosine."""

_CLEAR = 2.0
"""Times by which the squared bias entries exceed those of noise before features are believed."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why there are no features to be had."""
    path = feature_layer(granted)
    if path is None:
        return "no linear layer is given one vector of each record"
    return _layer(granted, path).why_not(seen)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    path, m = feature_layer(granted), seen.batch_size
    assert path is not None
    layer = _layer(granted, path)
    records = granted.guess.expand(len(seen), m, *granted.space.shape).clone()
    labels = torch.zeros(len(seen), m, dtype=torch.long, device=granted.device)
    labels = labels if granted.labels is None else granted.labels.clone()
    unsolved = torch.ones(len(seen), m, dtype=torch.bool)
    features, places = [], []
    with Clock(budget, progress, "rebuilding by feature-inversion", budget.iterations) as clock:
        for target in range(len(seen)):
            if not clock.goes_on():
                break
            for place, (vector, label) in enumerate(_features(seen, target, layer)):
                features.append(vector)
                places.append((target, place))
                labels[target, place], unsolved[target, place] = label, False
        if features:
            search = _Search(granted, path, torch.stack(features).to(records))
            rows, columns = torch.tensor(places).T
            records[rows, columns] = search.best(budget, generator, clock)
    return Reconstruction(
        records, labels, objective(seen, granted, records, labels), clock.steps, clock.seconds, clock.ran_out, unsolved,
        f"no features that {path} is given are proved by rows that are their own",
    )  # fmt: skip


def _features(seen: SharedGradients, target: int, layer: LinearLayer) -> list[tuple[Tensor, Tensor]]:
    """Vectors that the layer is given for the records of one target, each with its label."""
    sums, pool, m = layer.sums(seen, target), layer.pool(target), seen.batch_size
    if m > 1:
        return list(several(sums, layer, pool, m))
    noise = (seen.noise_std or 0.0) ** 2 / seen.rounds * len(sums.bias)
    if noise > 0.0 and float(sums.bias.square().sum()) <= _CLEAR * noise:
        return []
    one = layer.alone(sums, pool)
    return [] if one is None else [one]


def _layer(granted: Granted, path: str) -> LinearLayer:
    """The layer as a function of features, which take the place of what it is given."""
    module, space = granted.model.get_submodule(path), granted.space

    def slopes(vectors: Tensor, labels: Tensor) -> Tensor:
        given = vectors.to(next(granted.model.parameters()))
        hook = module.register_forward_pre_hook(lambda *_: (given,))
        try:
            return slopes_of(granted, path, granted.guess.expand(len(given), *space.shape), labels).double()
        finally:
            hook.remove()

    return LinearLayer(path, granted, slopes, lambda vectors: vectors.isfinite().all(1))


@dataclass(frozen=True)
class _Search:
    """Records that have given features `(k, D)`.

    Attributes:
        granted: what is known.
        path: of the layer that is given the features.
        features: of each record.
    """

    granted: Granted
    path: str
    features: Tensor

    def best(self, budget: Budget, generator: torch.Generator, clock: Clock) -> Tensor:
        """The records `(k, *shape)` of the start that comes nearest; the first start is the guess."""
        space, k = self.granted.space, len(self.features)
        mean, std = (x.to(self.features) for x in (space.mean, space.std))
        guess = ((self.granted.guess - mean) / std).expand(k, *space.shape)
        noise = torch.randn(budget.restarts, *guess.shape, generator=generator).to(guess)
        noise[0] = 0.0
        numbers = (guess + noise).flatten(0, 1).clone().requires_grad_()
        low, high = ((x.to(mean) - mean) / std for x in (space.low, space.high))
        adam = torch.optim.Adam([numbers], lr=_RATE)
        for step in range(budget.iterations):
            if not clock.goes_on():
                break
            adam.param_groups[0]["lr"] = _RATE * math.cos(0.5 * math.pi * step / budget.iterations)
            (numbers.grad,) = torch.autograd.grad(self._objective(mean + std * numbers).sum(), numbers)
            adam.step()
            with torch.no_grad():
                numbers.copy_(torch.maximum(torch.minimum(numbers, high), low))
            clock.step()
        with torch.no_grad():
            records = mean + std * numbers
            chosen = self._objective(records).nan_to_num(torch.inf).view(-1, k).argmin(0)
            found: Tensor = records.view(-1, *guess.shape)[chosen, torch.arange(k, device=chosen.device)]
        return found

    def _objective(self, records: Tensor) -> Tensor:
        """How far the features of records `(n, *shape)` are from the right ones, and how rough they are, `(n,)`."""
        own = self.features.repeat(len(records) // len(self.features), 1)
        size = own.square().sum(1).clamp_min(torch.finfo(own.dtype).tiny)
        far = (linear_inputs(self.granted, self.path, records) - own).square().sum(1) / size
        if self.granted.space.kind != "picture":
            return far
        return far + SMOOTHNESS * total_variation(records[:, None], self.granted)
