"""The batch that a model was called with: which of its arguments hold a row per record, and which records those are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ptaudit.model_input import as_real

_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_CHUNK = 1 << 16
"""Numbers of a row that are hashed at a time."""

# Multipliers of SplitMix64 (Steele, Lea and Flood 2014) as signed 64-bit integers.
_STEP, _MIX = 0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64)


class CallArguments:
    """The arguments of one call of a model.

    The records are counted by dimension 0 of the first tensor; all tensors of that length hold a row per record. The
    other arguments (masks for all, flags, lengths) belong to the call.

    Args:
        args: positional arguments, containers of tensors among them.
        kwargs: arguments by name.
    """

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._leaves, self._structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
        sizes = [len(leaf) for leaf in self._leaves if _has_rows(leaf)]
        self._n = sizes[0] if sizes else 0
        self._places = [i for i, leaf in enumerate(self._leaves) if _has_rows(leaf) and len(leaf) == self._n]

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """The tensors with a row per record, each (n, ...)."""
        return tuple(self._leaves[place].detach() for place in self._places)

    def call(self, function: Any, rows: Sequence[Tensor]) -> Any:
        """Calls a function with other rows in the place of these."""
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, rows, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self._structure)
        return function(*args, **kwargs)

    def tolist(self) -> list[int]:
        """A number for each record that depends on nothing but the content of its rows."""
        return fingerprints(self.rows)


@torch.no_grad()
def fingerprints(rows: Sequence[Tensor]) -> list[int]:
    """A 64-bit number for each of n records: equal for equal content, different for different content.

    Multilinear hashing modulo 2^64 of the bits, on the device where they are. By chance two records among some hundreds
    share a number with a probability below 1e-6; it is no defence against a forger.

    Args:
        rows: tensors (n, ...) of any type.
    """
    total = torch.zeros(len(rows[0]), dtype=torch.int64, device=rows[0].device)
    place = 0
    for tensor in rows:
        plain = as_real(tensor)
        flat = plain.reshape(len(plain), -1).contiguous()
        bits = flat.view(_SAME_SIZE[flat.element_size()]).to(total.device)
        for part in torch.split(bits, _CHUNK, dim=1):
            weights = torch.arange(place + 1, place + 1 + part.shape[1], device=total.device) * _STEP
            weights = (weights ^ (weights >> 29)) * _MIX | 1
            total += (part.long() * weights).sum(1)
            place += part.shape[1]
    found: list[int] = total.tolist()
    return found


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.layout == torch.strided and not leaf.is_nested
