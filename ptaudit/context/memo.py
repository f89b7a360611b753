"""What is computed once and asked for again: a memo with one owner, whose entries have the types of their keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Key(Generic[T]):
    """A kind of entry; `T` is the type of its values."""

    name: str


class Memo:
    """Entries by kind and by what they are about. It belongs to one epoch or one audit and is never shared."""

    def __init__(self) -> None:
        self._found: dict[tuple[Key[Any], Hashable], Any] = {}

    def once(self, key: Key[T], about: Hashable, make: Callable[[], T]) -> T:
        """The entry, made where it is not there yet."""
        if (key, about) not in self._found:
            self._found[key, about] = make()
        found: T = self._found[key, about]
        return found

    def get(self, key: Key[T], about: Hashable) -> T | None:
        """The entry, or None."""
        found: T | None = self._found.get((key, about))
        return found

    def put(self, key: Key[T], about: Hashable, value: T) -> None:
        """Keep an entry."""
        self._found[key, about] = value

    def all(self, key: Key[T]) -> list[T]:
        """All entries of a kind, in the order in which they were made."""
        return [value for (kind, _), value in self._found.items() if kind == key]
