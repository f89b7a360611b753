"""Losses of single records, and the proof that model, data and loss fit together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.errors import DataError, ModelError, PtauditError
from ptaudit.replay.batch import leaves, to_device
from ptaudit.replay.data.tensors import IGNORED
from ptaudit.replay.forward import trial_forward
from ptaudit.spec.entry import parse_entry

if TYPE_CHECKING:
    from ptaudit.replay.data.records import Records

PerRecordLoss = Callable[[Tensor, Tensor], Tensor]
"""(output (n, ...), target (n, ...)) -> losses (n,). Nothing is averaged over records."""

_TRIAL_RECORDS = 4


def cross_entropy(output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of class scores (n, C) with classes (n,), or of (n, C, T) with (n, T), averaged over positions.

    Positions with the target -100 do not count.
    """
    losses = F.cross_entropy(output, target, reduction="none", label_smoothing=label_smoothing)
    if losses.dim() == 1:
        return losses
    return losses.flatten(1).sum(1) / (target != IGNORED).flatten(1).sum(1).clamp(min=1)


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits (n,), (n, 1) or, for several labels, (n, C), averaged over the labels."""
    output = output.reshape(target.shape)
    return _mean_per_record(F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="none"))


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, averaged over the outputs of a record; an output (n, 1) fits targets (n,)."""
    output = output.reshape(target.shape)
    return _mean_per_record(F.mse_loss(output, target.to(output.dtype), reduction="none"))


def _mean_per_record(losses: Tensor) -> Tensor:
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def make_loss(name: str, label_smoothing: float = 0.0) -> PerRecordLoss:
    """The loss of the spec.

    Args:
        name: `cross_entropy`, `bce` (outputs are logits), `mse`, or `file.py:fn` / `pkg.mod:fn`, a function of
            (output, target) that returns one loss per record.
        label_smoothing: for `cross_entropy`, the share of the target that is spread over all classes.

    Raises:
        PtauditError: the function cannot be found; when called, it does not return the shape (n,).
    """
    if label_smoothing:
        return partial(cross_entropy, label_smoothing=label_smoothing)
    if name in LOSSES:
        return LOSSES[name]
    custom = parse_entry(name, Path.cwd()).load()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        try:
            losses: Tensor = custom(output, target)
        except IndexError as error:  # a class that no record had when the loss was tried
            raise ModelError(
                f"the loss failed: {error}",
                where=name,
                remedy=f"the output is {tuple(output.shape)}: has the model an output for every class?",
            ) from error
        found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        if found != (len(target),):
            raise ModelError(
                f"the loss returned {found} for {len(target)} records, not one loss per record ({len(target)},)",
                where=name,
                remedy="do not average over records: reduction='none'",
            )
        return losses

    return loss


def check_loss(model: nn.Module, records: Records, loss: PerRecordLoss) -> None:
    """Show on a few records that model, data and loss fit; the model is left as it was.

    Raises:
        ModelError: the model does not take the records, or its output does not fit the loss or the targets.
        DataError: labels are not what the loss needs, or out of range of the model's outputs.
    """
    device = next(model.parameters()).device
    inputs, targets = records.batch(_telling(records))
    targets = targets.to(device)
    output = trial_forward(model, to_device(inputs, device))
    for known, check in _CHECKS.items():
        if getattr(loss, "func", loss) is known:
            check(output, records)
    try:
        losses = loss(output, targets)
    except PtauditError:
        raise
    except Exception as error:
        shapes = f"output {_shape(output)} and targets {tuple(targets.shape)} do not fit the loss"
        raise ModelError(f"{shapes}: {_first_line(error)}", where="train.loss") from error
    if not losses.requires_grad:
        raise ModelError(
            "the loss does not depend on the weights", where="train.loss", remedy="remove no_grad or detach"
        )


def _telling(records: Records) -> Tensor:
    """The first records, and those with the smallest and the largest token id: no other can be out of range."""
    chosen = list(range(min(_TRIAL_RECORDS, len(records))))
    for leaf in leaves(records.inputs):
        if leaf.dtype == torch.int64 and leaf.numel():
            per_record = leaf.numel() // len(leaf)
            chosen += [int(leaf.argmin()) // per_record, int(leaf.argmax()) // per_record]
    return torch.tensor(sorted(set(chosen)))


def _check_cross_entropy(output: object, records: Records) -> None:
    scores, targets = _tensor(output, "cross_entropy"), records.targets
    if targets.is_floating_point():
        raise DataError(
            f"cross_entropy needs classes 0..C-1 as integers; the targets are {_kind(targets)}",
            where="data",
            remedy="use bce or mse, or a data function that returns integers",
        )
    expected = (len(scores), *targets.shape[1:])
    if scores.dim() < 2 or (len(scores), *scores.shape[2:]) != expected:
        wanted = ("n", "C", *map(str, targets.shape[1:]))
        raise ModelError(
            f"the output is {_shape(scores)}; cross_entropy needs ({', '.join(wanted)}) for targets {_shape(targets)}",
            where="train.loss",
            remedy=_other_layout(scores, targets),
        )
    counted, outputs = targets[targets != IGNORED] if targets.dim() > 1 else targets, scores.shape[1]
    if not len(counted):
        raise DataError(f"all targets are {IGNORED}, positions that do not count", where="data")
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= outputs:
        raise DataError(
            f"labels are {low}..{high}, the model has {outputs} outputs (classes 0..{outputs - 1})",
            where="data",
            remedy=f"give the model {high + 1} outputs (model.args)" if low >= 0 else "labels count from 0",
        )


def _other_layout(scores: Tensor, targets: Tensor) -> str | None:
    if scores.dim() == 1:
        return "use bce for one logit per record"
    if scores.dim() == targets.dim() + 1 and scores.shape[1:-1] == targets.shape[1:]:
        return "the classes come second: output.movedim(-1, 1)"
    return None


def _check_bce(output: object, records: Records) -> None:
    _check_same_numbers(_tensor(output, "bce"), records.targets, "bce")
    low, high = float(records.targets.min()), float(records.targets.max())
    if low < 0 or high > 1:
        raise DataError(
            f"bce needs targets from 0 to 1; they are {low:g}..{high:g}",
            where="data",
            remedy="use cross_entropy for classes",
        )


def _check_mse(output: object, records: Records) -> None:
    _check_same_numbers(_tensor(output, "mse"), records.targets, "mse")
    if records.classes is not None and records.classes > 2:
        raise DataError(
            f"mse on the codes of {records.classes} classes measures nothing",
            where="train.loss",
            remedy="use cross_entropy, or data.target: number where whole numbers are to be predicted",
        )


def _check_same_numbers(output: Tensor, targets: Tensor, name: str) -> None:
    given, wanted = output[0].numel(), targets[0].numel()
    if given != wanted:
        raise ModelError(
            f"{name} needs as many outputs as targets: the model gives {given} a record, the data {wanted}",
            where="train.loss",
            remedy="give the model one output (model.args), or use cross_entropy" if targets.dim() == 1 else None,
        )


def _tensor(output: object, name: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise ModelError(
            f"the model returns {type(output).__name__}, {name} needs a tensor",
            where="train.loss",
            remedy="wrap the model, or write the loss as file.py:fn",
        )
    return output


def _shape(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return "(" + ", ".join(["n", *map(str, value.shape[1:])]) + ")"


def _kind(targets: Tensor) -> str:
    few = ", ".join(f"{value:g}" for value in sorted(set(targets.flatten()[:100].tolist()))[:3])
    return f"{str(targets.dtype).removeprefix('torch.')} ({few}, ...)"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


LOSSES: dict[str, PerRecordLoss] = {"cross_entropy": cross_entropy, "bce": bce, "mse": mse}

_CHECKS: dict[PerRecordLoss, Callable[[object, Records], None]] = {
    cross_entropy: _check_cross_entropy,
    bce: _check_bce,
    mse: _check_mse,
}
