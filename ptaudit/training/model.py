"""From a model entry of the spec to a module with seeded weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from torch import jit, nn
from torch.nn.parameter import is_lazy

from ptaudit.errors import ModelError, PtauditError
from ptaudit.spec.entry import parse_entry
from ptaudit.training.seeding import WEIGHTS, derived_seed, seeded

if TYPE_CHECKING:
    from ptaudit.spec.model import ModelSpec


def build_model(model: ModelSpec, seed: int) -> nn.Module:
    """Build the model on the CPU with weights drawn from `seed`; the caller's random state is left alone.

    Args:
        model: the entry (`file.py:fn`, `pkg.mod:fn` or `torchvision:NAME`) and its keyword arguments.
        seed: seed of the initial weights.

    Raises:
        ModelError: the arguments do not fit, the call fails, or what it returns is not a module that can be trained.
    """
    build = parse_entry(model.entry, Path.cwd()).load()
    _check_arguments(build, model)
    with seeded(derived_seed(seed, WEIGHTS)):
        try:
            module: object = build(**model.args)
        except PtauditError:
            raise
        except Exception as error:
            raise ModelError(
                f"building the model failed: {type(error).__name__}: {error}", where=model.entry
            ) from error
    return _checked(module, model)


def _check_arguments(build: object, model: ModelSpec) -> None:
    assert callable(build)
    if isinstance(build, nn.Module):
        raise ModelError(
            "this is a model, not a function that returns one",
            where=model.entry,
            remedy="build it in a function: with other seeds it starts from other weights",
        )
    try:
        signature = inspect.signature(build)
    except ValueError:  # some built-ins tell nothing about their arguments
        return
    try:
        signature.bind(**model.args)
    except TypeError as error:
        name = model.entry.rpartition(":")[2]
        raise ModelError(f"model.args do not fit {name}{signature}: {error}", where=model.entry) from error


def _checked(module: object, model: ModelSpec) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise ModelError(f"the entry returned {type(module).__name__}, not a torch.nn.Module", where=model.entry)
    if any(isinstance(part, jit.ScriptModule) for part in module.modules()):
        raise ModelError(
            "the model is TorchScript, whose layers take no hooks",
            where=model.entry,
            remedy="return it as it is before torch.jit.script or torch.jit.trace",
        )
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise ModelError(
                f"parameter {name} has no shape yet",
                where=model.entry,
                remedy="give lazy layers their input size in the model",
            )
        if parameter.is_meta:
            raise ModelError(
                f"parameter {name} is on the meta device, without numbers",
                where=model.entry,
                remedy="build the model on the CPU (no device='meta', init_empty_weights or the like)",
            )
        if parameter.numel() == 0:  # of a layer without outputs, say: nothing to learn, and nothing to give away
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError(
            "the model has no trainable parameters",
            where=model.entry,
            remedy="leave requires_grad on for what is to be trained",
        )
    return module
