"""What a checkpoint says of its epoch: its plain values are parsed, nothing is loaded and no code in it is run."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIGHTNING, TIMM, HUGGING_FACE = "Lightning", "timm", "Hugging Face"

_TRAINER_STATE = "trainer_state.json"
_MOST_BYTES = 8 * 2**20  # of names and plain values: parsing them takes seconds then
_MOST = 10**9
"""Of epochs and steps."""

_MARK, _OPAQUE = object(), object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass(frozen=True)
class CheckpointLabel:
    """What stands in a checkpoint, or beside it.

    Attributes:
        epoch: the number called epoch.
        trained: epochs that were trained, where the tool that wrote it leaves no doubt; else None.
        tool: the tool that wrote it, where it can be recognised.
        step: optimizer steps that were taken, where it says so.
    """

    epoch: float
    trained: float | None = None
    tool: str = ""
    step: int | None = None


def read_label(path: Path) -> CheckpointLabel | None:
    """What a checkpoint says of its epoch; None where it says nothing, or is no checkpoint."""
    if not path.is_file():  # a pipe is waited for without end
        return None
    try:
        values = _metadata(path) if path.suffix == ".safetensors" else _archived(path)
        found = _of_values(values) or _of_trainer(path.parent / _TRAINER_STATE)
    except Exception:  # a damaged file can fail in any way; who loads it says that it is damaged
        return None
    return found if found is not None and all(map(_counts, {found.epoch, found.trained} - {None})) else None


def _counts(number: Any) -> bool:
    return type(number) in (int, float) and 0 <= number <= _MOST


def _of_values(values: Mapping[Any, Any]) -> CheckpointLabel | None:
    epoch = values.get("epoch")
    if type(epoch) not in (int, float):
        return None
    assert isinstance(epoch, int | float)
    step = next((found for key in ("global_step", "step") if _counts(found := values.get(key))), None)
    if "pytorch-lightning_version" in values:
        # `epoch` counts completed epochs, which the one that has just ended is not yet; `ready` counts begun ones.
        begun = _inside(values, "loops", "fit_loop", "epoch_progress", "current", "ready")
        return CheckpointLabel(epoch, begun if type(begun) is int else None, LIGHTNING, step)
    if "arch" in values and type(values.get("version")) is int and values["version"] > 1:
        return CheckpointLabel(epoch, epoch + 1, TIMM, step)
    return CheckpointLabel(epoch, None, "", step)


def _of_trainer(path: Path) -> CheckpointLabel | None:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return None
    state = json.loads(path.read_text(encoding="utf-8"))
    epoch, step = state["epoch"], state.get("global_step")
    return CheckpointLabel(float(epoch), float(epoch), HUGGING_FACE, step if _counts(step) else None)


def _metadata(path: Path) -> Mapping[Any, Any]:
    """The metadata of safetensors, numbers as such."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > _MOST_BYTES:
            return {}
        texts = json.loads(file.read(size)).get("__metadata__") or {}
    return {key: int(text) if str(text).isdecimal() else text for key, text in texts.items()}


def _archived(path: Path) -> Mapping[Any, Any]:
    """The plain values of what `torch.save` wrote as a dictionary."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"), None)
        if name is None or archive.getinfo(name).file_size > _MOST_BYTES:
            return {}
        content = _parsed(archive.read(name))
    return content if isinstance(content, dict) else {}


def _parsed(data: bytes) -> Any:
    """The value that a stream describes, of dictionaries, numbers and texts; all else is left out."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for op, arg, _ in pickletools.genops(data):
        before, after = op.stack_before, op.stack_after
        if op.name in ("SETITEM", "SETITEMS"):
            at = _last_mark(stack) if op.name == "SETITEMS" else len(stack) - 2
            items = [item for item in stack[at:] if item is not _MARK]
            del stack[at:]
            if isinstance(stack[-1], dict):
                stack[-1].update((k, v) for k, v in zip(items[::2], items[1::2]) if isinstance(k, str | int))
        elif op.name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if op.name == "MEMOIZE" else arg] = stack[-1]
        elif op.name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[arg])
        elif op.name == "MARK":
            stack.append(_MARK)
        elif op.name == "EMPTY_DICT":
            stack.append({})
        elif op.name in _CONSTANTS or (not before and isinstance(arg, int | float | str) and op.name != "GLOBAL"):
            stack += [_CONSTANTS.get(op.name, arg)] * len(after)
        elif op.name == "STOP":
            return stack.pop()
        else:
            if pickletools.markobject in before:
                del stack[_last_mark(stack) :]
                before = before[: before.index(pickletools.markobject)]
            if before:
                del stack[-len(before) :]
            stack += [_OPAQUE] * len(after)
    return None


def _last_mark(stack: list[Any]) -> int:
    return len(stack) - 1 - next(at for at, item in enumerate(reversed(stack)) if item is _MARK)


def _inside(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values
