"""Where in a model its inputs and outputs are those of a linear layer, whose gradient then speaks of them plainly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ptaudit.attacks.inversion.messages import Granted, InputSpace
from ptaudit.gradients.record_losses import per_record
from ptaudit.model_input import call

_TRIED = 2


def typical(space: InputSpace, n: int, device: torch.device) -> Tensor:
    """Records of no one, `(n, *shape)`: noise of the mean and spread that inputs have; of text, random token ids."""
    dice = torch.Generator().manual_seed(0)
    if space.vocabulary is not None:
        return torch.randint(space.vocabulary, (n, *space.shape), generator=dice).to(device)
    noise = torch.randn(n, *space.shape, generator=dice).to(device)
    return (space.mean.to(device) + space.std.to(device) * noise).clamp(space.low.to(device), space.high.to(device))


def input_layer(granted: Granted) -> str | None:
    """Path of the linear layer that is given the numbers of a record as they are, in their order; None without one."""
    return _first(granted, lambda x, given, output, last: given.shape[0] == len(x) and torch.equal(given, x.flatten(1)))


def feature_layer(granted: Granted) -> str | None:
    """Path of the first linear layer with a bias that is given one vector of each record; None without one."""
    path = _first(granted, lambda x, given, output, last: given.dim() == 2 and len(given) == len(x))
    return None if path is None or granted.model.get_submodule(path).bias is None else path


def output_layer(granted: Granted) -> str | None:
    """Path of the linear layer that gives the class scores of the model; None without one."""
    return _first(granted, lambda x, given, output, last: output.shape == last.shape and torch.equal(output, last))


def linear_inputs(granted: Granted, path: str, inputs: Tensor) -> Tensor:
    """What a linear layer is given for some inputs, `(n, ...)`; to be differentiated, where gradients are on."""
    found: list[Tensor] = []
    hook = granted.model.get_submodule(path).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        call(granted.model, granted.space.inputs(inputs))
    finally:
        hook.remove()
    return found[0]


def _first(granted: Granted, fits: Callable[[Tensor, Tensor, Tensor, Tensor], bool]) -> str | None:
    """The first linear layer that is called once and fits (inputs, what it is given, what it gives, class scores)."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    layers = {path: module for path, module in granted.model.named_modules() if isinstance(module, nn.Linear)}
    hooks = [
        module.register_forward_hook(
            lambda _, args, output, path=path: calls.setdefault(path, []).append((args[0], output))
        )
        for path, module in layers.items()
    ]
    x = typical(granted.space, _TRIED, granted.device)
    try:
        with torch.no_grad():
            last = call(granted.model, granted.space.inputs(x))
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(last, Tensor):
        return None
    return next((path for path, one in calls.items() if len(one) == 1 and fits(x, *one[0], last)), None)


def slopes_of(granted: Granted, path: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each record's loss by what a layer gives for it, `(n, ...)`."""
    found: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        found.append(output)
        return output.clone()  # what comes next may write into it

    hook = granted.model.get_submodule(path).register_forward_hook(keep)
    try:
        losses = per_record(granted.loss, granted.model(inputs), targets)
    finally:
        hook.remove()
    slopes: Tensor = torch.autograd.grad(losses.sum(), found)[0]
    return slopes
