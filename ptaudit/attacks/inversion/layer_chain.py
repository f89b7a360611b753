"""Models that are a chain: each layer is given what the one before it gave, from the record to the class scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.attacks.inversion.linear_layers import typical
from ptaudit.attacks.inversion.messages import Granted
from ptaudit.model_input import call

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose output is linear in what they are given, and their gradient too."""

_EDGE = 1e-12
"""How near to its bounds what an activation gave is taken."""

_ROUNDING = 1e-6
"""What ReLU gave below this, relative to the largest, is 0 but for rounding."""

_INVERSES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.ReLU: lambda _, y: torch.where(y > _ROUNDING * y.abs().max(), y, torch.nan),
    nn.LeakyReLU: lambda layer, y: torch.where(y > 0.0, y, y / layer.negative_slope),
    nn.ELU: lambda layer, y: torch.where(y > 0.0, y, (y / layer.alpha).clamp_min(-1.0 + _EDGE).log1p()),
    nn.Sigmoid: lambda _, y: y.clamp(_EDGE, 1.0 - _EDGE).logit(),
    nn.Tanh: lambda _, y: y.clamp(-1.0 + _EDGE, 1.0 - _EDGE).atanh(),
    nn.Softplus: lambda layer, y: (layer.beta * y).clamp_min(_EDGE).expm1().log() / layer.beta,
}
"""What an activation was given, from what it gave; NaN where that does not tell."""

_PASSING = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout)
"""Layers that hand on the same numbers when nothing is trained."""


@dataclass(frozen=True)
class Link:
    """One layer of a chain.

    Attributes:
        path: of the module.
        module: itself.
        given: shape of what it is given for one record.
        gives: shape of what it gives.
    """

    path: str
    module: nn.Module
    given: torch.Size
    gives: torch.Size

    @property
    def linear(self) -> bool:
        """Whether it has a weight."""
        return isinstance(self.module, LINEAR)

    @property
    def weight(self) -> Tensor:
        """Of a layer that has one, float64 on the CPU."""
        assert isinstance(self.module, LINEAR)
        return self.module.weight.detach().double().cpu()

    @property
    def bias(self) -> Tensor | None:
        """Likewise; None where it has none."""
        assert isinstance(self.module, LINEAR)
        return None if self.module.bias is None else self.module.bias.detach().double().cpu()

    def parameter(self, name: str) -> str:
        """Path of its weight or bias."""
        return f"{self.path}.{name}".lstrip(".")

    def undone(self, output: Tensor) -> Tensor:
        """What a layer without a weight was given `(*given)`, from its output `(*gives)`; NaN where nothing says."""
        inverse = _INVERSES.get(type(self.module))
        return (output if inverse is None else inverse(self.module, output)).view(self.given)

    def slope(self, given: Tensor, slope: Tensor) -> Tensor:
        """Slope by what a layer without a weight was given `(*given)`, from that by its output.

        Where what it was given is not known (NaN) it stood in the flat part of ReLU.
        """
        at = given.nan_to_num(-1.0)[None].requires_grad_()
        found: Tensor = torch.autograd.grad(self.module(at), at, slope.view(1, *self.gives))[0]
        return found[0]


def chain_of(granted: Granted) -> list[Link] | str:
    """The layers of a model that is a chain, in their order; else why it is none."""
    x = typical(granted.space, 2, granted.device)
    calls: list[tuple[str, nn.Module, Tensor]] = []
    leaves = [(path, module) for path, module in granted.model.named_modules() if not list(module.children())]
    hooks = [
        module.register_forward_pre_hook(lambda module, args, path=path: calls.append((path, module, args[0].clone())))
        for path, module in leaves
    ]
    try:
        with torch.no_grad():
            scores = call(granted.model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return _links(calls, x, scores)


def _links(calls: list[tuple[str, nn.Module, Tensor]], x: Tensor, scores: Tensor) -> list[Link] | str:
    """The chain that calls (path, module, what it was given) are, if nothing else happens from `x` to the scores."""
    for path, module, _ in calls:
        if not isinstance(module, (*LINEAR, *_INVERSES, *_PASSING)):
            return f"{path} ({type(module).__name__}) cannot be undone"
        if sum(one is module for _, one, _ in calls) > 1:
            return f"{path} is called several times"
    links, before = [], x
    for path, module, given in calls:
        if not torch.equal(given.flatten(), before.flatten()):
            return f"what {path} is given is not what the layer before it gives"
        with torch.no_grad():
            before = module(given.clone())
        links.append(Link(path, module, given.shape[1:], before.shape[1:]))
    if not links or not torch.equal(before, scores):
        return "the class scores are not what the last layer gives"
    return links
