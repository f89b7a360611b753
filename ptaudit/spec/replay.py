"""The `replay` part of the spec: a training that already happened, told by the checkpoints it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from glob import glob
from pathlib import Path

from pydantic import model_validator

from ptaudit.spec.base import Part, Text, fault
from ptaudit.spec.entry import exists
from ptaudit.spec.numbering import Numbering, number

_NAMED = 12


class ReplaySpec(Part):
    """Checkpoints of a training that already happened: they are audited one after the other, nothing is trained."""

    checkpoints: Text
    """The files with the state dicts: a glob pattern relative to the spec, e.g. `ckpts/*.pt`; safetensors, what
    `torch.save` wrote, or `.npz` as Flower saves it. Its epoch is the one that stands in the file (key `epoch`, counted
    as Lightning, timm and the trainer of Hugging Face do), else the number called `epoch` in its name, else the last
    whole number (in the folder's name, where only these tell the files apart); a single file without one is of epoch 1,
    and files that only times tell apart count from 1. `ptaudit check` shows it."""
    state: Text | None = None
    """Key of the state dict inside a file that holds more; without it `state_dict`, `model_state_dict` or `model`."""

    @cached_property
    def saved(self) -> Mapping[int, Path]:
        """The files by epoch, ascending; listed once, so that a training still under way does not move them."""
        return self.numbering.saved

    @cached_property
    def numbering(self) -> Numbering:
        """The files by epoch, and where their epochs come from."""
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
