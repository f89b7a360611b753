"""The `data` part of the spec, and the names a source may have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ptaudit.spec.base import Count, Flag, Number, Part, Seed, Text, fault, nearest
from ptaudit.spec.entry import FUNCTION_FORMS, is_function

SKLEARN_SETS = ("digits", "iris", "wine", "breast_cancer")

_COMMON = frozenset({"source", "held_out", "seed", "members", "non_members", "limit"})
_USES: dict[str, frozenset[str]] = {
    "sklearn": _COMMON,
    "torchvision": _COMMON | {"root", "download", "part"},
    "csv": _COMMON | {"label", "attributes", "user", "drop"},
    "npz": _COMMON | {"args"},
    "function": _COMMON | {"args"},
}
"""Kind of source to the keys of `data` it uses."""

SOURCE_FORMS = (
    *(f"sklearn:{name}" for name in SKLEARN_SETS),
    "torchvision:NAME",
    "csv:PATH",
    "npz:PATH",
    *FUNCTION_FORMS,
)


def source_kind(source: str) -> str | None:
    """Kind of a data source: `sklearn`, `torchvision`, `csv`, `npz`, `function`; None for anything else."""
    scheme, _, rest = source.partition(":")
    if scheme in _USES and scheme != "function":
        return scheme if rest else None
    # `folder:images` reads like a function of a module, but is the name of a source that a later version may have.
    return "function" if scheme not in ("parquet", "folder") and is_function(source) else None


class DataSpec(Part):
    """The records, and which of them the model is trained on. A key that the chosen source does not use is an error."""

    source: Text
    """Where the records come from: `sklearn:digits|iris|wine|breast_cancer`, `torchvision:NAME`, `csv:PATH`,
    `npz:PATH`, `file.py:function` or `package.module:function`. Paths are relative to the spec."""
    held_out: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Share of the records kept out of training; not used when an index file names the split."""
    seed: Seed = 0
    """Seed of the split into members and held-out records; not used when both index files are given."""
    members: Path | None = None
    """File with the indices of the records trained on: `.npy`, or text with one whole number a line. Without it, all
    that are not in `non_members`, if that is given."""
    non_members: Path | None = None
    """File with the indices of the held-out records. Without it, all that are not in `members`, if that is given."""
    root: Path | None = None
    """Folder with the files of a torchvision set (default `${PTAUDIT_DATA:-data}`)."""
    download: Flag = False
    """Whether torchvision may download the set into `root`."""
    part: Literal["train", "test"] = "train"
    """Which part of a torchvision set is used."""
    label: Text | None = None
    """Column of a csv file that the model predicts."""
    attributes: list[Text] = Field(default_factory=list)
    """Columns of a csv file that an adversary may be after."""
    user: Text | None = None
    """Column of a csv file that says whose record it is; it is not an input of the model."""
    drop: list[Text] = Field(default_factory=list)
    """Columns of a csv file to leave out."""
    limit: Count | None = None
    """Use only the first `limit` records."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function; for npz, `{inputs: NAME, targets: NAME}` of the arrays."""

    @property
    def kind(self) -> str:
        """Kind of the source: `sklearn`, `torchvision`, `csv`, `npz` or `function`."""
        kind = source_kind(self.source)
        assert kind is not None, "the validator lets no other source pass"
        return kind

    def idle(self) -> Mapping[str, str]:
        """Keys that the source, or a split given by index files, does not use."""
        idle = dict.fromkeys(sorted(set(type(self).model_fields) - _USES[self.kind]), f"source `{self.source}`")
        given = [name for name in ("members", "non_members") if getattr(self, name) is not None]
        if given:
            keys = ("held_out", "seed") if len(given) == 2 else ("held_out",)
            idle |= dict.fromkeys(keys, f"a split that `{given[0]}` names")
        return idle

    @field_validator("source")
    @classmethod
    def _source_is_known(cls, source: str) -> str:
        kind = source_kind(source)
        if kind is None:
            raise fault(f"unknown data source `{source}`", remedy="known: " + ", ".join(SOURCE_FORMS))
        name = source.partition(":")[2]
        if kind == "sklearn" and name not in SKLEARN_SETS:
            raise fault(f"unknown scikit-learn set `{name}`", remedy=nearest(name, SKLEARN_SETS))
        return source

    @model_validator(mode="after")
    def _parts_fit(self) -> DataSpec:
        if self.kind == "csv" and self.label is None:
            raise fault("a csv source needs `label`", remedy="name the column that the model predicts")
        for role, name in self.args.items() if self.kind == "npz" else ():
            if role not in ("inputs", "targets") or not isinstance(name, str):
                remedy = "args of a npz source: {inputs: NAME, targets: NAME}"
                raise fault(f"`{role}: {name}` names no array", at=("args", role), remedy=remedy)
        return self
