"""Run folders that something happened to: what a disk, an editor, a spreadsheet or somebody may do to each file."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from fuzz_case import BASES, ODD, places
from hypothesis import strategies as st

Damage = Callable[[st.DrawFn, Path], None]
CELLS = ["", " ", "x", "-1", "nan", "inf", "-inf", "1e999", "1e-320", "0x10", "1_0", "１", "-0", "9" * 400, "9" * 19]
CELLS += ["=1+1", "'=1", "'", "\\", "\\x1b", "\\ud800", "\x1b]0;x\x07", "\u202e", '"', '""', "a\nb", "\x00", "*", "@a"]
CELLS += ["ok", " inconclusive", "inconclusive", "inconclusive: ", "not captured: unused", "bits", "static", "none"]
JSON_VALUES = [
    *ODD,
    10**400,
    1e308,
    -1e308,
    2**63,
    -(2**70),
    "x" * 5000,
    [[[[]]]],
    {"a": {"b": [None]}},
    [None, 1, "a"],
]
BYTES = [
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xe9",
    b"\x80" * 9,
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\x1b[2J",
    b"\x85",
    b'"',
    b",",
]


def _missing(draw: st.DrawFn, path: Path) -> None:
    path.unlink()


def _empty(draw: st.DrawFn, path: Path) -> None:
    path.write_bytes(b"")


def _cut(draw: st.DrawFn, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw(st.integers(0, len(content)))])


def _tail(draw: st.DrawFn, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[draw(st.integers(0, len(content))) :])


def _flip(draw: st.DrawFn, path: Path) -> None:
    content = bytearray(path.read_bytes() or b" ")
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    path.write_bytes(content)


def _insert(draw: st.DrawFn, path: Path) -> None:
    content = path.read_bytes()
    at = draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + draw(st.sampled_from(BYTES)) + content[at:])


def _noise(draw: st.DrawFn, path: Path) -> None:
    path.write_bytes(draw(st.binary(max_size=200)))


def _zeros(draw: st.DrawFn, path: Path) -> None:
    path.write_bytes(b"\0" * max(1, path.stat().st_size))  # what is left after a power failure


def _twice(draw: st.DrawFn, path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _conflict(draw: st.DrawFn, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"<<<<<<< HEAD\n" + content + b"=======\n" + content[: len(content) // 2] + b">>>>>>> main\n")


def _pointer(draw: st.DrawFn, path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


def _coded(draw: st.DrawFn, path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    coding = draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "latin-1"]))
    path.write_bytes(text.encode(coding, "replace") + (b"\xe9\xff" if coding == "latin-1" else b""))


def _line_ends(draw: st.DrawFn, path: Path) -> None:
    path.write_bytes(
        path.read_bytes().replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b" ", b"\x00\n"])))
    )


def _folder(draw: st.DrawFn, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _circle(draw: st.DrawFn, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(draw: st.DrawFn, path: Path) -> None:
    path.unlink()
    path.symlink_to(draw(st.sampled_from(["gone", "/dev/null", "/", "a" * 200])))


def _pipe(draw: st.DrawFn, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _shut(draw: st.DrawFn, path: Path) -> None:
    path.chmod(0)


def _swapped(draw: st.DrawFn, path: Path) -> None:
    others = sorted(other for other in path.parent.iterdir() if other.is_file())
    path.write_bytes(draw(st.sampled_from(others)).read_bytes())


def _in_csv(draw: st.DrawFn, path: Path) -> None:
    """A cell, a line or a column of a table is changed; of any other file, its text as if it were one."""
    table = [line.split(",") for line in path.read_bytes().decode("utf-8", "replace").split("\n")]
    for _ in range(draw(st.integers(1, 3))):
        row, cell = draw(st.integers(0, len(table) - 1)), draw(st.sampled_from(CELLS))
        column = draw(st.integers(0, max(0, len(table[0]) - 1)))
        change = draw(st.sampled_from(["cell"] * 6 + ["column", "drop", "add", "line", "twice", "header", "swap"]))
        if change == "cell" and column < len(table[row]):
            table[row][column] = cell
        elif change == "column":
            table = [table[0], *([*line[:column], cell, *line[column + 1 :]] for line in table[1:])]
        elif change == "drop":
            table = [[*line[:column], *line[column + 1 :]] for line in table]
        elif change == "add":
            table = [
                [*line, draw(st.sampled_from(["extra", *table[0][column : column + 1]])) if k == 0 else cell]
                for k, line in enumerate(table)
            ]
        elif change == "line":
            table.insert(row, draw(st.sampled_from([[], [cell], table[row], ["x"] * 99, [cell] * len(table[0])])))
        elif change == "twice":
            table.append(table[row])
        elif change == "header":
            table[0] = [*table[0][:column], cell, *table[0][column + 1 :]]
        elif change == "swap":
            table[row], table[0] = table[0], table[row]
    path.write_bytes("\n".join(",".join(line) for line in table).encode("utf-8", "surrogatepass"))


def _in_values(draw: st.DrawFn, path: Path) -> None:
    """Values of a JSON or YAML file are replaced, left out or renamed; other files become such a file."""
    read = {".json": json.loads, ".yaml": yaml.safe_load}.get(path.suffix)
    content: Any = read(path.read_text()) if read else [path.name]
    for _ in range(draw(st.integers(1, 3))):
        known = places(content)
        if not known or draw(st.integers(0, 19)) == 7:
            content = copy.deepcopy(draw(st.sampled_from(JSON_VALUES)))
            continue
        *parents, last = draw(st.sampled_from(known))
        holder: Any = content
        for key in parents:
            holder = holder[key]
        change = draw(st.sampled_from(["set", "set", "set", "drop", "rename", "cell"]))
        if change == "drop":
            del holder[last]
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x", "name", "seeds", "epoch", "status"]))] = holder.pop(last)
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(JSON_VALUES if change == "set" else CELLS)))
    text = yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _deep(draw: st.DrawFn, path: Path) -> None:
    path.write_text(
        draw(st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "- " * 5000, "[" * 900 + "]" * 900, "9" * 5000]))
    )


KINDS: tuple[Damage, ...] = (
    _missing, _empty, _cut, _tail, _flip, _insert, _noise, _zeros, _twice, _conflict, _pointer, _coded, _line_ends,
    _folder, _circle, _dangling, _pipe, _shut, _swapped, _deep, *[_in_csv] * 8, *[_in_values] * 8,
)  # fmt: skip


def rich_spec() -> dict[str, Any]:
    """A spec whose run writes every file that a run folder can have."""
    spec = copy.deepcopy(BASES[1])
    spec["train"] = {**{key: value for key, value in spec["train"].items() if key != "seed"}, "seeds": [0, 1]}
    games = ["identity", "attribute", "membership", "localisation", "uniqueness"]
    spec["audit"] = {**spec["audit"], "records": 30, "epochs": [1], "live": {"budget": 0.5}, "games": games}
    return {**spec, "defenses": [{"name": "prune", "ratio": 0.5}]}


def files_of(folder: Path) -> list[Path]:
    """What may be damaged."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@st.composite
def damaged(draw: st.DrawFn, whole: Path, folder: Path) -> str:
    """Makes `folder` a copy of a whole one with one or two files damaged.

    Returns:
        What was done.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    done = []
    for path in draw(st.lists(st.sampled_from(files_of(folder)), min_size=1, max_size=2, unique=True)):
        kind = draw(st.sampled_from(KINDS))
        kind(draw, path)
        done.append(f"{kind.__name__} {path.relative_to(folder)}")
    return ", ".join(done)
