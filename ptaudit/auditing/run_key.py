"""What the tables of a run depend on: settings, code, data, versions."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import ptaudit
from ptaudit.context.session import Session
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.document import parse
from ptaudit.spec.entry import is_function, parse_entry
from ptaudit.spec.load import dump
from ptaudit.spec.model import Spec


def key(session: Session, spec_text: str) -> dict[str, str]:
    """What the tables of a run depend on; a checkpoint with another key is refused with the difference named."""
    return {
        **settings(spec_text),
        **{f"code of {path}": sha for path, sha in sources(session.spec).items()},
        "data": session.records.digest(),
        "split": session.split.digest(),
        "device": session.device.type,
        **{f"checkpoint of epoch {epoch}": sha for epoch, sha in session.checkpoints.items()},
        **versions(),
        **training_versions(session.spec),
    }


def fleet_key(spec: Spec) -> dict[str, str]:
    """What reference models depend on beside their training, the records and the pool, which these tell themselves."""
    own = settings(dump(spec))
    return {
        **{name: value for name, value in own.items() if name.startswith(("model.", "data.augment"))},
        **{f"code of {path}": sha for path, sha in sources(spec).items()},
        **versions(),
        **training_versions(spec),
    }


def settings(spec_text: str) -> dict[str, str]:
    """A resolved spec as `a.b.0.c` and value, so that two can be told apart setting by setting."""
    return dict(_leaves(parse(spec_text, "spec").values, ""))


def _leaves(content: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and content:
        inside = content.items()
    elif isinstance(content, list) and content:
        inside = dict(enumerate(content)).items()
    else:
        yield path, str(content)
        return
    for name, value in inside:
        yield from _leaves(value, f"{path}.{name}" if path else str(name))


def versions() -> dict[str, str]:
    """Versions that decide the tables."""
    return {
        "ptaudit": ptaudit.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
        "numpy": np.__version__,
    }


def training_versions(spec: Spec) -> dict[str, str]:
    """Versions of the optional packages that decide the training."""
    return {package: importlib.metadata.version(package) for package in (spec.train.defense or UNDEFENDED).packages}


def model_digest(spec: Spec) -> str:
    """Hash of the model's source file; of its name where it is an installed module."""
    entry = parse_entry(spec.model.entry, Path())
    return _sha(Path(entry.target).read_bytes() if entry.kind == "file" else spec.model.entry.encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
