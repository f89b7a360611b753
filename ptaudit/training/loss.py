"""Losses of single records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.data.records import Records
from ptaudit.data.tensors import IGNORED
from ptaudit.errors import DataError, ModelError
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.entry import parse_entry

if TYPE_CHECKING:
    from ptaudit.spec.train import TrainSpec


def with_ignored(records: Records, ignore_index: int | None) -> Records:
    """The records with -100, PyTorch's own mark, at the positions that `ignore_index` marks as not counting.

    Raises:
        DataError: a record has one target, which then must count.
    """
    if ignore_index is None:
        return records
    if records.targets.dim() == 1:
        raise DataError(
            "the records have one target each, and a record without one has no loss",
            where="train.ignore_index",
            remedy="leave such records out of the data, and the key out of the spec",
        )
    return replace(records, targets=records.targets.masked_fill(records.targets == ignore_index, IGNORED))


def cross_entropy(output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of class scores (n, C) with classes (n,), or of (n, C, T) with (n, T), averaged over positions.

    Positions with the target -100 do not count.
    """
    scores = scores_in(output, "cross_entropy")
    losses = F.cross_entropy(scores, target, reduction="none", label_smoothing=label_smoothing)
    if losses.dim() == 1:
        return losses
    return losses.flatten(1).sum(1) / (target != IGNORED).flatten(1).sum(1).clamp(min=1)


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits (n,), (n, 1) or, for several labels, (n, C), averaged over the labels."""
    output = scores_in(output, "bce").reshape(target.shape)
    return _mean_per_record(F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="none"))


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, averaged over the outputs of a record; an output (n, 1) fits targets (n,)."""
    output = scores_in(output, "mse").reshape(target.shape)
    return _mean_per_record(F.mse_loss(output, target.to(output.dtype), reduction="none"))


def scores_in(output: Any, loss: str) -> Tensor:
    """The output of a model, where it is the tensor that a loss needs.

    Raises:
        ModelError: it is something else, as of models with several heads.
    """
    if isinstance(output, Tensor):
        return output
    parts = f" (parts: {', '.join(map(str, output))})" if isinstance(output, Mapping) else ""
    raise ModelError(
        f"the model returns {type(output).__name__}, {loss} needs a tensor{parts}",
        where="train.loss",
        remedy="wrap the model so that it returns the scores alone, or write the loss as file.py:fn",
    )


def _mean_per_record(losses: Tensor) -> Tensor:
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def train_loss(train: TrainSpec) -> PerRecordLoss:
    """The loss that is trained and read: that of the spec, with the term of its defense. It belongs to one training."""
    return (train.defense or UNDEFENDED).loss(make_loss(train.loss, train.label_smoothing))


def make_loss(name: str, label_smoothing: float = 0.0) -> PerRecordLoss:
    """The loss of the spec.

    Args:
        name: `cross_entropy`, `bce` (outputs are logits), `mse`, or `file.py:fn` / `pkg.mod:fn`, a function of
            (output, target) that returns one loss per record.
        label_smoothing: for `cross_entropy`, the share of the target that is spread over all classes.

    Raises:
        PtauditError: the function cannot be found, is a class, or has parameters of its own; when called, it does not
            return the shape (n,).
    """
    if label_smoothing:
        return partial(cross_entropy, label_smoothing=label_smoothing)
    if name in LOSSES:
        return LOSSES[name]
    custom = parse_entry(name, Path.cwd()).load()
    _check_entry(custom, name)

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
                remedy="do not average over records: reduction='none'; take dimensions off by number, squeeze(1)",
            )
        return losses

    return loss


def _check_entry(custom: object, name: str) -> None:
    if isinstance(custom, type):
        raise ModelError(
            f"{custom.__name__} is a class, not a function of output and target",
            where=name,
            remedy=f"name an instance of it: loss = {custom.__name__}()",
        )
    own = _trainable(custom) if isinstance(custom, nn.Module) else []
    if own:
        raise ModelError(
            f"the loss has trainable parameters of its own ({', '.join(own[:3])}{', ...' if len(own) > 3 else ''}), "
            "which are neither trained nor audited",
            where=name,
            remedy="make them a part of the model, or freeze them with requires_grad_(False)",
        )


def _trainable(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


LOSSES: dict[str, PerRecordLoss] = {"cross_entropy": cross_entropy, "bce": bce, "mse": mse}
