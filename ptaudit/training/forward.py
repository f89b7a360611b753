"""One forward pass on a few records, with errors that say which layer refused them and why."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, PtauditError
from ptaudit.model_input import Inputs, call, count, leaves, mapped, rows, shapes

_TRIAL_RECORDS = 4
_FEATURES = re.compile(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")
_WANTS_CODES = re.compile(r"argument #1 'indices' to have one of the following scalar types: Long, Int")
_SAME_DTYPE = re.compile(r"(?:must|should) (?:have|be) the same (?:dtype|type)|expected .* same dtype")
_OUT_OF_TABLE = "index out of range in self"
_CHANNELS = re.compile(r"expected input.* to have (\d+) channels, but got (\d+) channels")


def trial_forward(model: nn.Module, inputs: Inputs) -> Any:
    """Run the model in eval mode, and put every module's mode back.

    Args:
        model: the model, on the device of the inputs.
        inputs: a few records, (n, ...).

    Returns:
        What the model returns, with its graph.

    Raises:
        ModelError: the model fails; the message names the layer and, where shapes are the reason, both sizes.
    """
    modes = {module: module.training for module in model.modules()}
    entered: list[str] = []  # the path down to the layer that is running
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: entered.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: void(entered.pop())))
    try:
        _check_arguments(model, inputs)
        model.eval()
        given = mapped(torch.clone, inputs)
        output = call(model, given)
        _check_unchanged(inputs, given)
    except PtauditError:
        raise
    except Exception as error:
        raise _explained(error, inputs, entered[-1] if entered else "") from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    n = count(inputs)
    if n and isinstance(output, Tensor) and (output.dim() == 0 or len(output) != n):
        raise ModelError(
            f"the model returned the shape {tuple(output.shape)} for {n} records",
            where="model",
            remedy="the first dimension of inputs and outputs counts the records",
        )
    return output


def with_codes(build: Callable[[], nn.Module], inputs: Inputs) -> Inputs:
    """Inputs as a model takes them that looks codes up: whole numbers that were read as numbers, as int64.

    Bytes and floats may be either; what the model takes as numbers stays numbers.

    Args:
        build: makes the model, on the CPU; it is called only where there are rows of nothing but whole numbers.
        inputs: all records.
    """
    if not any(_may_be_codes(leaf) for leaf in leaves(inputs)):
        return inputs
    codes = mapped(lambda leaf: leaf.to(torch.int64) if _may_be_codes(leaf) else leaf, inputs)
    model, few = build(), slice(_TRIAL_RECORDS)
    try:
        trial_forward(model, rows(inputs, few))
    except ModelError:
        with suppress(ModelError):
            trial_forward(model, rows(codes, few))
            return codes
    return inputs


def _may_be_codes(leaf: Tensor) -> bool:
    return leaf.is_floating_point() and leaf.dim() < 3 and bool((leaf == leaf.round()).all() & (leaf >= 0).all())


def _check_arguments(model: nn.Module, inputs: Inputs) -> None:
    """Several inputs are arguments of `forward`: a tuple in order, a dict by name."""
    if isinstance(inputs, Tensor):
        return
    try:
        signature = inspect.signature(model.forward)
        if isinstance(inputs, dict):
            signature.bind(**inputs)
        else:
            signature.bind(*inputs)
    except TypeError as error:
        given = ", ".join(inputs) if isinstance(inputs, dict) else f"{len(inputs)} in order"
        raise ModelError(
            f"forward{signature} does not take the inputs ({given}): {error}",
            where="model",
            remedy="name the inputs as forward does" if isinstance(inputs, dict) else "return as many as forward takes",
        ) from error


def _check_unchanged(inputs: Inputs, given: Inputs) -> None:
    if not all(torch.equal(before, after) for before, after in zip(leaves(inputs), leaves(given), strict=True)):
        raise ModelError(
            "the model changes its inputs in place: what is read of a record would depend on how often it was read",
            where="model",
            remedy="let forward make a new tensor: x = x * 2 for x.mul_(2), and no in-place ReLU on the input",
        )


def void(_: object) -> None:
    """Return None: a forward hook that returns anything else would replace the output."""


def _explained(error: Exception, inputs: Inputs, layer: str) -> ModelError:
    text = str(error).strip()
    shape = shapes(inputs)
    where = f"model, layer {layer}" if layer else "model"
    if match := _FEATURES.search(text):
        found, expected, unit = int(match[1]), int(match[2]), "features"
    elif match := _CHANNELS.search(text):
        expected, found, unit = int(match[1]), int(match[2]), "channels"
    elif isinstance(error, IndexError) and text == _OUT_OF_TABLE:
        ids = [tensor for tensor in leaves(inputs) if tensor.dtype == torch.int64]
        low, high = min(int(x.min()) for x in ids), max(int(x.max()) for x in ids)
        return ModelError(
            f"a token id is out of range of the layer's table; the ids are {low}..{high}",
            where=where,
            remedy=f"give it {high + 1} rows (model.args)" if low >= 0 else "ids count from 0",
        )
    else:
        first = text.split("\n", 1)[0]
        kinds = ", ".join(sorted({str(tensor.dtype) for tensor in leaves(inputs)}))
        remedy = None
        if _WANTS_CODES.search(text):
            remedy = "the layer looks codes up: save them as integers, .astype('int64'), counted from 0"
        elif not any(tensor.is_floating_point() for tensor in leaves(inputs)):
            remedy = "the inputs are whole numbers, as for token ids: save them as float32 if they are measurements"
        elif _SAME_DTYPE.search(text):
            remedy = "keep the model in float32 (train.precision sets bf16 or fp16), or convert the inputs in forward"
        return ModelError(
            f"the model does not take records of shape {shape} ({kinds}): {type(error).__name__}: {first}",
            where=where,
            remedy=remedy,
        )
    if found == leaves(inputs)[0].shape[1:2].numel():
        what = f"the model expects {expected} {unit}, the data have {found}"
        return ModelError(what, where=where, remedy="set the size in model.args")
    what = f"the layer expects {expected} {unit} and gets {found} from records of shape {shape}"
    return ModelError(what, where=where, remedy="change the model's size in model.args")
