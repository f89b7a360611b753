"""The `replay` part of the spec: a training that already happened, told by the checkpoints it left."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from glob import glob
from pathlib import Path

from pydantic import model_validator

from ptaudit.spec.base import Part, Text, fault
from ptaudit.spec.entry import exists

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_CALLED = re.compile(r"(?:^|[^a-z])ep(?:och)?s?(?P<sign>[=_ .-]?)(?P<epoch>[0-9]{1,9})(?![0-9]*\.[0-9])", re.IGNORECASE)
"""`epoch=3`, `epoch_3`, `ep3`: as Lightning, Keras and many loops write it; Lightning counts from 0."""

_MOST_DIGITS = 12
_NAMED = 12


class ReplaySpec(Part):
    """Checkpoints of a training that already happened: they are audited one after the other, nothing is trained."""

    checkpoints: Text
    """The files with the state dicts: a glob pattern relative to the spec, e.g. `ckpts/*.pt`; safetensors, or what
    `torch.save` wrote, or `.npz` as Flower saves it. Its epoch is the number called `epoch` in a file's name, else the
    last whole number (in the folder's name, where only these tell the files apart); files without such numbers count
    from 1 in the order of their names."""
    state: Text | None = None
    """Key of the state dict inside a file that holds more; without it `state_dict`, `model_state_dict` or `model`."""

    @cached_property
    def saved(self) -> Mapping[int, Path]:
        """The files by epoch, ascending; listed once, so that a training still under way does not move them."""
        return self._numbering[0]

    @property
    def numbering(self) -> str:
        """In words, where the epochs of the files come from."""
        return self._numbering[1]

    @cached_property
    def _numbering(self) -> tuple[Mapping[int, Path], str]:
        return number(_files(self.checkpoints))

    @model_validator(mode="after")
    def _files_are_there(self) -> ReplaySpec:
        if not self.saved:
            folder = exists(self.checkpoints, folder=True)
            remedy = f"name the files in it, e.g. {self.checkpoints}/*.pt" if folder else "the pattern is a glob"
            raise fault(f"no checkpoint matches `{self.checkpoints}`", at=("checkpoints",), remedy=remedy)
        return self

    def audited(self, wanted: Sequence[int] | int | None) -> tuple[int, ...]:
        """The audited ones among the epochs that have a checkpoint, ascending.

        Args:
            wanted: a list of epochs; n for every epoch that n divides, and the last one; None for all.
        """
        if wanted is None:
            return tuple(self.saved)
        if isinstance(wanted, int):
            return tuple(epoch for epoch in self.saved if epoch % wanted == 0 or epoch == max(self.saved))
        return tuple(sorted(set(wanted).intersection(self.saved)))

    @property
    def listing(self) -> str:
        """The epochs that there are, in words."""
        epochs = list(map(str, self.saved))
        return ", ".join(epochs if len(epochs) <= _NAMED else [*epochs[: _NAMED - 2], "...", epochs[-1]])


def _files(pattern: str) -> list[Path]:
    """The files that a pattern matches; a name with brackets in it may be meant as it is."""
    if exists(pattern):
        return [Path(pattern)]
    found = glob(pattern, recursive=True)  # noqa: PTH207 - unlike `Path.glob` it leaves hidden files out
    return [path for path in map(Path, found) if exists(path)]


def number(paths: Sequence[Path]) -> tuple[Mapping[int, Path], str]:
    """Give each checkpoint its epoch.

    Returns:
        The files by epoch, ascending, and in words where the epochs come from.
    """
    folders = [path.parent.name for path in paths] if len(paths) > 1 else []
    for names, what in (([path.stem for path in paths], "the file's name"), (folders, "the folder's name")):
        epochs, how = _epochs(names)
        if epochs and len(set(epochs)) == len(paths):
            return dict(sorted(zip(epochs, paths))), f"the epoch is {how} in {what}"
    ordered = sorted(paths, key=_natural)
    said = f", {_place(ordered[0])} first and {_place(ordered[-1])} last" if len(ordered) > 1 else ""
    return dict(enumerate(ordered, start=1)), f"the epochs count from 1 in the order of their names{said}"


def _epochs(names: Sequence[str]) -> tuple[list[int], str]:
    """The epoch in each name, and in words where it stands; empty where there is none.

    Raises:
        ValueError: several numbers differ between the names, and none is called an epoch.
    """
    called = [_CALLED.search(name) for name in names]
    if names and all(called):
        found = [int(match["epoch"]) for match in called if match]
        if all(match["sign"] == "=" for match in called if match) and 0 in found:
            return [epoch + 1 for epoch in found], "one more than the number called epoch, which counts from 0,"
        return found, "the number called epoch"
    numbers = [[int(n) for n in _NUMBER.findall(name) if "." not in n and len(n) <= _MOST_DIGITS] for name in names]
    if not all(numbers):
        return [], ""
    if len({len(some) for some in numbers}) == 1:
        varied = [place for place, same in enumerate(zip(*numbers)) if len(set(same)) > 1]
        if len(varied) > 1:
            raise fault(
                f"which number is the epoch in `{names[0]}`, `{names[1]}`, ...?",
                at=("checkpoints",),
                remedy="write epoch before it, as in epoch-3, or give the files names with one number",
            )
    return [some[-1] for some in numbers], "the last whole number"


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `epoch-10` after `epoch-9`."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(part), "") if k % 2 else (0, part) for k, part in enumerate(parts)]
