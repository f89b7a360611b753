"""The proof that model, data and loss fit together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ptaudit.data.tensors import IGNORED
from ptaudit.errors import DataError, ModelError, PtauditError, first_line
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import leaves, to_device
from ptaudit.training.forward import trial_forward
from ptaudit.training.independence import check_independence
from ptaudit.training.loss import bce, cross_entropy, mse, scores_in

if TYPE_CHECKING:
    from ptaudit.data.records import Records

_TRIAL_RECORDS = 4


def check_loss(model: nn.Module, records: Records, loss: PerRecordLoss) -> None:
    """Show on a few records that model, data and loss fit; the model is left as it was.

    Raises:
        ModelError: the model does not take the records, its output does not fit the loss or the targets, or a loss of
            the user's own looks at the other records of its batch.
        DataError: labels are not what the loss needs, or out of range of the model's outputs.
    """
    device = next(model.parameters()).device
    inputs, targets = records.batch(_telling(records))
    targets = targets.to(device)
    output = trial_forward(model, to_device(inputs, device))
    of_output = getattr(loss, "func", loss)
    check = _CHECKS.get(of_output)
    if check is not None:
        check(output, records)
    try:
        losses = loss(output, targets)
    except PtauditError:
        raise
    except Exception as error:
        shapes = f"output {_shape(output)} and targets {tuple(targets.shape)} do not fit the loss"
        raise ModelError(f"{shapes}: {first_line(error)}", where="train.loss") from error
    if not losses.requires_grad:
        raise ModelError(
            "the loss does not depend on the weights", where="train.loss", remedy="remove no_grad or detach"
        )
    if check is None:
        check_independence(of_output, output, targets)


def _telling(records: Records) -> Tensor:
    """The first records, and those with the smallest and the largest target and token id: none can be out of range."""
    chosen = list(range(min(_TRIAL_RECORDS, len(records))))
    for leaf in (*leaves(records.inputs), records.targets):
        if leaf.numel() and (leaf.dtype == torch.int64 or leaf is records.targets):
            per_record = leaf.numel() // len(leaf)
            chosen += [int(leaf.argmin()) // per_record, int(leaf.argmax()) // per_record]
    return torch.tensor(sorted(set(chosen)))


def _check_cross_entropy(output: object, records: Records) -> None:
    scores, targets = scores_in(output, "cross_entropy"), records.targets
    if targets.is_floating_point():
        raise DataError(
            f"cross_entropy needs classes 0..C-1 as integers; the targets are {_kind(targets)}",
            where="data",
            remedy=_as_classes(targets) or "use bce or mse, or a data function that returns integers",
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
            remedy=_within(low, high, targets),
        )


def _within(low: int, high: int, targets: Tensor) -> str:
    """What to do about labels that the model has no output for."""
    odd = high if low >= 0 else low
    counted = f"give the model {high + 1} outputs (model.args)" if low >= 0 else "labels count from 0"
    return counted if targets.dim() == 1 else f"{counted}, or set train.ignore_index: {odd} where that marks no class"


def _as_classes(targets: Tensor) -> str | None:
    """How to make classes of targets that are codes in another form."""
    if targets.dim() == 2 and targets.shape[1] > 1 and _is_one_hot(targets):
        return "they are one-hot: give the classes, y.argmax(1)"
    if targets.is_floating_point() and bool((targets == targets.round()).all()):
        return "they are whole: give them as integers, y.astype('int64'); or use bce or mse"
    return None


def _is_one_hot(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all())


def _other_layout(scores: Tensor, targets: Tensor) -> str | None:
    if scores.dim() == 1:
        return "use bce for one logit per record"
    if scores.dim() == 2 and targets.dim() == 2:
        return _as_classes(targets)
    if scores.dim() == targets.dim() + 1 and scores.shape[1:-1] == targets.shape[1:]:
        return "the classes come second: output.movedim(-1, 1)"
    return None


def _check_bce(output: object, records: Records) -> None:
    _check_same_numbers(scores_in(output, "bce"), records.targets, "bce")
    low, high = float(records.targets.min()), float(records.targets.max())
    if low < 0 or high > 1:
        raise DataError(
            f"bce needs targets from 0 to 1; they are {low:g}..{high:g}",
            where="data",
            remedy="use cross_entropy for classes",
        )


def _check_mse(output: object, records: Records) -> None:
    _check_same_numbers(scores_in(output, "mse"), records.targets, "mse")
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


def _shape(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return "(" + ", ".join(["n", *map(str, value.shape[1:])]) + ")"


def _kind(targets: Tensor) -> str:
    few = ", ".join(f"{value:g}" for value in sorted(set(targets.flatten()[:100].tolist()))[:3])
    return f"{str(targets.dtype).removeprefix('torch.')} ({few}, ...)"


_CHECKS: dict[PerRecordLoss, Callable[[object, Records], None]] = {
    cross_entropy: _check_cross_entropy,
    bce: _check_bce,
    mse: _check_mse,
}
