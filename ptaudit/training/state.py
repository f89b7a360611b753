"""The weights of a moment, kept for later."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def kept(model: nn.Module) -> dict[str, Any]:
    """A copy of the model's state dict, on the CPU."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }
