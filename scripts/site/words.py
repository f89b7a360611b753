"""JSON Schema and values in words, and Markdown tables of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; line breaks and bars inside cells do not break it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def code(text: object) -> str:
    """As code."""
    return f"`{text}`"


def codes(texts: Iterable[object]) -> str:
    """Several as code, with commas."""
    return ", ".join(map(code, texts))


def settings(schema: Schema, links: Mapping[str, str] | None = None, left_out: Sequence[str] = ("name",)) -> str:
    """A table of the keys of a part: type, default, meaning.

    Args:
        schema: JSON Schema of an object.
        links: Markdown for the parts it refers to, by the names of their definitions.
        left_out: keys that are told elsewhere.
    """
    required = schema.get("required", ())
    rows = [
        (code(key), kind(one, links or {}), default(one, key in required), one.get("description", ""))
        for key, one in schema.get("properties", {}).items()
        if key not in left_out
    ]
    return table(("key", "type", "default", "meaning"), rows) if rows else "No settings."


def kind(schema: Schema, links: Mapping[str, str]) -> str:
    """The type of a value in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return links.get(name, code(name))
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return " or ".join(map(code, schema["enum"]))
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(kind(one, links) for one in schema[union] if one.get("type") != "null"))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}), links)}"
    if schema.get("type") == "object":
        return "mapping"
    limits = [f"{words} {_number(schema[key])}" for key, words in _LIMITS.items() if key in schema]
    return " ".join([_TYPES.get(str(schema.get("type")), "any value"), ", ".join(limits)]).strip()


def default(schema: Schema, required: bool) -> str:
    """The default of a value, in words."""
    if required:
        return "required"
    value = schema.get("default")
    if value is None:
        return "–"
    return code(value if isinstance(value, str) else json.dumps(value))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def references(schema: Any) -> list[str]:
    """Names of the definitions that a schema refers to, without those that they refer to."""
    if isinstance(schema, Mapping):
        own = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
        return own + [name for value in schema.values() for name in references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in references(value)]
    return []


def attributes(documented: type) -> dict[str, str]:
    """What the docstring of a class says of each attribute."""
    _, _, listed = (documented.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {4,8}(\w+): (.*(?:\n {9,}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
