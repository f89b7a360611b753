"""What a room of the package registers by name, and specs ask for: parts told apart by their `name`, or names alone."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from ptaudit.spec.base import Part, by_name, fault, name_tag

if TYPE_CHECKING:
    from ptaudit.spec.defenses import DefenseSpec
    from ptaudit.spec.game import GameSpec

P = TypeVar("P", bound=Part)


class Registry(Mapping[str, type[P]], Generic[P]):
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

    def __getitem__(self, name: str) -> type[P]:
        return self.classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __hash__(self) -> int:
        return id(self)

    @property
    def classes(self) -> dict[str, type[P]]:
        """The classes by their names, in the order in which they were registered."""
        importlib.import_module(self._room)
        return self._classes

    @property
    def readable(self) -> dict[str, type[P]]:
        """Those that a value may name."""
        return self.classes

    def register(self, part: type[P]) -> str:
        """Take a class in, by the name that is the one value of its field `name`."""
        (name,) = get_args(part.model_fields["name"].annotation)
        self._classes[name] = part
        return str(name)

    def forget(self, name: str) -> None:
        """Take a class out again."""
        del self._classes[name]

    def read(self, value: Any) -> P:
        """What a value says, as the class that its name calls for.

        Raises:
            ValidationError: a setting is wrong.
            PydanticCustomError: it names nothing that is known.
        """
        classes = self.readable
        by_name(value, classes, self._noun, self._of, self.hints)
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        if not isinstance(name, str) or name not in classes:
            raise PydanticCustomError("choice", self.expected)
        return classes[name].model_validate(value)

    @property
    def expected(self) -> Any:
        """What is to be written."""
        return f"{{name: ...}} with the name of a {self._noun}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        parts = {name: _referred(part) for name, part in self.readable.items()}
        return handler(core_schema.tagged_union_schema(parts, name_tag))


class GameRegistry(Registry["GameSpec"]):
    """Games: a bare name will do, and some are asked for by another part of the spec than `audit.games`."""

    @property
    def readable(self) -> dict[str, type[GameSpec]]:
        """Those that `audit.games` may name."""
        return {name: game for name, game in self.classes.items() if not game.of_part}

    @property
    def expected(self) -> Any:
        """What is to be written."""
        return "the name of a game, or {name: ...}"

    def read(self, value: Any) -> GameSpec:
        """A game with its settings, or by name alone; see `Registry.read`."""
        value = {"name": value} if isinstance(value, str) else value
        name = value.get("name") if isinstance(value, Mapping) else None
        if isinstance(name, str) and name in self and (part := self[name].of_part):
            raise fault(f"`{name}` is played where the spec has `{part}`", at=("name",), remedy=f"add {part}: {{...}}")
        return super().read(value)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        one = super().__get_pydantic_json_schema__(core, handler)
        return {"anyOf": [{"type": "string", "enum": list(self.readable)}, one]}


@dataclass(frozen=True, eq=False)
class NameIn:
    """Annotation of a text that is one of the names of a registry: `Annotated[str, NameIn(registry)]`."""

    names: Mapping[str, object]

    def read(self, value: Any) -> str:
        """The name itself.

        Raises:
            PydanticKnownError: it is not there.
        """
        if not isinstance(value, str) or value not in self.names:
            *others, last = map(repr, self.names)
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core_schema.literal_schema(list(self.names)))


def _referred(part: type[Part]) -> CoreSchema:
    """The core schema of a class, by which the JSON Schema defines it once and refers to it."""
    ref = f"{part.__module__}.{part.__qualname__}:{id(part)}"
    return cast(CoreSchema, {**part.__pydantic_core_schema__, "ref": ref})


DEFENSES: Registry[DefenseSpec] = Registry("ptaudit.defenses", "defense")
"""Defenses of views, and of the list `defenses`."""

TRAIN_DEFENSES: Registry[DefenseSpec] = Registry("ptaudit.defenses", "defense", " of the training")
"""Defenses of the training."""

GAMES = GameRegistry("ptaudit.games.registry", "game")
"""Leakage games."""
