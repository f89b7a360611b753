"""One record through convolutions, layer by layer from the last to the first (R-GAP: Zhu and Blaschko, 2010.07733).

The last layer tells its own input: its gradient is the slope of the loss times that input. Then every layer before it
is undone in turn. What it gave is known, and the slope of the loss by it; what it was given solves a system of linear
equations: the layer itself (weight times input is what it gave, wherever the activation behind it can be undone) and
its gradient (slope times input, summed over places, is what is seen). Where the equations leave directions open, as
behind ReLU and strides they may, the record is completed from the mean of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from ptaudit.attacks.inversion import labels as last_layer
from ptaudit.attacks.inversion.analytic import objective
from ptaudit.attacks.inversion.layer_chain import Link, chain_of
from ptaudit.attacks.inversion.matching import Clock
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.progress import Progress
from ptaudit.spec.defenses import UNDEFENDED

_MOST_CELLS = 1 << 26
"""Numbers of the equations of one layer, 8 bytes each."""

_LOST = 1e-9
"""Directions that equations speak of more weakly than this, relative to the strongest one, are left open."""

_SIZES = 121
"""Sizes of the last layer's input that are tried where it has no bias."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why layers cannot be undone."""
    links = chain_of(granted)
    if isinstance(links, str):
        return f"the model is no chain of layers that can be undone: {links}"
    if not isinstance(links[-1].module, nn.Linear):
        return "the class scores are not those of a linear layer"
    weights = [link.parameter("weight") for link in links if link.linear]
    if missing := [path for path in weights if path not in seen.gradients]:
        return f"{', '.join(missing)}: not shared, and it needs the gradient of every layer"
    big = [link.path for link in links[:-1] if link.linear and _cells(link) > _MOST_CELLS]
    if big:
        return f"{', '.join(big)}: too large, equations of more than {_MOST_CELLS:,} numbers are not solved"
    changed = granted.defense != UNDEFENDED and granted.defense.acts_on != "labels"
    if changed or granted.clip is not None or seen.noise_std != 0.0:
        return "its equations need the gradient as it is, without noise, clipping or another defense"
    return last_layer.why_not(seen, granted)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    links = chain_of(granted)
    assert not isinstance(links, str)
    classes = last_layer.recover(seen, granted) if granted.labels is None else granted.labels
    records = granted.guess.expand(len(seen), 1, *granted.space.shape).clone()
    unsolved = torch.ones(len(seen), 1, dtype=torch.bool)
    with Clock(budget, progress, "rebuilding by r-gap", len(seen)) as clock:
        for target in range(len(seen)):
            if not clock.goes_on():
                break
            gradients = {path: g[target].double().mean(0).cpu() for path, g in seen.gradients.items()}
            record = _Backwards(gradients, granted.guess.double().cpu()).record(links, int(classes[target, 0]))
            if record.isfinite().all():
                low, high = (x.to(record) for x in (granted.space.low, granted.space.high))
                records[target, 0] = torch.maximum(torch.minimum(record, high), low).to(records)
                unsolved[target] = False
            clock.step()
    return Reconstruction(
        records, classes, objective(seen, granted, records, classes), 0, clock.seconds, clock.ran_out, unsolved,
        "the gradient of the last layer is 0, from which all others are undone",
    )  # fmt: skip


@dataclass(frozen=True)
class _Backwards:
    """From the last layer to the record.

    Attributes:
        gradients: that are seen, by path, float64.
        guess: the record without a gradient.
    """

    gradients: dict[str, Tensor]
    guess: Tensor

    def record(self, links: list[Link], label: int) -> Tensor:
        """The record; not finite where the last layer has no gradient."""
        *before, last = links
        given, slope = self._last(last, label)
        if not given.isfinite().all():
            return torch.full_like(self.guess, torch.nan)
        for link in reversed(before):
            given, slope = given.view(link.gives), slope.view(link.gives)
            if link.linear:
                open_ends = self.guess if link is links[0] else torch.zeros(link.given, dtype=torch.float64)
                given = self._undone(link, given, slope, open_ends.view(link.given))
                slope = _slope(link, given, slope)
            else:
                given = link.undone(given)
                slope = link.slope(given, slope)
        return given.view(self.guess.shape)

    def _last(self, link: Link, label: int) -> tuple[Tensor, Tensor]:
        """What the last layer was given `(D,)`, and the slope of the loss by it."""
        weight, bias = self.gradients[link.parameter("weight")], self.gradients.get(link.parameter("bias"))
        if bias is not None:
            return bias @ weight / bias.square().sum(), link.weight.T @ bias
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        given = right[0] * _size(link.weight @ right[0], values[0] * left[:, 0], label, link.bias)
        return given, link.weight.T @ (weight @ given / given.square().sum())

    def _undone(self, link: Link, output: Tensor, slope: Tensor, open_ends: Tensor) -> Tensor:
        """What a layer was given `(*given)`; directions of which nothing is known are those of `open_ends`."""
        weight = self.gradients[link.parameter("weight")]
        if isinstance(link.module, nn.Linear) and slope.dim() == 1:
            # One outer product, of the slope and the input.
            return slope @ weight / slope.square().sum()
        known = output.isfinite().flatten()
        offset = _forward(link, torch.zeros(link.given, dtype=torch.float64))
        told = (output - offset).flatten()[known], weight.flatten()
        equations = _equations(link, slope)
        sides = equations[:, : len(known)][:, known], equations[:, len(known) :]
        sizes = [max(float(side.norm()), torch.finfo(side.dtype).tiny) for side in sides]
        matrix = torch.cat([side.T / size for side, size in zip(sides, sizes)])
        right = torch.cat([one / size for one, size in zip(told, sizes)]) - matrix @ open_ends.flatten()
        solved = torch.linalg.lstsq(matrix, right[:, None], rcond=_LOST, driver="gelsy").solution
        found: Tensor = open_ends + solved.view(link.given)
        return found


def _cells(link: Link) -> int:
    """Numbers of the equations of a convolution; a linear layer needs none."""
    if isinstance(link.module, nn.Linear) and len(link.given) == 1:
        return 0
    return prod(link.given) * (prod(link.gives) + link.weight.numel())


def _forward(link: Link, given: Tensor) -> Tensor:
    """What a layer gives for one record, float64."""
    parameters = {"weight": link.weight} | ({} if link.bias is None else {"bias": link.bias})
    found: Tensor = functional_call(link.module, parameters, (given[None],))[0]
    return found


def _equations(link: Link, slope: Tensor) -> Tensor:
    """What each number of the input adds to the output and to the gradient of the weight, `(D, outputs + weights)`."""
    zeros = {} if link.bias is None else {"bias": torch.zeros_like(link.bias)}

    def both(given: Tensor) -> Tensor:
        def layer(weight: Tensor) -> Tensor:
            output: Tensor = functional_call(link.module, {"weight": weight, **zeros}, (given[None],))[0]
            return output

        output, back, *_ = vjp(layer, link.weight)
        return torch.cat([output.flatten(), back(slope)[0].flatten()])

    units = torch.eye(prod(link.given), dtype=torch.float64).view(-1, *link.given)
    found: Tensor = vmap(both, chunk_size=256)(units)
    return found


def _slope(link: Link, given: Tensor, slope: Tensor) -> Tensor:
    """Slope of the loss by what a layer was given, from that by what it gave."""
    _, back, *_ = vjp(lambda x: _forward(link, x), given)
    found: Tensor = back(slope)[0]
    return found


def _size(scores: Tensor, outer: Tensor, label: int, bias: Tensor | None) -> float:
    """Of an input of these scores the factor c for which the slope of c times the input, times c, is `outer`.

    The slope is that of cross-entropy: the probabilities less the label.
    """
    offset = torch.zeros_like(scores) if bias is None else bias.detach().double().cpu()
    told = nn.functional.one_hot(torch.tensor(label), len(scores))

    def gap(c: float) -> float:
        return float((c * ((c * scores + offset).softmax(0) - told) - outer).norm())

    tried: list[float] = [sign * 10.0**power for sign in (1.0, -1.0) for power in np.linspace(-6.0, 6.0, _SIZES)]
    near = min(tried, key=gap)
    found = minimize_scalar(lambda c: gap(c * near), bounds=(0.5, 2.0), method="bounded", options={"xatol": 1e-14})
    return near * float(found.x)
