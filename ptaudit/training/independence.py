"""The proof that the loss of a record is its own: the same alone as in any batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ptaudit.errors import ModelError, PtauditError, in_one_line
from ptaudit.model_input import as_real

_BATCH = 64
"""Records of the batch that single ones are held against; those at hand, over and over."""

_NUMBERS = 1 << 22
"""Most numbers of its outputs."""

_TOLERANCE = 1e-3
"""Relative difference that rounding explains."""

_OF_ITS_OWN = (
    "a loss that compares records, or weighs or centres them by their batch, gives none a gradient of its own: audit "
    "with a loss that looks at one record at a time"
)


def check_independence(loss: Callable[[Any, Tensor], Tensor], output: Any, targets: Tensor) -> None:
    """Show on the outputs of a few records that neither a loss nor its gradient depends on the rest of the batch.

    Args:
        loss: (output, target) -> losses (n,).
        output: what the model returned for n records: a tensor, or a structure of tensors.
        targets: (n, ...).

    Raises:
        ModelError: it depends on its batch, is random, or cannot be taken of one record.
    """
    n = len(targets)
    numbers = sum(x.numel() // n for x in pytree.tree_leaves(output) if _counts(x, n))
    many = torch.arange(max(n, min(_BATCH, _NUMBERS // max(1, numbers))), device=targets.device) % n
    with torch.random.fork_rng([targets.device] if targets.device.type == "cuda" else []), torch.enable_grad():
        batch, again = (_of(loss, output, targets, many) for _ in range(2))
        alone = [_alone(loss, output, targets, i) for i in range(n)]
    if not all(_same(*pair) for pair in zip(batch, again)):
        raise ModelError(
            "two calls of the loss with the same outputs and targets differ: it is random, or keeps a state",
            where="train.loss",
            remedy="make it a function of output and target alone",
        )
    losses, slopes = (torch.cat(parts)[many] for parts in zip(*alone))
    if not _same(batch[0], losses):
        raise _dependent(batch[0], losses)
    if not _same(batch[1], slopes):
        what = "the gradient of a record's loss depends on the other records of its batch"
        raise ModelError(what, where="train.loss", remedy=_OF_ITS_OWN)


def _of(loss: Callable[[Any, Tensor], Tensor], output: Any, targets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (m,) of some records as one batch, and their gradients with respect to the outputs, (m, numbers).

    The sum that is differentiated weighs its records, so that what they do to each other does not cancel.
    """
    n, m = len(targets), len(index)

    def chosen(x: Any) -> Any:
        if not _counts(x, n):
            return x
        part = x.detach()[index]
        return part.requires_grad_() if part.is_floating_point() or part.is_complex() else part

    some = pytree.tree_map(chosen, output)
    losses = loss(some, targets[index])
    leaves = [x for x in pytree.tree_leaves(some) if isinstance(x, Tensor) and x.is_leaf and x.requires_grad]
    weight = torch.linspace(1, 2, m, device=losses.device, dtype=losses.dtype)
    found = torch.autograd.grad(losses @ weight, leaves, allow_unused=True) if leaves and losses.requires_grad else []
    slopes = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found)]
    rows = [as_real(g) for g in slopes if len(g) == m]
    flat = [g.reshape(m, -1) / weight[:, None] for g in rows] or [losses.new_zeros(m, 1)]
    return losses.detach(), torch.cat(flat, 1).detach()


def _alone(loss: Callable[[Any, Tensor], Tensor], output: Any, targets: Tensor, i: int) -> tuple[Tensor, Tensor]:
    try:
        return _of(loss, output, targets, torch.tensor([i], device=targets.device))
    except PtauditError:
        raise
    except Exception as error:  # whatever a loss raises that was written for batches
        what = f"the loss cannot be taken of one record alone: {in_one_line(error)}"
        raise ModelError(what, where="train.loss", remedy=_OF_ITS_OWN) from error


def _counts(x: Any, n: int) -> bool:
    """Whether it is a tensor with one entry for each record."""
    return isinstance(x, Tensor) and x.dim() > 0 and len(x) == n


def _same(one: Tensor, two: Tensor) -> bool:
    """Whether rows (m, ...) agree; what is not finite shows nothing."""
    one, two = (x.double().reshape(len(x), -1).nan_to_num(0.0, 0.0, 0.0) for x in (one, two))
    sizes = torch.maximum(one.norm(dim=1), two.norm(dim=1))
    return bool(((one - two).norm(dim=1) <= _TOLERANCE * (sizes + _TOLERANCE * sizes.amax())).all())


def _dependent(batch: Tensor, alone: Tensor) -> ModelError:
    """The error of a loss whose values depend on the batch, by the record where they differ most."""
    m, worst = len(batch), int((batch - alone).abs().argmax())
    one, among = float(alone[worst]) + 0.0, float(batch[worst]) + 0.0  # no -0
    numbers = f"one record has {one:.3g} alone and {among:.3g} in a batch of {m}"
    if _same(m * batch, alone):
        return ModelError(
            f"the loss divides by the number of records: {numbers}",
            where="train.loss",
            remedy="return the loss of every record undivided: reduction='none', and no / len(target)",
        )
    return ModelError(f"the loss depends on the batch: {numbers}", where="train.loss", remedy=_OF_ITS_OWN)
