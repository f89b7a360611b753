"""Types of the spec that are made from registries: a part that is told apart by its `name`, or a name alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ptaudit.spec.base import Part, by_name, name_tag


@dataclass(frozen=True, eq=False)
class OneOf:
    """Annotation of a field whose value is a part of a registry: `Annotated[Base, OneOf(registry, "game", ...)]`.

    The registry is looked at whenever the model that has the field is built, see `spec.model.rebuild`.

    Attributes:
        parts: gives the parts by name.
        noun: what they are, for errors.
        expected: what is to be written, for errors.
        bare: whether a name alone will do.
        refuse: raises a fault for values that have a better remedy than the names that are known.
    """

    parts: Callable[[], Mapping[str, type[Part]]]
    noun: str
    expected: str
    bare: bool = False
    refuse: Callable[[Mapping[str, Any]], None] | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {f"<{name}>": handler.generate_schema(part) for name, part in self.parts().items()}
        union = core_schema.tagged_union_schema(
            choices, name_tag, custom_error_type="choice", custom_error_message=self.expected
        )
        return core_schema.no_info_before_validator_function(self._whole, union)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        one = handler(core)
        return {"anyOf": [{"type": "string", "enum": list(self.parts())}, one]} if self.bare else one

    def _whole(self, value: Any) -> Any:
        """A bare name as a mapping; refuses unknown names, and keys of other parts."""
        value = {"name": value} if self.bare and isinstance(value, str) else value
        if self.refuse is not None and isinstance(value, Mapping):
            self.refuse(value)
        return by_name(value, self.parts(), self.noun)


@dataclass(frozen=True, eq=False)
class NameIn:
    """Annotation of a text that is a name of a registry: `Annotated[str, NameIn(registry)]`."""

    names: Mapping[str, object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))
