"""One forward pass on a few records, with errors that say which layer refused them and why."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, PtauditError
from ptaudit.replay.batch import Inputs, call, count, leaves, shapes

_FEATURES = re.compile(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")
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
        output = call(model, inputs)
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
        if not any(tensor.is_floating_point() for tensor in leaves(inputs)):
            remedy = "the inputs are whole numbers, as for token ids: save them as float32 if they are measurements"
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
