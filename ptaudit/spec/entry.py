"""Entry points: the Python that a spec names, `file.py:function`, `package.module:function` or `torchvision:NAME`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ptaudit.errors import SpecError

ENTRY_MODULES = "ptaudit_entry_"
"""What the modules are called that files of the spec become."""

FUNCTION_FORMS = ("file.py:function", "package.module:function")


@dataclass(frozen=True)
class Entry:
    """A function (or class) in a Python file, an importable module or torchvision's models.

    Attributes:
        kind: where it lives.
        target: absolute path of the file, or name of the module.
        attribute: name of the function.
    """

    kind: Literal["file", "module", "torchvision"]
    target: str
    attribute: str

    def load(self) -> Callable[..., Any]:
        """Import the function; this runs the user's code. A file may import its neighbours by name.

        Raises:
            SpecError: the file or module is not there or fails on import, or has no such function.
        """
        module = _run_file(Path(self.target)) if self.kind == "file" else _import(self.target)
        if not hasattr(module, self.attribute):
            raise SpecError(f"no function `{self.attribute}` here", where=self.target, remedy=self._advice(module))
        function: Callable[..., Any] = getattr(module, self.attribute)
        if not callable(function):
            raise SpecError(f"`{self.attribute}` is {type(function).__name__}, not a function", where=self.target)
        return function

    def _advice(self, module: ModuleType) -> str:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        close = get_close_matches(self.attribute, names, n=3, cutoff=0.5)
        if close:
            return "did you mean " + " or ".join(f"`{name}`" for name in close) + "?"
        return "define it, or name another function"


def is_function(text: str, *, torchvision: bool = False) -> bool:
    """Whether a text has the form of an entry point.

    Args:
        text: what the spec says.
        torchvision: whether `torchvision:NAME` is one too.
    """
    target, _, attribute = text.rpartition(":")
    if not attribute.isidentifier():
        return False
    if target == "torchvision":
        return torchvision
    return _is_file(target) or all(part.isidentifier() for part in target.split("."))


def parse_entry(text: str, base: Path) -> Entry:
    """Read an entry point; nothing is imported.

    Args:
        text: `file.py:function`, `package.module:function` or `torchvision:NAME`.
        base: folder that a relative path of a file starts from.

    Raises:
        SpecError: the text has none of these forms.
    """
    if not is_function(text, torchvision=True):
        known = ", ".join((*FUNCTION_FORMS, "torchvision:NAME"))
        raise SpecError(f"`{text}` names no function", remedy=f"known: {known}")
    target, _, attribute = text.rpartition(":")
    if target == "torchvision":
        return Entry("torchvision", "torchvision.models", attribute)
    if _is_file(target):
        return Entry("file", str(absolute(target, base)), attribute)
    return Entry("module", target, attribute)


def absolute(path: str, base: Path) -> Path:
    """Absolute path without `..`; links stay, for what they point to may have another name and suffix."""
    return Path(os.path.normpath(base.absolute() / Path(path).expanduser()))


def exists(path: Path | str, *, folder: bool = False) -> bool:
    """Whether there is such a file (or folder); one whose name the system does not take is not there."""
    try:
        return Path(path).is_dir() if folder else Path(path).is_file()
    except (OSError, ValueError):
        return False


def _is_file(target: str) -> bool:
    return target.endswith(".py")


def _run_file(path: Path) -> ModuleType:
    name = ENTRY_MODULES + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SpecError("no such file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    with _one_line(str(path)), _neighbours(path.parent):
        # Dataclasses and pickling look their module up by name.
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    with _one_line(name):
        module = importlib.import_module(name)
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """As when a file is run as a script: what lies beside it can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Turns whatever the user's code raises into one line that names the line at fault."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{where}.".startswith(f"{error.name}."):
            remedy = "install it, add its folder to PYTHONPATH, or name its file"
            raise SpecError(f"no module named `{error.name}`", where=where, remedy=remedy) from error
        if isinstance(error, SyntaxError):
            raise SpecError(f"invalid Python: {error.msg}", where=f"{error.filename}:{error.lineno}") from error
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
        place = f"{where}:{lines[-1]}" if lines else where
        raise SpecError(f"importing it raised {type(error).__name__}: {error}", where=place) from error
