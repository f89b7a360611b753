"""Where the training is replayed."""

from __future__ import annotations

import torch

from ptaudit.errors import PtauditError

_REMEDY = "use one of auto, cpu, cuda, cuda:0"


def pick_device(name: str) -> torch.device:
    """The device a name stands for.

    Args:
        name: `auto` (a CUDA device if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        PtauditError: the name is unknown, or CUDA is asked for and absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not number.isdecimal()):
        raise PtauditError(f"unknown device {name!r}", where="--device", remedy=_REMEDY)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise PtauditError(
            f"{name} was asked for, but PyTorch sees no CUDA device here", where="--device", remedy="use --device cpu"
        )
    index = int(number or 0)
    if index >= count:
        raise PtauditError(
            f"{name} was asked for, but the CUDA devices here are 0..{count - 1}", where="--device", remedy=_REMEDY
        )
    return torch.device("cuda", index)
