from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptaudit.cli.init import write_template
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import json_schema

Write = Callable[..., Path]
Schema = dict[str, Any]

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def fits(value: Any, schema: Schema, root: Schema) -> bool:
    """The part of JSON Schema that the spec needs, written against the standard and not against pydantic."""
    if "$ref" in schema and not fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root):
        return False
    if "type" in schema and not TYPES[schema["type"]](value):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "anyOf" in schema and not any(fits(value, option, root) for option in schema["anyOf"]):
        return False
    if "allOf" in schema and not all(fits(value, option, root) for option in schema["allOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, option, root) for option in schema["oneOf"]) != 1:
        return False
    if isinstance(value, dict):
        return fits_object(value, schema, root)
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(fits(v, schema.get("items", {}), root) for v in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value) and (
            value > schema.get("exclusiveMinimum", float("-inf"))
        )
    return True


def fits_object(value: dict[str, Any], schema: Schema, root: Schema) -> bool:
    known = schema.get("properties", {})
    if not set(schema.get("required", [])) <= set(value):
        return False
    if schema.get("additionalProperties") is False and not set(value) <= set(known):
        return False
    return all(fits(inner, known.get(key, {}), root) for key, inner in value.items())


def properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for part in (schema, *schema["$defs"].values()):
        for option in (part, *part.get("anyOf", [])):
            yield from option.get("properties", {}).items()


def test_it_is_json_of_the_right_draft() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


def test_every_key_is_described() -> None:
    schema = json_schema()
    found = dict(properties(schema))
    assert {"epochs", "noise_multiplier", "candidates", "max_increase", "every", "betas"} <= set(found)
    for name, part in properties(schema):
        reference = next((option["$ref"] for option in (part, *part.get("allOf", [])) if "$ref" in option), "")
        target = schema["$defs"].get(reference.rpartition("/")[2], {})
        text = part.get("description") or target.get("description", "")
        assert len(text) > 10, name


def test_it_accepts_what_load_accepts(write: Write, tmp_path: Path) -> None:
    schema = json_schema()
    template, _ = write_template(tmp_path / "new")
    for path in (write(), template):
        assert fits(yaml.safe_load(path.read_text()), schema, schema)
        assert fits(yaml.safe_load(dump(load(path))), schema, schema)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("nmae", "x"),
        ("name", 3),
        ("train", {"epochs": 0}),
        ("train", {"epochs": "3"}),
        ("train", {}),
        ("train", {"epochs": 3, "optimizer": {"name": "sdg"}}),
        ("train", {"epochs": 3, "optimizer": {"lr": 0}}),
        ("audit", {"games": ["identiy"]}),
        ("audit", {"games": [{"name": "identity", "candidates": 1}]}),
        ("audit", {"epochs": 5}),
        ("audit", {"epochs": {"evry": 5}}),
    ],
)
def test_it_refuses_what_load_refuses(write: Write, key: str, value: object) -> None:
    schema = json_schema()
    values = yaml.safe_load(write().read_text())
    assert fits(values, schema, schema)
    assert not fits(values | {key: value}, schema, schema)
