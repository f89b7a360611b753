"""Records in closed form, from the gradient of a linear layer with a bias that is given the record itself.

One record: every row of the gradient over its bias entry is the record (Phong et al., arXiv 1704.05003; Geiping et al.,
arXiv 2003.14053, proposition 3.1). Several are taken apart, see `separation`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.inversion.linear_layers import input_layer, slopes_of
from ptaudit.attacks.inversion.matching import Clock, squared
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.separation import LinearLayer, Sums, several
from ptaudit.attacks.inversion.simulation import Simulation
from ptaudit.progress import Progress

_CLEAR = 2.0
"""Standard deviations by which the squares of bias entries stand out of noise before they are believed."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why there is no closed form."""
    path = input_layer(granted)
    return "no linear layer is given the record itself" if path is None else _layer(granted, path).why_not(seen)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    path, m = input_layer(granted), seen.batch_size
    assert path is not None
    layer, noise = _layer(granted, path), (seen.noise_std or 0.0) / seen.rounds**0.5
    records = granted.guess.expand(len(seen), m, *granted.space.shape).clone()
    labels = torch.zeros(len(seen), m, dtype=torch.long, device=granted.device)
    labels = labels if granted.labels is None else granted.labels.clone()
    unsolved = torch.ones(len(seen), m, dtype=torch.bool)
    with Clock(budget, progress, "rebuilding in closed form", len(seen)) as clock:
        for target in range(len(seen)):
            if not clock.goes_on():
                break
            sums, pool = layer.sums(seen, target), layer.pool(target)
            if m == 1:
                one = layer.alone(sums, pool)
                found = [] if one is None else [(_likely(granted, sums, one[0], noise), one[1])]
            else:
                found = list(several(sums, layer, pool, m))
            for place, (record, label) in enumerate(found):
                records[target, place], labels[target, place] = record.to(records).view(granted.space.shape), label
            unsolved[target, : len(found)] = False
            clock.step()
    return Reconstruction(
        records, labels, objective(seen, granted, records, labels), 0, clock.seconds, clock.ran_out, unsolved,
        "no record of any batch is proved by rows that are its own",
    )  # fmt: skip


def objective(seen: SharedGradients, granted: Granted, records: Tensor, labels: Tensor) -> Tensor:
    """How far the gradient of all records is from what is seen, `(B,)`; NaN of targets that are unknown numbers."""
    if granted.labels is None and granted.space.classes is None:
        return torch.full((len(seen),), torch.nan, dtype=torch.float64)
    simulation = Simulation(seen, granted)
    shown = torch.cat([simulation(x[None], y[None]).detach() for x, y in zip(records, labels)])
    return squared(shown, simulation.seen(seen)).double().cpu()


def _layer(granted: Granted, path: str) -> LinearLayer:
    """The layer that is given the record itself."""
    space = granted.space

    def slopes(vectors: Tensor, labels: Tensor) -> Tensor:
        inputs = vectors.to(next(granted.model.parameters())).view(-1, *space.shape)
        return slopes_of(granted, path, inputs, labels).double()

    def within(vectors: Tensor) -> Tensor:
        low, high = (bound.to(vectors).expand(space.shape).flatten() for bound in (space.low, space.high))
        slack = 1e-3 * space.std.to(vectors).expand(space.shape).flatten()
        return ((vectors >= low - slack) & (vectors <= high + slack)).all(1)

    return LinearLayer(path, granted, slopes, within)


def _likely(granted: Granted, sums: Sums, record: Tensor, noise: float) -> Tensor:
    """The mean of the posterior of a record `(D,)`, where entries carry noise of this standard deviation.

    Of a Gaussian prior with the mean and the spread of inputs. Without noise the record itself.
    """
    if noise == 0.0:
        return record
    space, guess = granted.space, granted.guess.flatten().to(record)
    spread, low, high = (x.to(record).expand(space.shape).flatten() for x in (space.std, space.low, space.high))
    total = float(sums.bias.square().sum())
    # Noise adds to the squares of the bias entries, by which the sum of rows was divided.
    units = len(sums.bias)
    slope = total - units * noise**2
    if slope <= _CLEAR * noise**2 * (2.0 * units) ** 0.5:
        return guess
    trust = spread.square() / (spread.square() + noise**2 / slope)
    return (guess + trust * (record * total / slope - guess)).clamp(low, high)
