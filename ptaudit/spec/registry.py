"""Parts of the spec that are told apart by their `name`, of the kinds that a room of the package registers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ptaudit.spec.base import Part, by_name, name_tag

if TYPE_CHECKING:
    from ptaudit.spec.defenses import DefenseSpec

P = TypeVar("P", bound=Part)


class Registry(Generic[P]):
    """Classes by the name that a value has to say; as an annotation, `Annotated[P, registry]`, it reads such values.

    The room that registers them is imported when the first value is read, so that nothing in the spec imports it. A
    class that is registered later is read, named in errors and in the JSON Schema like the others.

    Args:
        room: what registers the classes when it is imported.
        noun: what they are, for errors.
        of: what they belong to, with a space before.

    Attributes:
        hints: remedies for some unknown names.
    """

    def __init__(self, room: str, noun: str, of: str = "") -> None:
        self._room, self._noun, self._of = room, noun, of
        self.hints: dict[str, str] = {}
        self._classes: dict[str, type[P]] = {}

    @property
    def classes(self) -> dict[str, type[P]]:
        """The classes by their names, in the order in which they were registered."""
        importlib.import_module(self._room)
        return self._classes

    def register(self, part: type[P]) -> str:
        """Take a class in, by the name that is the one value of its field `name`."""
        (name,) = get_args(part.model_fields["name"].annotation)
        self._classes[name] = part
        return str(name)

    def read(self, value: Any) -> P:
        """What a value says, as the class that its name calls for.

        Raises:
            ValidationError: a setting is wrong.
            PydanticCustomError: it names nothing that is known.
        """
        classes = self.classes
        by_name(value, classes, self._noun, self._of, self.hints)
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        if not isinstance(name, str) or name not in classes:
            raise PydanticCustomError("choice", f"{{name: ...}} with the name of a {self._noun}")
        return classes[name].model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        parts = {name: _referred(part) for name, part in self.classes.items()}
        return handler(core_schema.tagged_union_schema(parts, name_tag))


def _referred(part: type[Part]) -> CoreSchema:
    """The core schema of a class, by which the JSON Schema defines it once and refers to it."""
    ref = f"{part.__module__}.{part.__qualname__}:{id(part)}"
    return cast(CoreSchema, {**part.__pydantic_core_schema__, "ref": ref})


DEFENSES: Registry[DefenseSpec] = Registry("ptaudit.defenses", "defense")
"""Defenses of views, and of the list `defenses`."""

TRAIN_DEFENSES: Registry[DefenseSpec] = Registry("ptaudit.defenses", "defense", " of the training")
"""Defenses of the training."""
