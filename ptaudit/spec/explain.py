"""Pydantic's errors in the words of the spec: one line for each, saying what is expected and what was given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ptaudit.spec.base import FAULT, closest, nearest
from ptaudit.spec.document import Loc
from ptaudit.spec.model import Spec
from ptaudit.spec.paths import SpecProblem
from ptaudit.spec.registry import Registry

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "a path",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} characters",
    "string_unicode": "text that UTF-8 can hold (a path of another encoding is none)",
    "string_pattern_mismatch": "letters, digits, `_`, `-` or `.`, the first a letter, digit or `_`",
    "choice": "{message}",
}
"""Type of an error to what was expected instead."""

_LENGTHS = ("too_short", "too_long")
_UNQUOTED = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?|true|false")
_LONGEST = 60


def explain(error: ValidationError, given: Any) -> list[SpecProblem]:
    """The problems behind a validation error of `Spec`, unknown keys first: a misspelt key is not missing as well.

    Args:
        error: what pydantic found.
        given: what was to be a spec.
    """
    errors = error.errors(include_url=False)
    unknown = [_location(details) for details in errors if details["type"] == "extra_forbidden"]
    known = [_known_keys(loc[:-1], given) for loc in unknown]
    meant = {(*loc[:-1], closest(str(loc[-1]), keys)) for loc, keys in zip(unknown, known)}
    others = [details for details in errors if details["type"] != "extra_forbidden"]
    return [
        *map(_unknown_key, unknown, known),
        *(_problem(details) for details in others if details["type"] != "missing" or _location(details) not in meant),
    ]


def _location(details: ErrorDetails) -> Loc:
    """Keys and indices without the tags of choices; the last part of an unknown key is what the user wrote."""
    loc = details["loc"]
    key = loc[-1:] if details["type"] == "extra_forbidden" else ()
    return (*(part for part in loc[: len(loc) - len(key)] if not str(part).startswith("<")), *key)


def _unknown_key(loc: Loc, known: Sequence[str]) -> SpecProblem:
    inside = f" in `{_dotted(loc[:-1])}`" if loc[:-1] else ""
    return SpecProblem(loc, f"unknown key `{loc[-1]}`{inside}", nearest(str(loc[-1]), known))


def _problem(details: ErrorDetails) -> SpecProblem:
    loc = _location(details)
    context = details.get("ctx", {})
    if details["type"] == FAULT:
        return SpecProblem((*loc, *context["at"]), context["what"], context["remedy"])
    path = _dotted(loc)
    if details["type"] == "missing":
        return SpecProblem(loc, f"`{path}` is missing")
    given = details["input"]
    if details["type"] not in _EXPECTED:
        return SpecProblem(loc, f"`{path}`: {details['msg']}, given {_given(given)}")
    expected = _EXPECTED[details["type"]].format(message=details["msg"], **context)
    said = f"a list of {len(given)}" if details["type"] in _LENGTHS and given else _given(given)
    return SpecProblem(loc, f"`{path}`: expected {expected}, given {said}", _quotes(details["type"], given))


def _quotes(wanted: str, given: Any) -> str | None:
    """Advice for a value that only its quotes, or the lack of them, make the wrong type."""
    if wanted == "string_type" and isinstance(given, bool | int | float):
        return "put it in quotes"
    if wanted in ("int_type", "float_type", "bool_type") and isinstance(given, str):
        return "write it without quotes" if _UNQUOTED.fullmatch(given) else None
    return None


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc)) or "the spec"


def _given(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = repr(value) if len(repr(value)) <= _LONGEST else repr(value)[:_LONGEST] + "..."
    return f"the text {text}" if isinstance(value, str) else text


def _known_keys(loc: Loc, given: Any) -> list[str]:
    """Keys of the part of the spec at a location, of the kind that was asked for there."""
    parts: list[type[BaseModel]] = [Spec]
    for key in loc:
        fields = {name: info for part in parts for name, info in part.model_fields.items()}
        given = _at(given, key)
        name = given.get("name") if isinstance(given, Mapping) else None
        if isinstance(key, str):
            inside = (fields[key].annotation, *fields[key].metadata)
        parts = list(_parts_in(inside, name))
    return list(dict.fromkeys(name for part in parts for name in part.model_fields))


def _at(given: Any, key: int | str) -> Any:
    """What the user wrote there; nothing where a part was read from a shorter form."""
    try:
        return given[key]
    except (LookupError, TypeError):
        return None


def _parts_in(annotation: Any, name: Any) -> Iterator[type[BaseModel]]:
    """The parts that a type, or one of several, may hold; of one with a registry the one of this name, else all."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    inside = annotation if isinstance(annotation, tuple) else get_args(annotation)
    registries = [inner for inner in inside if isinstance(inner, Registry)]
    for registry in registries:
        readable = registry.readable
        yield from [readable[name]] if isinstance(name, str) and name in readable else readable.values()
    for inner in [] if registries else inside:
        yield from _parts_in(inner, name)
