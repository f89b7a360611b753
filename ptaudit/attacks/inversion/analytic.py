"""Records in closed form, from the gradient of a linear layer with a bias that is given the record itself.

Row i of the gradient is the sum over records of (slope of unit i) times (record), the bias has the sum of the slopes.
One record: every row over its bias entry is the record (Phong et al., arXiv 1704.05003; Geiping et al., arXiv
2003.14053, proposition 3.1). Several: behind ReLU a unit may be active for one record alone, and its row over its bias
is that record (Fowl et al., arXiv 2110.13057; Boenisch et al., arXiv 2112.02918, section 4). Which rows are of one
record is found out and proved: rows that agree are candidates, and of a candidate the slopes are computed again, with
every label it may have; those of its own rows must be the bias entries. A record that is proved is taken off the sum,
which leaves more rows to single records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.linear_layers import input_layer, slopes_of
from ptaudit.attacks.inversion.matching import squared
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.simulation import Simulation
from ptaudit.progress import Progress

_SILENT = 1e-5
"""Bias entries below this share of the largest are those of units that no record is left to."""

_ALIKE = 1e-3
"""Distance of candidates that are one record, relative to their size."""

_PROVED = 1e-3
"""Relative gap between the slopes of a candidate and the bias entries that proves it, where several rows agree."""

_PROVED_ALONE = 1e-4
"""The same where it is one row's word."""

_MOST_ROWS = 1024
"""Rows that are looked at, those of the largest bias entries."""

_CLEAR = 2.0
"""Standard deviations by which the squares of bias entries stand out of noise before they are believed."""

_AT_ONCE = 64
"""Candidates that are computed again together, the ones that most rows agree on first."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why there is no closed form."""
    path = input_layer(granted)
    if path is None:
        return "no linear layer is given the record itself"
    if not all(name in seen.gradients for name in _names(path)):
        return f"weight and bias of the layer that is given the record ({path or 'the model'}) are not both shared"
    if seen.batch_size == 1:
        return ""
    if seen.update is not None and seen.update.local_steps > 1:
        return "of several records it rebuilds from gradients, not from updates of several steps"
    if seen.rounds > 1 and not seen.fixed_batch:
        return "of several records it rebuilds where all rounds show the same ones"
    if granted.clip is not None or seen.noise_std != 0.0 or granted.defense.acts_on == "pass":
        return "several records are taken apart by proofs, which clipping, noise or chance in the pass upset"
    if granted.labels is None and granted.space.classes is None:
        return "the targets are numbers, which have to be known"
    return ""


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    began, path = time.monotonic(), input_layer(granted)
    assert path is not None
    layer, m = _Layer(granted, path), seen.batch_size
    noise = (seen.noise_std or 0.0) / seen.rounds**0.5
    weight, bias = (seen.gradients[name].double().mean(1) for name in _names(path))
    records = granted.guess.expand(len(seen), m, *granted.space.shape).clone()
    labels = torch.zeros(len(seen), m, dtype=torch.long, device=granted.device)
    labels = labels if granted.labels is None else granted.labels.clone()
    unsolved = torch.ones(len(seen), m, dtype=torch.bool)
    ran_out = False
    with progress.task("rebuilding in closed form", len(seen)) as task:
        for target in range(len(seen)):
            ran_out = time.monotonic() - began > budget.seconds
            if ran_out:
                break
            pool = None if granted.labels is None else list(granted.labels[target])
            sums = _Sums(weight[target], bias[target])
            found = list(_one(sums, layer, pool, noise) if m == 1 else _several(sums, layer, pool, m))
            for place, (record, label) in enumerate(found):
                records[target, place], labels[target, place] = record.to(records).view(granted.space.shape), label
            unsolved[target, : len(found)] = False
            task.advance()
    return Reconstruction(
        records, labels, _objective(seen, granted, records, labels), 0, time.monotonic() - began, ran_out, unsolved,
        "no record of any batch is proved by rows that are its own",
    )  # fmt: skip


@dataclass(frozen=True)
class _Sums:
    """What is left of the gradient of the layer: of its weight `(H, D)` and of its bias `(H,)`, float64."""

    weight: Tensor
    bias: Tensor

    def without(self, record: Tensor, slopes: Tensor) -> _Sums:
        """Less what one record `(D,)` of these slopes `(H,)` adds."""
        return _Sums(self.weight - slopes[:, None] * record, self.bias - slopes)

    def record(self, rows: Tensor) -> Tensor:
        """What some rows `(k,)` say of their record, by least squares, `(D,)`; of entries that are 0 nothing is known.

        Only where the record is 0 itself, or where somebody pruned.
        """
        weight, bias = self.weight[rows], self.bias[rows, None]
        known = (weight != 0.0).to(weight)
        return (bias * weight).sum(0) / (bias.square() * known).sum(0).clamp_min(torch.finfo(weight.dtype).tiny)


@dataclass(frozen=True)
class _Layer:
    """The layer as a function of records."""

    granted: Granted
    path: str

    def slopes(self, records: Tensor, labels: Tensor) -> Tensor:
        """Slopes of the loss of records `(n, D)` with labels `(n, ...)` by what the layer gives, `(n, H)` float64."""
        inputs = records.to(next(self.granted.model.parameters())).view(-1, *self.granted.space.shape)
        return slopes_of(self.granted, self.path, inputs, labels).double()

    def within(self, records: Tensor) -> Tensor:
        """Which records `(n, D)` can be inputs, `(n,)`."""
        space = self.granted.space
        low, high = (bound.to(records).expand(space.shape).flatten() for bound in (space.low, space.high))
        slack = 1e-3 * space.std.to(records).expand(space.shape).flatten()
        return ((records >= low - slack) & (records <= high + slack)).all(1)

    def likely(self, sums: _Sums, record: Tensor, noise: float) -> Tensor:
        """The mean of the posterior of a record `(D,)`, where entries carry noise of this standard deviation.

        Of a Gaussian prior with the mean and the spread of inputs. Without noise the record itself.
        """
        if noise == 0.0:
            return record
        space, guess = self.granted.space, self.granted.guess.flatten().to(record)
        spread, low, high = (x.to(record).expand(space.shape).flatten() for x in (space.std, space.low, space.high))
        total = float(sums.bias.square().sum())
        # Noise adds to the squares of the bias entries, by which the sum of rows was divided.
        units = len(sums.bias)
        slope = total - units * noise**2
        if slope <= _CLEAR * noise**2 * (2.0 * units) ** 0.5:
            return guess
        trust = spread.square() / (spread.square() + noise**2 / slope)
        return (guess + trust * (record * total / slope - guess)).clamp(low, high)

    def every_label(self, pool: list[Tensor] | None) -> Tensor:
        """Labels that a record may have, `(L, ...)`."""
        if pool is not None:
            return torch.stack(pool)
        return torch.arange(self.granted.space.classes or 1, device=self.granted.device)


def _one(sums: _Sums, layer: _Layer, pool: list[Tensor] | None, noise: float) -> Iterator[tuple[Tensor, Tensor]]:
    """The record of a batch of one; none where no unit has a slope."""
    active = torch.nonzero(sums.bias != 0.0).flatten()
    if not len(active):
        return
    record, labels = layer.likely(sums, sums.record(active), noise), layer.every_label(pool)
    if layer.granted.space.classes is None:
        yield record, labels[0]
        return
    slopes = layer.slopes(record.expand(len(labels), -1), labels)
    yield record, labels[torch.cosine_similarity(slopes, sums.bias[None], dim=1).argmax()]


def _several(sums: _Sums, layer: _Layer, pool: list[Tensor] | None, m: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Records that are proved, one after the other, at most m."""
    least = _SILENT * float(sums.bias.abs().max())
    for _ in range(m):
        active = sums.bias.abs().argsort(descending=True)[:_MOST_ROWS]
        active = active[sums.bias[active].abs() > least]
        found = _proved(sums, active, layer, pool, m) if len(active) else None
        if found is None:
            return
        record, label, slopes = found
        if pool is not None:
            pool = _without(pool, label)
        sums = sums.without(record, slopes)
        yield record, label


def _proved(
    sums: _Sums, active: Tensor, layer: _Layer, pool: list[Tensor] | None, m: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """A record, its label and what it adds to the bias `(H,)`: of candidates that are proved the clearest one."""
    groups = _alike(sums.weight[active] / sums.bias[active, None])
    groups = sorted(groups, key=len, reverse=True)
    candidates = torch.stack([sums.record(active[group]) for group in groups])
    kept = torch.nonzero(layer.within(candidates)).flatten()[:_AT_ONCE]
    labels = layer.every_label(pool)
    if not len(kept) or not len(labels):
        return None
    each = candidates[kept].repeat_interleave(len(labels), 0)
    slopes = layer.slopes(each, labels.repeat(len(kept), *[1] * (labels.dim() - 1))) / m
    slopes = slopes.view(len(kept), len(labels), -1)
    best: tuple[float, Tensor, Tensor, Tensor] | None = None
    for candidate, own in zip(kept.tolist(), slopes):
        rows = active[groups[candidate]]
        size = float(sums.bias[rows].norm())
        gaps = (own[:, rows] - sums.bias[rows]).norm(dim=1) / size
        label = int(gaps.argmin())
        proved = float(gaps[label]) < (_PROVED if len(rows) > 1 else _PROVED_ALONE)
        # The longest rows have least of the rounding.
        if proved and (best is None or size > best[0]):
            best = size, candidates[candidate], labels[label], own[label]
    return None if best is None else best[1:]


def _alike(rows: Tensor) -> list[Tensor]:
    """Places of rows `(k, D)` that are the same but for rounding: groups, of which every row is in one."""
    near = torch.cdist(rows, rows) <= _ALIKE * rows.norm(dim=1).clamp_min(1e-12)
    left, groups = torch.ones(len(rows), dtype=torch.bool, device=rows.device), []
    for place in near.sum(1).argsort(descending=True).tolist():
        if left[place]:
            group = torch.nonzero(near[place] & left).flatten()
            left[group] = False
            groups.append(group)
    return groups


def _without(pool: list[Tensor], label: Tensor) -> list[Tensor]:
    """The labels less one that is equal."""
    place = next(i for i, one in enumerate(pool) if torch.equal(one, label))
    return pool[:place] + pool[place + 1 :]


def _objective(seen: SharedGradients, granted: Granted, records: Tensor, labels: Tensor) -> Tensor:
    """How far the gradient of all records is from what is seen; NaN where labels are numbers that nobody knows."""
    if granted.labels is None and granted.space.classes is None:
        return torch.full((len(seen),), torch.nan, dtype=torch.float64)
    simulation = Simulation(seen, granted)
    shown = torch.cat([simulation(x[None], y[None]).detach() for x, y in zip(records, labels)])
    return squared(shown, simulation.seen(seen)).double().cpu()


def _names(path: str) -> list[str]:
    return [f"{path}.{name}".lstrip(".") for name in ("weight", "bias")]
