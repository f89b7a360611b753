"""Parameters that are not trained: they have no gradient, and nothing is found out about them."""

from __future__ import annotations

from torch import nn

from ptaudit.report.columns import FrozenEntry


def frozen_entries(model: nn.Module) -> tuple[FrozenEntry, ...]:
    """What of a model is not trained, in its order: layers by their path, single parameters by theirs."""
    found: dict[str, int] = {}
    counted: set[int] = set()
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        alone = any(parameter.requires_grad for parameter in own.values())
        for name, parameter in own.items():
            if parameter.requires_grad or id(parameter) in counted:
                continue
            counted.add(id(parameter))
            place = path if path and not alone else f"{path}.{name}".lstrip(".")
            found[place] = found.get(place, 0) + parameter.numel()
    return tuple(FrozenEntry(name, parameters) for name, parameters in found.items())
