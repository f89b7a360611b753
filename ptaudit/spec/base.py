"""What all parts of the spec share: strict numbers, choices between shapes, keys that must not be ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Whole = Annotated[int, Strict()]
"""A whole number; neither `true` nor `"3"` nor `3.0` passes for one."""

Count = Annotated[int, Strict(), Field(ge=1)]
Seed = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
Flag = Annotated[bool, Strict()]

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""A finite number; whole ones pass, text and booleans do not."""

Text = Annotated[str, StringConstraints(min_length=1)]

Label = Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*$", max_length=100)]
"""A name that is safe as a folder and in a table: letters, digits, `_`, and inside also `-` and `.`."""

FAULT = "fault"
"""Error type of `fault`, by which `ptaudit.spec.explain` knows it."""


def fault(what: str, *, at: tuple[str | int, ...] = (), remedy: str | None = None) -> PydanticCustomError:
    """Error of a check that pydantic has no word for.

    Args:
        what: what is wrong, in words.
        at: keys and indices from the checked part down to the value at fault.
        remedy: what to do about it.
    """
    return PydanticCustomError(FAULT, "{what}", {"what": what, "at": at, "remedy": remedy})


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one is likely to mean."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.5)), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """Advice for a misspelt word: the closest known one, or all that are known."""
    known = list(known)
    close = closest(word, known)
    return "known: " + ", ".join(known) if close is None else f"did you mean `{close}`?"


def name_tag(value: Any) -> str | None:
    """The tag of the member of a union whose parts are told apart by their `name`."""
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return f"<{name}>" if isinstance(name, str) else None


def by_name(
    value: Any, parts: Mapping[str, type[Part]], noun: str, of: str = "", hints: Mapping[str, str] | None = None
) -> Any:
    """Refuses a part with an unknown name, and keys of other parts by the name of this one; else the value.

    Args:
        value: what the spec says.
        parts: the parts by their names.
        noun: what they are.
        of: what they belong to, with a space before, for the error.
        hints: remedies for some unknown names.
    """
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        return value
    if name not in parts:
        remedy = (hints or {}).get(name) or nearest(name, parts)
        raise fault(f"unknown {noun} `{name}`{of}", at=("name",), remedy=remedy)
    for key in value:
        if key not in parts[name].model_fields and any(key in other.model_fields for other in parts.values()):
            raise fault(f"`{key}` is not used by {noun} `{name}`", at=(key,), remedy="remove it")
    return value


def choice(expected: str, *words: str) -> Discriminator:
    """Tells a union's shapes apart by the YAML type, so that an error speaks of the shape that was meant.

    The members of the union are tagged `<text>`, which is one of `words`, `<number>`, `<list>` and `<map>`; the tags
    appear in the locations of errors.

    Args:
        expected: the shapes in words, for the error.
        words: the texts allowed.
    """

    def shape(value: Any) -> str | None:
        if isinstance(value, str):
            return "<text>" if value in words else None
        if isinstance(value, list | tuple):
            return "<list>"
        if isinstance(value, Mapping | Part):
            return "<map>"
        return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else None

    return Discriminator(shape, custom_error_type="choice", custom_error_message=expected)


def unique(
    values: Iterable[Any], what: str, locate: Callable[[int], tuple[str | int, ...]], remedy: str = "each must differ"
) -> None:
    """Raises a fault at the first value that occurred before.

    Args:
        values: what must differ.
        what: what the values are, in words.
        locate: from the index of a value to its place.
        remedy: what to do.
    """
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            raise fault(f"{what} `{value}` is used twice", at=locate(index), remedy=remedy)
        seen.add(value)


class OrList:
    """For the JSON Schema: a value, or a list of values each of which makes an entry of its own."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        one = handler(core)
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


class Part(BaseModel):
    """A part of the spec: frozen, without unknown keys, and without keys that would be accepted and then ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def idle(self) -> Mapping[str, str]:
        """Fields that the other fields make meaningless, each with what it is that does not use them."""
        return {}

    @model_validator(mode="after")
    def _refuse_idle(self) -> Part:
        for name, user in self.idle().items():
            if name in self.model_fields_set and getattr(self, name) is not None:
                raise fault(f"`{name}` is not used by {user}", at=(name,), remedy="remove it")
        return self

    def plain(self) -> dict[str, Any]:
        """What a spec file would say: dictionaries, lists and scalars, without idle keys and those that are None."""
        idle = self.idle()
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in idle}
        return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.plain()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
