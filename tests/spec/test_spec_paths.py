# ruff: noqa: E501 - a table is easier to read with one row in a line
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.load import load
from ptaudit.spec.paths import expand

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SPEC_SET}/x", "here/x"),
        ("${SPEC_SET:-there}/x", "here/x"),
        ("${SPEC_UNSET:-there}/x", "there/x"),
        ("${SPEC_EMPTY:-there}/x", "there/x"),
        ("${SPEC_UNSET:-}x", "x"),
        ("$SPEC_SET {x} ${SPEC_SET}${SPEC_SET}", "$SPEC_SET {x} herehere"),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setenv("SPEC_SET", "here")
    monkeypatch.setenv("SPEC_EMPTY", "")
    monkeypatch.delenv("SPEC_UNSET", raising=False)
    assert expand(text) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.entry", "${SPEC_UNSET}/net.py:net"),
        ("train.loss", "${SPEC_UNSET}/net.py:net"),
        ("data.source", "npz:${SPEC_UNSET}/a.npz"),
        ("data.members", "${SPEC_UNSET}/a.npy"),
    ],
)
def test_unset_variable_is_named(write: Write, monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    monkeypatch.delenv("SPEC_UNSET", raising=False)
    section, name = key.split(".")
    path = write(extra="").with_name("other.yaml")
    base = {"model": "entry: net.py:net", "data": "source: sklearn:digits", "train": "epochs: 3"}
    if name in ("entry", "source"):
        base[section] = f"{name}: {value}"
    else:
        base[section] += f"\n  {name}: {value}"
    path.write_text("version: 1\nname: x\n" + "".join(f"{part}:\n  {keys}\n" for part, keys in base.items()))
    line = 1 + path.read_text().splitlines().index(f"  {name}: {value}")
    with pytest.raises(SpecError) as caught:
        load(path)
    what = "the environment variable SPEC_UNSET is not set (set it, or write ${SPEC_UNSET:-default})"
    assert str(caught.value) == f"{path}:{line}: {what}"


def source(text: str, more: str = "") -> str:
    return f"version: 1\nname: x\nmodel: {{entry: net.py:net}}\ndata:\n  source: {text}\n{more}train: {{epochs: 3}}\n"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (source("npz:gone/a.npz"), 5, "data file not found: {}/gone/a.npz (put it there, or name its place, e.g. ${PTAUDIT_DATA:-data},"),
        (source("csv:gone.csv", "  label: y\n"), 5, "data file not found: {}/gone.csv"),
        (source("gone.py:records"), 5, "data file not found: {}/gone.py (paths are relative to the spec)"),
        (source("cvs:adult"), 5, "no module named `cvs` (install it, add its folder to PYTHONPATH, or name its file; a data source is one of sklearn:digits"),
        (source("sklearn:iris", "  members: gone.npy\n"), 6, "index file not found: {}/gone.npy"),
        (source("sklearn:iris", "  non_members: gone.npy\n"), 6, "index file not found: {}/gone.npy"),
        (source("torchvision:MNIST", "  root: gone\n"), 6, "data folder not found: {}/gone (put it there,"),
        (source("torchvision:MNIST"), 4, "data folder not found: {}/data (put it there,"),
        (source("sklearn:iris").replace("net.py", "../gone.py"), 3, "model file not found: {up}/gone.py (paths are relative to the spec)"),
        (source("sklearn:iris").replace("net.py", "no_such_package.nets"), 3, "no module named `no_such_package` (install it,"),
        (source("sklearn:iris").replace("epochs: 3", "epochs: 3, loss: gone.py:loss"), 6, "loss file not found: {}/gone.py"),
    ],
)  # fmt: skip
def test_missing_file_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, expected: str
) -> None:
    monkeypatch.delenv("PTAUDIT_DATA", raising=False)
    path = write(text)
    with pytest.raises(SpecError) as caught:
        load(path)
    wanted = expected.replace("{}", str(tmp_path)).replace("{up}", str(tmp_path.parent))
    assert str(caught.value).startswith(f"{path}:{line}: {wanted}")


def test_torchvision_root(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets").mkdir()
    monkeypatch.setenv("PTAUDIT_DATA", "sets")
    assert load(write(source("torchvision:MNIST"))).data.root == tmp_path / "sets"
    path = write(source("torchvision:MNIST", "  root: later\n  download: true\n"))
    assert load(path).data.root == tmp_path / "later"  # not there yet, but may be downloaded to


def test_links_are_not_followed(write: Write, tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("0\n1\n")
    (tmp_path / "members.txt").symlink_to(tmp_path / "blob")
    path = write(source("sklearn:iris", "  members: ./members.txt\n"))
    assert load(path).data.members == tmp_path / "members.txt"


def test_layer_patterns_are_no_paths(write: Write) -> None:
    assert load(write(extra="audit: {layers: ['~/x*', '../y']}\n")).audit.layers == ["~/x*", "../y"]


def test_model_arguments_are_left_alone(write: Write) -> None:
    text = source("sklearn:iris").replace("net.py:net}", "net.py:net, args: {path: '${HOME}/w.pt'}}")
    assert load(write(text)).model.args == {"path": "${HOME}/w.pt"}
