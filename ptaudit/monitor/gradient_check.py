"""How each layer of a user's model is to be read, checked without the user's loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ptaudit.errors import ModelError
from ptaudit.gradients.layers import ROOT, UNUSED, LayerInfo
from ptaudit.monitor.call_arguments import CallArguments
from ptaudit.sketches.reader import TokenReader

_DIM = 16
_INNER = "model"


def check_layers(model: nn.Module, batch: CallArguments, seed: int = 0) -> tuple[LayerInfo, ...]:
    """Holds every layer's tokens against one-record autograd, on the records of one batch, in evaluation mode.

    Where a layer finds its records does not depend on the loss, so any loss with a term per record will do: here a
    fixed weighted sum of the outputs. The model is left as found, and so is the random state.

    Args:
        model: the user's model.
        batch: what it was called with; at least 2 records.
        seed: of the sketches.

    Returns:
        All trainable layers under the names that they have in the user's model.

    Raises:
        ModelError: the model cannot be run on a part of these records, or its output has no row per record.
    """
    device = next(model.parameters()).device
    with torch.autocast(device.type, enabled=False), torch.enable_grad():
        reader = TokenReader(_Bound(model, batch), _weighted_sum, _DIM, seed)
        reader.prepare(batch.rows, torch.zeros(len(batch), device=device))
    return tuple(_renamed(info) for info in reader.layers)


class _Bound(nn.Module):
    """A model as a function of the tensors with a row per record; its other arguments are those of the batch."""

    def __init__(self, model: nn.Module, batch: CallArguments) -> None:
        super().__init__()
        self.add_module(_INNER, model)
        self._batch = batch

    def forward(self, *rows: Tensor) -> Any:
        """Calls the model."""
        return self._batch.call(self.get_submodule(_INNER), rows)


def _weighted_sum(output: Any, targets: Tensor) -> Tensor:
    """One number (n,) per record: its outputs, weighted (a plain sum of class probabilities has no gradient)."""
    n = len(targets)
    leaves = [x for x in pytree.tree_leaves(output) if isinstance(x, Tensor) and x.dim() > 0]
    found = [leaf.reshape(n, -1) for leaf in leaves if leaf.is_floating_point() and len(leaf) == n]
    if not found:
        raise ModelError(
            "the model's output has no row per record",
            remedy="let the model return its predictions, and compute the loss outside of it",
        )
    return torch.stack([(leaf * _weights(leaf)).sum(1).float() for leaf in found]).sum(0)


def _weights(rows: Tensor) -> Tensor:
    return (1.7 * torch.arange(1, rows.shape[1] + 1, device=rows.device)).cos().to(rows.dtype)


def _renamed(info: LayerInfo) -> LayerInfo:
    name = ROOT if info.name == _INNER else info.name.removeprefix(f"{_INNER}.")
    if info.reason == UNUSED:
        return replace(info, name=name, reason="unused in evaluation mode, where it would have to be proven")
    return replace(info, name=name)
