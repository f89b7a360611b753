"""The `data` part of the spec, and the names a source may have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ptaudit.spec.base import Count, Flag, Number, Part, Seed, Text, choice, fault, nearest
from ptaudit.spec.entry import FUNCTION_FORMS, is_function

SKLEARN_SETS = ("digits", "iris", "wine", "breast_cancer")

_COMMON = frozenset({"source", "held_out", "seed", "members", "non_members", "limit", "augment"})
_COLUMNS = frozenset({"attributes", "user", "split_by"})
_TABLE = _COLUMNS | {"label", "drop", "categorical", "rare", "target", "classes", "preprocess"}
_WRITTEN = frozenset({"missing", "encoding", "separator", "decimal", "thousands"})
_PICTURES = frozenset({"resize", "grayscale"})
_USES: dict[str, frozenset[str]] = {
    "sklearn": _COMMON | {"preprocess"},
    "torchvision": _COMMON | _PICTURES | {"root", "download", "part"},
    "csv": _COMMON | _TABLE | _WRITTEN,
    "parquet": _COMMON | _TABLE,
    "npz": _COMMON | _COLUMNS | {"args", "target", "classes"},
    "folder": _COMMON | _PICTURES | {"table"},
    "function": _COMMON | _TABLE | {"args"},
}
"""Kind of source to the keys of `data` it uses; `_FACES` and a `table` add to them."""

_FACES = "torchvision:CelebA"
_PICTURES_OF_DIGITS = "sklearn:digits"

PREPROCESS_WORDS = ("fit", "none")
"""What `preprocess` may say beside the name of a file."""

SOURCE_FORMS = (
    *(f"sklearn:{name}" for name in SKLEARN_SETS),
    "torchvision:NAME",
    "csv:PATH",
    "parquet:PATH",
    "npz:PATH",
    "folder:PATH",
    *FUNCTION_FORMS,
)


def source_kind(source: str) -> str | None:
    """Kind of a data source: the scheme before its colon, or `function`; None for anything else."""
    scheme, _, rest = source.partition(":")
    if scheme in _USES and scheme != "function":
        return scheme if rest else None
    return "function" if is_function(source) else None


class AugmentSpec(Part):
    """Random changes of the pictures or numbers that are trained on, applied in this order."""

    crop: Count | None = None
    """Pictures: add this many black pixels on each side, then cut the old size out at a random place."""
    flip: Flag = False
    """Pictures: mirror left and right, every second time."""
    cutout: Count | None = None
    """Pictures: black out a square of this many pixels a side around a random pixel."""
    noise: Annotated[Number, Field(gt=0)] | None = None
    """Standard deviation of normal noise added to every number."""

    @model_validator(mode="after")
    def _does_something(self) -> AugmentSpec:
        if not (self.crop or self.flip or self.cutout or self.noise):
            raise fault("this changes nothing", remedy="known: " + ", ".join(type(self).model_fields))
        return self


def _text_or_map(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    return "<map>" if isinstance(value, Mapping | Part) else None


class DataSpec(Part):
    """The records, and which of them the model is trained on. A key that the chosen source does not use is an error."""

    source: Text
    """Where the records come from: `sklearn:digits|iris|wine|breast_cancer`, `torchvision:NAME`, `csv:PATH`,
    `parquet:PATH`, `npz:PATH`, `folder:PATH`, `file.py:function` or `package.module:function`. Paths are relative to
    the spec."""
    held_out: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Share of the records kept out of training; not used when an index file names the split."""
    seed: Seed = 0
    """Seed of the split into members and held-out records; not used when both index files are given."""
    split_by: Text | None = None
    """Column whose equal values stay together: all records of a user are members, or all are held out."""
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
    table: Path | None = None
    """Table beside a folder of pictures: its first column names the files, the others are columns for `label`,
    `attributes`, `user`. CSV, or the space-separated text of CelebA's `list_attr_celeba.txt`."""
    resize: (
        Annotated[
            Annotated[Count, Tag("<number>")]
            | Annotated[list[Count], Field(min_length=2, max_length=2), Tag("<list>")],
            choice("a number of pixels or [height, width]"),
        ]
        | None
    ) = None
    """Bring pictures to this size: pixels a side, or `[height, width]`; proportions are not kept."""
    grayscale: Flag = False
    """Turn pictures into one channel of grey."""
    label: Text | None = None
    """Column that the model predicts."""
    attributes: list[Text] = Field(default_factory=list)
    """Columns that an adversary may be after. In a table they are inputs too, unless `drop` names them."""
    user: Text | None = None
    """Column that says whose record it is; it is not an input of the model."""
    drop: list[Text] = Field(default_factory=list)
    """Columns that are not inputs of the model."""
    categorical: list[Text] = Field(default_factory=list)
    """Columns of numbers that are codes of categories."""
    target: Literal["auto", "number"] = "auto"
    """`number`: whole numbers in the label are numbers to predict, not classes."""
    classes: Count | None = None
    """Number of classes, where the labels are codes 0..C-1 of which not all need be there. Left out, the labels that
    are there are numbered in sorted order."""
    missing: list[Text] = Field(default_factory=list)
    """What stands for a missing entry in a table, beside empty cells, for example `["?", "NA"]`."""
    encoding: Text = "utf-8"
    """How the text of a table is encoded, for example `latin-1`."""
    separator: Text = ","
    """What stands between the columns of a table."""
    decimal: Literal[".", ","] = "."
    """The decimal sign of a table."""
    thousands: Text | None = None
    """What stands between the thousands of a table's numbers."""
    rare: Count = 1
    """Categories that fewer members than this have share one column, `other`."""
    preprocess: Text | None = None
    """How the columns of a table become inputs. `fit`: numbers with mean 0 and variance 1, categories one-hot, both as
    the members have them, which is what a training does where nothing is said; `none`: numbers as they stand; or a JSON
    file of means, scales and levels, as the docs have it. With `replay` it must be said: it is that of the training."""
    limit: Count | None = None
    """Use only the first `limit` records; of class folders, as many of each class as there are."""
    augment: (
        Annotated[
            Annotated[AugmentSpec, Tag("<map>")] | Annotated[Text, Tag("<text>")],
            Discriminator(
                _text_or_map,
                custom_error_type="choice",
                custom_error_message="a mapping like {flip: true, crop: 4}, or file.py:function",
            ),
        ]
        | None
    ) = None
    """Random changes of the records while training: `{crop: n, flip: true, cutout: n, noise: x}`, or a function
    (inputs, generator) -> inputs of a batch. The audit reads the records as they are."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function; for npz, `{inputs: NAME, targets: NAME}` of the arrays."""

    @property
    def kind(self) -> str:
        """Kind of the source: `sklearn`, `torchvision`, `csv`, `parquet`, `npz`, `folder` or `function`."""
        kind = source_kind(self.source)
        assert kind is not None, "the validator lets no other source pass"
        return kind

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The columns to keep beside inputs and targets, by the key that names them."""
        single = {"user": self.user, "split_by": self.split_by}
        return {"attributes": tuple(self.attributes), **{key: (name,) for key, name in single.items() if name}}

    @property
    def preprocess_file(self) -> Path | None:
        """The file that says how columns become inputs, if one does."""
        return None if self.preprocess in (None, *PREPROCESS_WORDS) else Path(self.preprocess)

    def idle(self) -> Mapping[str, str]:
        """Keys that the source, or a split given by index files, does not use."""
        used, user = _USES[self.kind], f"source `{self.source}`"
        if self.kind == "folder":
            used, user = (used | _COLUMNS | {"label"}, user) if self.table else (used, f"{user} without `table`")
        if self.source == _FACES:
            used |= _COLUMNS | {"label"}
        if self.source == _PICTURES_OF_DIGITS:
            used -= {"preprocess"}
        idle = dict.fromkeys(sorted(set(type(self).model_fields) - used), user)
        if self.preprocess not in (None, "fit"):
            idle["rare"] = f"`preprocess: {self.preprocess}`, which fits nothing"
        if self.target == "number":
            idle["classes"] = "`target: number`"
        given = [name for name in ("members", "non_members") if getattr(self, name) is not None]
        if given:
            keys = ("held_out", "split_by", "seed") if len(given) == 2 else ("held_out", "split_by")
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

    @field_validator("augment")
    @classmethod
    def _augment_can_be_read(cls, augment: AugmentSpec | str | None) -> AugmentSpec | str | None:
        if isinstance(augment, str) and not is_function(augment):
            known = ", ".join(("{flip: true, crop: 4}", *FUNCTION_FORMS))
            raise fault(f"unknown augmentation `{augment}`", remedy=f"known: {known}")
        return augment

    @model_validator(mode="after")
    def _parts_fit(self) -> DataSpec:
        if (self.kind in ("csv", "parquet") or self.source == _FACES) and self.label is None:
            kind = "CelebA" if self.source == _FACES else f"a {self.kind} source"
            raise fault(f"{kind} needs `label`", remedy="name the column that the model predicts")
        outside = {self.label, self.user, self.split_by, *self.drop}
        for index, name in enumerate(self.categorical):
            if name in outside:
                raise fault(f"column `{name}` is no input", at=("categorical", index), remedy="remove it from the list")
        for role, name in self.args.items() if self.kind == "npz" else ():
            if role not in ("inputs", "targets") or not isinstance(name, str):
                remedy = "args of a npz source: {inputs: NAME, targets: NAME}"
                raise fault(f"`{role}: {name}` names no array", at=("args", role), remedy=remedy)
        return self
