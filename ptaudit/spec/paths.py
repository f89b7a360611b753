"""Paths of a spec: environment variables put in, relative to the spec's folder, and there."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptaudit.spec.data import PREPROCESS_WORDS, SOURCE_FORMS
from ptaudit.spec.document import Loc, YamlDocument
from ptaudit.spec.entry import absolute, exists, is_function, parse_entry

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

DATA_FOLDER = "${PTAUDIT_DATA:-data}"
"""Where data that are not part of a project are looked for."""

_ENTRIES: tuple[Loc, ...] = (("model", "entry"), ("data", "source"), ("data", "augment"), ("train", "loss"))
_OF_DATA = ("members", "non_members", "root", "table", "preprocess")
_FILES: tuple[Loc, ...] = (*(("data", key) for key in _OF_DATA), ("fleet", "folder"))
_PATTERN: Loc = ("replay", "checkpoints")
_FILE_SOURCES = ("csv", "parquet", "npz")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class SpecProblem:
    """One thing that is wrong with a spec: the value's location, what is wrong, and what to do."""

    loc: Loc
    what: str
    remedy: str | None = None


class _UnsetError(Exception):
    """A variable that the environment does not have."""


def expand(text: str) -> str:
    """Put environment variables in: `${VAR}`, or `${VAR:-default}` where it may be unset or empty.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        return os.environ[name] if default is None else os.environ.get(name) or default

    return _VARIABLE.sub(value, text)


def resolve_paths(document: YamlDocument, base: Path) -> list[SpecProblem]:
    """Make every path of a document absolute, in place; returns what could not be."""
    data = document.values.get("data")
    if isinstance(data, dict) and str(data.get("source")).startswith("torchvision:"):
        data["root"] = data.get("root") or DATA_FOLDER
    problems = []
    for section, key in (*_ENTRIES, *_FILES, _PATTERN):
        holder = document.values.get(section)
        text = holder.get(key) if isinstance(holder, dict) else None
        if not isinstance(text, str) or not text or (key == "preprocess" and text in PREPROCESS_WORDS):
            continue
        try:
            expanded = expand(text)
        except KeyError as error:
            name = error.args[0]
            remedy = f"set it, or write ${{{name}:-default}}"
            problems.append(SpecProblem((section, key), f"the environment variable {name} is not set", remedy))
            continue
        if (section, key) == _PATTERN:
            holder[key] = str(absolute(expanded, Path(glob.escape(str(base.absolute())))))
        else:
            holder[key] = str(absolute(expanded, base)) if (section, key) in _FILES else _absolute_entry(expanded, base)
    return problems


def _absolute_entry(text: str, base: Path) -> str:
    scheme, _, rest = text.partition(":")
    if scheme in (*_FILE_SOURCES, "folder") and rest:
        return f"{scheme}:{absolute(rest, base)}"
    if is_function(text):
        entry = parse_entry(text, base)
        return f"{entry.target}:{entry.attribute}"
    return text


def find_missing(spec: Spec) -> Iterator[SpecProblem]:
    """What the spec names and the disk or the Python path does not have."""
    yield from _missing_entry(("model", "entry"), spec.model.entry, "model")
    yield from _missing_entry(("train", "loss"), spec.train.loss, "loss")
    if spec.data.kind == "function":
        yield from _missing_entry(("data", "source"), spec.data.source, "data")
    if isinstance(spec.data.augment, str):
        yield from _missing_entry(("data", "augment"), spec.data.augment, "augmentation")
    if spec.data.kind in _FILE_SOURCES:
        yield from _missing_file(("data", "source"), Path(spec.data.source.partition(":")[2]), "data file")
    folder = Path(spec.data.source.partition(":")[2])
    if spec.data.kind == "folder" and not exists(folder, folder=True):
        yield SpecProblem(("data", "source"), f"data folder not found: {folder}", _HOW_TO_PLACE)
    files = (("members", "index file"), ("non_members", "index file"), ("table", "table"))
    named = [*((key, getattr(spec.data, key), what) for key, what in files),
             ("preprocess", spec.data.preprocess_file, "file of the preprocessing")]  # fmt: skip
    for key, path, what in named:
        if path is not None:
            yield from _missing_file(("data", key), path, what)
    root = spec.data.root
    if (
        spec.data.kind == "torchvision"
        and root is not None
        and not spec.data.download
        and not exists(root, folder=True)
    ):
        yield SpecProblem(("data", "root"), f"data folder not found: {root}", f"{_HOW_TO_PLACE}, or set download: true")


_HOW_TO_PLACE = (
    f"put it there, or name its place, e.g. {DATA_FOLDER}, and set PTAUDIT_DATA to the folder with your data"
)


def _missing_file(loc: Loc, path: Path, what: str) -> Iterator[SpecProblem]:
    if not exists(path):
        yield SpecProblem(loc, f"{what} not found: {path}", _HOW_TO_PLACE)


def _missing_entry(loc: Loc, text: str, what: str) -> Iterator[SpecProblem]:
    if not is_function(text):
        return
    entry = parse_entry(text, Path.cwd())
    if entry.kind == "file" and not exists(entry.target):
        yield SpecProblem(loc, f"{what} file not found: {entry.target}", "paths are relative to the spec")
    package = entry.target.partition(".")[0]
    # Only the top package: looking further down would import it, and with it torch.
    if entry.kind == "module" and package not in sys.modules and importlib.util.find_spec(package) is None:
        known = f"; a data source is one of {', '.join(SOURCE_FORMS)}" if what == "data" else ""
        yield SpecProblem(
            loc, f"no module named `{package}`", f"install it, add its folder to PYTHONPATH, or name its file{known}"
        )
