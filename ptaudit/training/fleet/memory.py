"""Memory that reference models take as one program, and that there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ptaudit.archives import installed_memory
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.stack import Stack

_SLOTS = {"adam": 2, "adamw": 2}
"""Numbers that an optimizer remembers of every weight."""
_SIGNS = ("not enough memory", "can't allocate memory", "out of memory")
_GROUP = Path("/sys/fs/cgroup")


def model_bytes(context: FleetContext) -> int:
    """Peak memory per model of a training step of models as one program, estimated from two of them.

    Weights, their gradients and what the optimizer remembers; what the forward pass keeps for the backward pass; and
    twice the largest of that, for what the backward pass makes on its way.
    """
    module = context.build(context.training_seed(0))
    stack = Stack(context, (0, 2), [module, module])
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = sum(weight.nbytes for weight in stack.weights.values())
    inputs, targets = context.batch(stack.first_batch)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        stack.backward(inputs, targets)
    spec = context.train.optimizer
    slots = _SLOTS.get(spec.name, int(spec.momentum > 0))
    return int((2 + slots) * weights + sum(kept.values()) + 2 * max(kept.values(), default=0)) // 2


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device, or that this process may still take in this machine or container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = installed_memory() // 2
    with suppress(OSError, KeyError, ValueError):  # no Linux
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free


def lacks_memory(error: Exception) -> bool:
    """Whether it says that memory has run out, of a device or of this machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SIGNS)
