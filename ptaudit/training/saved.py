"""State dicts as others save them: found in the file, freed of wrappers' prefixes, fitted to the model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ptaudit.archives import check_regular, open_npz
from ptaudit.errors import ModelError, RunFolderError, listed
from ptaudit.training.checkpoint import load_archive

StateDict = Mapping[str, Any]

_WRAPPED = ("state_dict", "model_state_dict", "model")
_STEPS = ("global_step", "step")
_PREFIXES = ("module.", "model.", "_module.")  # of DistributedDataParallel, of Lightning, of Opacus
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.")  # of torch.compile and FSDP, also in the middle of a name
_NORMS = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""What `torch.nn.utils.weight_norm` called its parameters before it was a parametrization."""
_NUMBERED = re.compile(r"arr_[0-9]{1,6}")
"""What `numpy.savez` calls arrays that are given without a name."""
_NAMED = 3
_HOLDS = {
    "fractions": {"fractions"},
    "complex": {"fractions", "complex"},
    "whole": {"fractions", "whole"},
    "": {"fractions", "complex", "whole", ""},
}
"""What values may be saved as and mean the same: quantised weights are not those of the model."""


def digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        RunFolderError: it cannot be read.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _damaged(path, error) from error


def load_state(path: Path, key: str | None = None) -> tuple[StateDict, int]:
    """Read the state dict of a model from a file, onto the CPU. No code in the file is run.

    Args:
        path: safetensors, what `torch.save` wrote (a state dict, or a mapping that holds one), or `.npz` with arrays by
            name, or by number in the order of the state dict (`arr_0`, ...), as Flower saves them.
        key: where the mapping holds it; None for the usual names.

    Returns:
        The state dict, and the optimizer steps before it where the file tells them, else 0.

    Raises:
        RunFolderError: the file is missing or damaged.
        ModelError: it holds no state dict, or more than tensors and plain values.
    """
    content = _content(path)
    if not isinstance(content, Mapping):
        raise ModelError(f"holds {type(content).__name__}, not a state dict", where=str(path), remedy=_HOW_TO_SAVE)
    if key is not None and not isinstance(content.get(key), Mapping):
        there = ", ".join(map(str, list(content)[:_NAMED]))
        raise ModelError(f"holds no state dict `{key}`", where=str(path), remedy=f"replay.state; there are: {there}")
    found = next((k for k in _WRAPPED if isinstance(content.get(k), Mapping)), None) if key is None else key
    state = content if found is None else content[found]
    named = all(isinstance(name, str) for name in state)
    if not (named and any(isinstance(value, Tensor) for value in state.values())):
        inside = [str(name) for name, value in content.items() if isinstance(value, Mapping)]
        remedy = f"name the key with replay.state; there are: {', '.join(inside)}" if inside else _HOW_TO_SAVE
        raise ModelError("holds no state dict", where=str(path), remedy=remedy)
    if key is None and found is not None:
        _check_single(content, found, path)
    steps = [content[name] for name in _STEPS if found is not None and isinstance(content.get(name), int)]
    return state, steps[0] if steps else 0


def _check_single(content: Mapping[Any, Any], found: str, path: Path) -> None:
    """Refuse a file that holds other weights of the same shapes, as an average over the training is."""
    shapes = _shapes(content[found])
    rivals = [str(name) for name, value in content.items() if name != found and _shapes(value) == shapes]
    if shapes and rivals:
        raise ModelError(
            f"holds more than one set of weights: {', '.join([found, *rivals])}",
            where=str(path),
            remedy="name the one that members are to be looked for in with replay.state",
        )


def _shapes(state: object) -> list[torch.Size] | None:
    """Shapes of all tensors, sorted; None where it is no state dict."""
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        return None
    return sorted(value.shape for value in state.values())


def load_into(model: nn.Module, state: StateDict, path: Path) -> None:
    """Give the model the weights and buffers of a state dict.

    Raises:
        ModelError: names or shapes differ; the first of each kind are named.
    """
    fitted = fitted_to(model, state, path)
    try:
        model.load_state_dict(fitted)
    except (RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ModelError(f"does not fit the model: {said}", where=str(path), remedy=_HOW_TO_FIT) from error


def fitted_to(model: nn.Module, state: StateDict, path: Path) -> StateDict:
    """The state dict under the model's own names.

    Prefixes of `DistributedDataParallel`, `torch.compile`, FSDP, Opacus and Lightning are taken off where that makes it
    fit, and old names of weight norms become the present ones; what lies beside the prefixed names (a criterion,
    metrics) is then left out. A shared weight may be saved once. Arrays without names are taken in the model's order.

    Raises:
        ModelError: names or shapes differ; the first of each kind are named.
    """
    own = model.state_dict()
    if state and all(_NUMBERED.fullmatch(name) for name in state):
        state = _in_order(own, state, path)
    found = max(_readings(own, state), key=lambda reading: len(own.keys() & reading.keys()))
    faults = {
        "missing": [name for name in own if name not in found],
        "unexpected": [name for name in found if name not in own],
        "misshaped": [
            f"{name} {_shape(found[name])}, the model's is {_shape(own[name])}"
            for name in own
            if name in found and _shape(found[name]) != _shape(own[name])
        ],
        "of another type": [
            f"{name} {_type(found[name])}, the model's is {_type(own[name])}"
            for name in own
            if name in found and _numbers(found[name]) not in _HOLDS[_numbers(own[name])]
        ],
    }
    if any(faults.values()):
        said = "; ".join(f"{kind}: {listed(names, _NAMED)}" for kind, names in faults.items() if names)
        raise ModelError(f"does not fit the model: {said}", where=str(path), remedy=_HOW_TO_FIT)
    return found


_HOW_TO_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"
_HOW_TO_FIT = "check model.entry and model.args, or replay.state"


def _in_order(own: StateDict, state: StateDict, path: Path) -> StateDict:
    """Arrays by number, under the names of the model in their order.

    Raises:
        ModelError: they are not as many.
    """
    if len(state) != len(own):
        raise ModelError(
            f"holds {len(state)} arrays without names, as Flower saves them; the model has {len(own)} weights and "
            f"buffers: {listed(list(own), _NAMED)}",
            where=str(path),
            remedy="save all values of model.state_dict() in its order, or the state dict itself",
        )
    ordered = sorted(state, key=lambda name: int(name.removeprefix("arr_")))
    return dict(zip(own, (state[name] for name in ordered)))


def _readings(own: StateDict, state: StateDict) -> list[StateDict]:
    """The state dict as it is, and without prefixes, one after the other."""
    found = [{_unwrapped(name, own): value for name, value in state.items()}]
    for reading in found:  # grows while it is read
        inner = [{n.removeprefix(p): v for n, v in reading.items() if n.startswith(p)} for p in _PREFIXES]
        found += [shorter for shorter in inner if shorter]
    return [_completed(own, reading) for reading in (state, *found)]


def _unwrapped(name: str, own: StateDict) -> str:
    """A name without what wrappers put into it."""
    for wrapper in _INSIDE:
        name = name.replace(wrapper, "")
    above, dot, last = name.rpartition(".")
    now = f"{above}{dot}{_NORMS.get(last, last)}"
    return now if any(mine.endswith(now) or now.endswith(mine) for mine in own) else name


def _completed(own: StateDict, state: StateDict) -> StateDict:
    """With the other names of weights that the model shares and a file holds once, as safetensors do."""
    twins: dict[tuple[int, Any], list[str]] = {}
    for name, value in own.items():
        if isinstance(value, Tensor) and value.numel():
            twins.setdefault((value.data_ptr(), value.shape), []).append(name)
    more: dict[str, Any] = {}
    for names in twins.values():
        saved = next((state[name] for name in names if name in state), None)
        if saved is not None:
            more |= {name: saved for name in names if name not in state}
    return {**state, **more}


def _content(path: Path) -> Any:
    try:
        check_regular(path)
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    try:
        if path.suffix == ".npz":
            return _arrays(path)
        return load_file(path, device="cpu") if path.suffix == ".safetensors" else load_archive(path)
    except Exception as error:  # a damaged file can fail in any way
        if any(word in str(error) for word in ("Unsupported global", "Unsupported class")):
            what = "holds more than tensors and plain values"
            raise ModelError(what, where=str(path), remedy=_HOW_TO_SAVE) from error
        raise _damaged(path, error) from error


def _arrays(path: Path) -> dict[str, Tensor]:
    """Arrays of an archive of numpy, as Flower saves the weights of a round."""
    with open_npz(path) as archive:
        return {name: torch.from_numpy(np.array(array)) for name, array in archive.items()}


def _damaged(path: Path, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"this checkpoint is damaged or no checkpoint ({type(error).__name__})",
        where=str(path),
        remedy="restore it, or leave it out of replay.checkpoints",
    )


def _unreadable(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(f"this checkpoint cannot be read: {error.strerror or error}", where=str(path))


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _type(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor) else type(value).__name__


def _numbers(value: Any) -> str:
    """Which numbers a tensor holds; empty for what is no tensor."""
    if not isinstance(value, Tensor):
        return ""
    return "complex" if value.is_complex() else "fractions" if value.is_floating_point() else "whole"
