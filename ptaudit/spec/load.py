"""A spec file to a validated `Spec`, and back to text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ptaudit.errors import JointSpecError, SpecError
from ptaudit.spec.document import MOST_BYTES, Loc, YamlDocument, parse, too_long, write
from ptaudit.spec.explain import explain
from ptaudit.spec.model import Spec
from ptaudit.spec.paths import SpecProblem, find_missing, resolve_paths
from ptaudit.spec.sweep import unfold

_MOST_LINES = 5


def load(path: Path | str, overrides: Sequence[str] = ()) -> Spec:
    """Read, complete and check a spec. Nothing that it names is imported or run.

    Args:
        path: the YAML file. Paths inside it, and inside overrides, are relative to its folder; of a link, to the
            folder of the file that it points to.
        overrides: `a.b.c=value` settings, applied in turn before anything is checked; values are YAML.

    Returns:
        The spec with absolute paths, environment variables put in and defaults filled in.

    Raises:
        SpecError: one line for each error, `file:line: what (remedy)`.
    """
    path = Path(path)
    document = parse(_read(path), str(path))
    if not isinstance(document.values, dict):
        what = "the spec is empty" if document.values is None else "the spec is not a mapping"
        raise SpecError(what, where=document.where(()), remedy="start from the one that `ptaudit init` writes")
    for text in overrides:
        override(document, text)
    unfold(document)
    return _checked(document, resolve_paths(document, path.resolve().parent))


def dump(spec: Spec) -> str:
    """YAML text of a spec with every default written out; loading it gives an equal spec, wherever it is put."""
    return write(spec.plain())


def restore(text: str) -> Spec:
    """The spec that was dumped, here or on another machine.

    Raises:
        SpecError: a file that it names is not here.
    """
    return _checked(parse(text, "spec"), [])


def _checked(document: YamlDocument, problems: list[SpecProblem]) -> Spec:
    try:
        spec = Spec.model_validate(document.values)
    except ValidationError as error:
        raise _spec_error(document, [*problems, *explain(error, document.values)]) from None
    problems = problems or list(find_missing(spec))
    if problems:
        raise _spec_error(document, problems)
    return spec


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)  # of a device, a pipe or a mistake, no more
        if len(content) > MOST_BYTES:
            raise too_long(str(path))
        return content.decode("utf-8")
    except FileNotFoundError:
        raise SpecError("no such file", where=str(path), remedy="`ptaudit init` writes a first spec") from None
    except IsADirectoryError:
        raise SpecError("this is a folder", where=str(path), remedy="name the spec file in it") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text: {error.reason} at byte {error.start}", where=str(path)) from None
    except (OSError, ValueError) as error:  # a name with a zero in it is a ValueError
        raise SpecError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)) from None


def _spec_error(document: YamlDocument, problems: Sequence[SpecProblem]) -> SpecError:
    errors = [SpecError(p.what, where=document.where(p.loc), remedy=p.remedy) for p in problems]
    if len(errors) == 1:
        return errors[0]
    lines = [str(error) for error in errors[:_MOST_LINES]]
    if len(errors) > _MOST_LINES:
        lines.append(f"... and {len(errors) - _MOST_LINES} more")
    return JointSpecError(lines)


def override(document: YamlDocument, text: str) -> None:
    """Set one value of a document, making the mappings on the way that are not there yet.

    Args:
        document: changed in place; the new value's place is the option itself.
        text: `KEY.KEY.INDEX=VALUE`, the value in YAML.

    Raises:
        SpecError: the text has no such form, or the path leads through a value that has no keys.
    """
    path, equals, value = text.partition("=")
    place = f"--set {text}"
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise SpecError("expected KEY.KEY=VALUE", where=place, remedy="for example train.epochs=3")
    below = parse(value, place, numbered=False)
    holder: Any = document.values
    loc: Loc = ()
    for depth, key in enumerate(keys, start=1):
        slot = _slot(holder, key, keys[:depth], place)
        loc = (*loc, slot)
        if depth == len(keys):
            holder[slot] = below.values
        elif isinstance(holder, dict) and holder.get(slot) is None:
            holder[slot] = {}
            document.places[loc] = place
        holder = holder[slot]
    for old in [known for known in document.places if known[: len(loc)] == loc]:
        del document.places[old]
    document.places |= {(*loc, *inner): place for inner in below.places}


def _slot(holder: Any, key: str, path: list[str], place: str) -> str | int:
    """The key of a mapping, or the index into a list."""
    above = ".".join(path[:-1]) or "the spec"
    if isinstance(holder, list):
        if not key.isdecimal() or int(key) >= len(holder):
            remedy = f"count from 0; to change its length, set `{above}` as a whole"
            raise SpecError(f"`{above}` has {len(holder)} entries, none is number `{key}`", where=place, remedy=remedy)
        return int(key)
    if not isinstance(holder, dict):
        remedy = f"set it as a whole: {above}={{{path[-1]}: ...}}"
        raise SpecError(f"`{above}` is `{holder}`, which has no keys", where=place, remedy=remedy)
    return key
