"""The Python that decides the tables of a run: the files that a spec names, and what these import from beside them."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from ptaudit.spec.entry import is_function, parse_entry
from ptaudit.spec.model import Spec


def sources(spec: Spec) -> dict[str, str]:
    """SHA-256 of the files of model, loss and augmentation, and of the neighbours they import, by path.

    What data functions return is hashed as data. Installed packages count by their version where a model comes from
    torchvision, else only the files of the package that is named.
    """
    named = [spec.model.entry, spec.train.loss, getattr(spec.data, "augment", None)]
    found: dict[str, str] = {}
    for text in named:
        if not isinstance(text, str) or not is_function(text, torchvision=True):
            continue
        entry = parse_entry(text, Path())
        if entry.kind == "torchvision":
            found["torchvision"] = importlib.metadata.version("torchvision")
        elif entry.kind == "file":
            _collect(Path(entry.target), Path(entry.target).parent, "", found)
        else:
            _collect_module(entry.target, found)
    return found


def _collect_module(name: str, found: dict[str, str]) -> None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # loading it says what is wrong
        return
    if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        path, depth = Path(spec.origin), name.count(".") + (Path(spec.origin).name == "__init__.py")
        _collect(path, path.parents[depth], name.partition(".")[0], found)


def _collect(path: Path, root: Path, package: str, found: dict[str, str]) -> None:
    """Hash a file and what it imports from under `root`; of an installed package nothing but itself."""
    if str(path) in found:
        return
    content = path.read_bytes()
    found[str(path)] = hashlib.sha256(content).hexdigest()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # loading it says what is wrong
        return
    for base, name in _imports(tree, path, root):
        parts = name.split(".")
        if base == root and package not in ("", parts[0]):
            continue
        for depth in range(1, len(parts) + 1):
            place = base.joinpath(*parts[:depth])
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file():
                    _collect(file, root, package, found)


def _imports(tree: ast.AST, path: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The modules that a file imports, each with the folder that its name starts from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((root, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[min(node.level, len(path.parents)) - 1] if node.level else root
            module = f"{node.module}." if node.module else ""
            yield from ((base, f"{module}{alias.name}") for alias in node.names)
