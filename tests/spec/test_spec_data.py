"""The keys of `data`: which source uses which, where their files are, and what the schema says of them."""

# ruff: noqa: E501 - a table is easier to read with one row in a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from test_spec_schema import fits

from ptaudit.errors import SpecError
from ptaudit.spec.data import AugmentSpec
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import json_schema

Write = Callable[..., Path]


@pytest.fixture
def data(write: Write, tmp_path: Path) -> Callable[[str], Path]:
    """Writes a spec with this `data` part, beside the files that it may name."""
    (tmp_path / "pictures").mkdir()
    for name in ("t.csv", "t.parquet", "t.npz", "index.txt"):
        (tmp_path / name).write_text("0\n")
    return lambda part: write(
        f"version: 1\nname: small\nmodel: {{entry: net.py:net}}\ntrain: {{epochs: 3}}\ndata: {{{part}}}\n"
    )


ACCEPTED = [
    "source: parquet:t.parquet, label: y, attributes: [a], user: u, drop: [b], split_by: u, categorical: [c], rare: 5",
    "source: csv:t.csv, label: y, split_by: u, categorical: [c], rare: 5",
    "source: folder:pictures, resize: 32, grayscale: true",
    "source: folder:pictures, resize: [32, 24], table: t.csv, label: y, attributes: [a], user: u, split_by: u",
    "source: npz:t.npz, args: {inputs: x}, attributes: [a], user: u, split_by: u",
    "source: net.py:net, label: y, drop: [a], attributes: [b], user: u, split_by: u, categorical: [c], rare: 2",
    "source: torchvision:FashionMNIST, root: pictures, resize: 16, grayscale: true",
    "source: torchvision:CelebA, root: pictures, label: Smiling, attributes: [Male], user: identity, split_by: identity, resize: 64",
    "source: sklearn:digits, augment: {crop: 1, flip: true, cutout: 2, noise: 0.1}",
    "source: sklearn:digits, augment: net.py:net",
]


@pytest.mark.parametrize("part", ACCEPTED)
def test_what_is_accepted_survives_dump_and_fits_the_schema(data: Callable[[str], Path], part: str) -> None:
    path = data(part)
    spec = load(path)
    again = path.with_name("again.yaml")
    again.write_text(dump(spec))
    assert load(again) == spec
    schema = json_schema()
    for file in (path, again):
        assert fits(yaml.safe_load(file.read_text()), schema, schema)


REFUSED = [
    ("source: parquet:t.parquet", "a parquet source needs `label`"),
    ("source: torchvision:CelebA, root: pictures", "CelebA needs `label`"),
    ("source: torchvision:FashionMNIST, root: pictures, label: y", "`label` is not used by source `torchvision:FashionMNIST`"),
    ("source: folder:pictures, label: y", "`label` is not used by source `folder:{}/pictures` without `table`"),
    ("source: folder:pictures, split_by: y", "`split_by` is not used by source"),
    ("source: folder:pictures, drop: [y], table: t.csv", "`drop` is not used by source `folder:{}/pictures`"),
    ("source: npz:t.npz, rare: 3", "`rare` is not used by source"),
    ("source: npz:t.npz, label: y", "`label` is not used by source"),
    ("source: sklearn:digits, resize: 4", "`resize` is not used by source `sklearn:digits`"),
    ("source: csv:t.csv, label: y, grayscale: true", "`grayscale` is not used by source"),
    ("source: csv:t.csv, label: y, split_by: u, members: index.txt", "`split_by` is not used by a split that `members` names"),
    ("source: csv:t.csv, label: y, rare: 0", "`data.rare`: expected at least 1, given 0"),
    ("source: csv:t.csv, label: y, drop: [a], categorical: [b, a]", "column `a` is no input"),
    ("source: folder:pictures, resize: 0", "`data.resize`: expected at least 1, given 0"),
    ("source: folder:pictures, resize: [1, 2, 3]", "`data.resize`: expected a list of at most 2, given a list"),
    ("source: folder:pictures, resize: big", "`data.resize`: expected a number of pixels or [height, width], given the text 'big'"),
    ("source: sklearn:digits, augment: {}", "this changes nothing (known: crop, flip, cutout, noise)"),
    ("source: sklearn:digits, augment: {flip: false}", "this changes nothing"),
    ("source: sklearn:digits, augment: {flp: true}", "unknown key `flp` in `data.augment` (did you mean `flip`?)"),
    ("source: sklearn:digits, augment: {noise: 0}", "`data.augment.noise`: expected a number above 0.0, given 0"),
    ("source: sklearn:digits, augment: {crop: -1}", "`data.augment.crop`: expected at least 1, given -1"),
    ("source: sklearn:digits, augment: [flip]", "`data.augment`: expected a mapping like {{flip: true, crop: 4}}, or file.py:function, given a list"),
    ("source: sklearn:digits, augment: flip", "unknown augmentation `flip` (known: {{flip: true, crop: 4}}, file.py:function"),
    ("source: parquet:gone.parquet, label: y", "data file not found: {}/gone.parquet"),
    ("source: folder:gone", "data folder not found: {}/gone"),
    ("source: folder:t.csv", "data folder not found: {}/t.csv"),
    ("source: folder:pictures, table: gone.csv, label: y", "table not found: {}/gone.csv"),
    ("source: sklearn:digits, augment: gone.py:fn", "augmentation file not found: {}/gone.py"),
    ("source: 'parquet:', label: y", "unknown data source `parquet:`"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "message"), REFUSED)
def test_what_is_refused_is_named_with_its_line(
    data: Callable[[str], Path], tmp_path: Path, part: str, message: str
) -> None:
    path = data(part)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:5: {message.format(tmp_path)}")


@pytest.mark.parametrize(
    "part",
    [
        {"resize": 0},
        {"resize": [1]},
        {"resize": "big"},
        {"grayscale": 1},
        {"rare": 0},
        {"split_by": 3},
        {"augment": {"flp": True}},
        {"augment": {"noise": 0}},
        {"augment": [1]},
    ],
)
def test_the_schema_refuses_it_too(part: dict[str, object]) -> None:
    schema = json_schema()
    values = {
        "version": 1,
        "name": "x",
        "model": {"entry": "net.py:net"},
        "train": {"epochs": 1},
        "data": {"source": "folder:x"},
    }
    assert fits(values, schema, schema)
    assert not fits(values | {"data": {"source": "folder:x"} | part}, schema, schema)


def test_columns_are_listed_by_the_key_that_names_them(data: Callable[[str], Path]) -> None:
    spec = load(data("source: csv:t.csv, label: y, attributes: [a, b], user: u")).data
    assert spec.columns == {"attributes": ("a", "b"), "user": ("u",)}


def test_augmentation_is_a_part_of_its_own(data: Callable[[str], Path]) -> None:
    spec = load(data("source: sklearn:digits, augment: {flip: true, crop: 2}")).data
    assert spec.augment == AugmentSpec(flip=True, crop=2)
