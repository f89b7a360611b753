# ruff: noqa: E501 - a table is easier to read with one row in a line
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.entry import Entry, parse_entry


def test_the_three_forms(tmp_path: Path) -> None:
    assert parse_entry("nets/a.py:make", tmp_path) == Entry("file", f"{tmp_path}/nets/a.py", "make")
    assert parse_entry("../a.py:make", tmp_path) == Entry("file", f"{tmp_path.parent}/a.py", "make")
    assert parse_entry("/abs/a.py:make", tmp_path) == Entry("file", "/abs/a.py", "make")
    assert parse_entry("pkg.nets:make", tmp_path) == Entry("module", "pkg.nets", "make")
    assert parse_entry("torchvision:resnet18", tmp_path) == Entry("torchvision", "torchvision.models", "resnet18")


@pytest.mark.parametrize("text", ["a.py", "a.py:", ":make", "a.py:not valid", "a b:make", "a.txt:1x", "dir/a:make", ""])
def test_other_forms_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="names no function"):
        parse_entry(text, tmp_path)


def load(folder: Path, text: str, code: str) -> object:
    (folder / "user.py").write_text(code)
    return parse_entry(text, folder).load()


def test_function_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n")
    code = "from neighbour import VALUE\ndef make(x):\n    return x + VALUE\n"
    before = list(sys.path)
    make = load(tmp_path, "user.py:make", code)
    assert callable(make)
    assert make(1) == 8
    assert sys.path == before


def test_the_file_is_read_anew(tmp_path: Path) -> None:
    first = load(tmp_path, "user.py:make", "def make():\n    return 1\n")
    second = load(tmp_path, "user.py:make", "def make():\n    return 'changed'\n")
    assert callable(first)
    assert callable(second)
    assert (first(), second()) == (1, "changed")


def test_dataclasses_in_a_file_work(tmp_path: Path) -> None:
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Make:\n    x: int\n"
    )
    make = load(tmp_path, "user.py:Make", code)
    assert callable(make)
    assert make(3).x == 3


def test_function_of_a_module(tmp_path: Path) -> None:
    import statistics

    assert parse_entry("statistics:mean", tmp_path).load() is statistics.mean


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("user.py:make_nett", "def make_net(): ...\n", "{}/user.py: no function `make_nett` here (did you mean `make_net`?)"),
        ("user.py:qqqq", "def make_net(): ...\n", "{}/user.py: no function `qqqq` here (define it, or name another function)"),
        ("user.py:X", "X = 3\n", "{}/user.py: `X` is int, not a function"),
        ("gone.py:make", "", "{}/gone.py: no such file"),
        ("user.py:make", "x = 1\ndef make(:\n", "{}/user.py:2: invalid Python: "),
        ("user.py:make", "\n\nraise ValueError('no luck')\n", "{}/user.py:3: importing it raised ValueError: no luck"),
        ("user.py:make", "import sys\nsys.exit(0)\n", "{}/user.py:2: importing it raised SystemExit: 0"),
        ("user.py:make", "import no_such_thing\n", "{}/user.py:1: importing it raised ModuleNotFoundError: No module named 'no_such"),
        ("no_such_package.nets:make", "", "no_such_package.nets: no module named `no_such_package` (install it,"),
        ("statistics:maen", "", "statistics: no function `maen` here (did you mean `mean`"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(tmp_path: Path, text: str, code: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text, code)
    assert str(caught.value).startswith(expected.replace("{}", str(tmp_path)))


def test_models_of_torchvision(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    assert parse_entry("torchvision:resnet18", tmp_path).load() is models.resnet18
    with pytest.raises(SpecError, match=r"no function `resnet81` here \(did you mean .*`resnet18`"):
        parse_entry("torchvision:resnet81", tmp_path).load()
