"""YAML text to plain values, with the place of each: what an error about a value points to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from ptaudit.errors import SpecError

Loc = tuple[str | int, ...]
"""Keys and indices from the top of the spec down to a value."""

_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
_TIMESTAMP, _MERGE = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"
MOST_BYTES = 1_000_000
"""More text than any spec has."""

_MOST_VALUES = 20_000
"""More values than any spec has; stops aliases that multiply."""

_DEEPEST = 40
"""Deeper than any spec is."""

_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-3` is a number (as in YAML 1.2) and a date is text."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back unchanged."""


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Outside double quotes these line breaks are written as they are, and folded into a newline on reading.
    style = '"' if any(character in text for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


@dataclass
class YamlDocument:
    """The values of a spec before validation.

    Attributes:
        values: dictionaries, lists and scalars.
        places: for each value, `file:line` or the option that set it.
    """

    values: Any
    places: dict[Loc, str] = field(default_factory=dict)

    def where(self, loc: Loc) -> str:
        """Place of a value, or of the nearest value above it."""
        while loc not in self.places and loc:
            loc = loc[:-1]
        return self.places[loc]


def parse(text: str, name: str, *, numbered: bool = True) -> YamlDocument:
    """Read one YAML document.

    Args:
        text: the YAML.
        name: what errors call it: the path of the file, or an option.
        numbered: whether places have line numbers.

    Raises:
        SpecError: invalid YAML, a key that occurs twice or is not text, a tag beyond plain values; a text that is too
            long, too deep, or has too many values.
    """
    if len(text) > MOST_BYTES:
        raise too_long(name)
    reader = _Reader(name, numbered)
    with reader.yaml_errors():
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            values = None if node is None else reader.read(loader, node, (), node)
        finally:
            loader.dispose()
    reader.places.setdefault((), name)
    return YamlDocument(values, reader.places)


def too_long(name: str) -> SpecError:
    """The error of a text that no spec is as long as."""
    remedy = "lists of records belong into index files, settings of the model into its own code"
    return SpecError(f"more than {MOST_BYTES:,} bytes, which no spec has", where=name, remedy=remedy)


def write(values: Any) -> str:
    """YAML text of plain values, in their order; in ASCII where it would hold characters without a shape."""
    text = _dumped(values, unicode=True)
    return text if text.replace("\n", "").isprintable() else _dumped(values, unicode=False)


def _dumped(values: Any, *, unicode: bool) -> str:
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=120)
    return text


class _Reader:
    """Walks the nodes of a document, noting where each value stands."""

    def __init__(self, name: str, numbered: bool) -> None:
        self.places: dict[Loc, str] = {}
        self._name = name
        self._numbered = numbered
        self._open: set[yaml.Node] = set()
        self._count = 0

    def read(self, loader: _Loader, node: yaml.Node, loc: Loc, mark: yaml.Node) -> Any:
        """Value of a node; `mark` is the node whose line counts as its place (the key, in a mapping)."""
        self._count += 1
        if node in self._open:
            raise SpecError("an alias refers to itself", where=self._place(node), remedy="write the values out")
        if self._count > _MOST_VALUES:
            what = f"more than {_MOST_VALUES:,} values, each alias counted with all that it stands for"
            raise SpecError(what, where=self._place(node), remedy="shorten the lists, or use fewer aliases")
        if len(self._open) > _DEEPEST:
            raise SpecError(f"nested deeper than {_DEEPEST} levels", where=self._place(node), remedy="unfold it")
        if node.tag not in _PLAIN:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise SpecError(f"the tag `{tag}` is not allowed", where=self._place(node), remedy="use plain values")
        self.places[loc] = self._place(mark)
        self._open.add(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(loader, node, loc)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(loader, item, (*loc, i), item) for i, item in enumerate(node.value)]
            return self._scalar(loader, node)
        finally:
            self._open.discard(node)

    def _scalar(self, loader: _Loader, node: yaml.Node) -> Any:
        try:
            return loader.construct_object(node)
        except (ValueError, LookupError) as error:  # what a tag asks for that the text is not
            kind, text = node.tag.rpartition(":")[2], str(node.value)[:40]
            raise SpecError(f"`{text}` is no {kind}", where=self._place(node), remedy="leave the tag out") from error

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", _MERGE):
                name = f"`{key.value}`" if isinstance(key, yaml.ScalarNode) else "that is a mapping or a list"
                raise SpecError(f"the key {name} is not text", where=self._place(key), remedy="put it in quotes")
            if key.value in seen:
                first = seen[key.value].start_mark.line + 1
                raise SpecError(
                    f"the key `{key.value}` occurs twice", where=self._place(key), remedy=f"first in line {first}"
                )
            seen[key.value] = key
        merged: dict[str, Any] = {}  # comes first, so that the mapping's own keys win
        for value in (value for key, value in node.value if key.tag == _MERGE):
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in reversed(parts):  # of several, the first wins
                merged |= self._merged(loader, part, loc)
        own = ((key, value) for key, value in node.value if key.tag != _MERGE)
        return merged | {key.value: self.read(loader, value, (*loc, key.value), key) for key, value in own}

    def _merged(self, loader: _Loader, node: yaml.Node, loc: Loc) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise SpecError(
                "`<<` takes a mapping, or a list of them", where=self._place(node), remedy="write `<<: *name`"
            )
        place = self.places[loc]
        values: dict[str, Any] = self.read(loader, node, loc, node)
        self.places[loc] = place
        return values

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}" if self._numbered else self._name

    @contextmanager
    def yaml_errors(self) -> Iterator[None]:
        """Turns what the YAML library raises into one line."""
        try:
            yield
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"{self._name}:{mark.line + 1}" if mark and self._numbered else self._name
            raise SpecError(f"invalid YAML: {error.problem}", where=place) from error
        except (yaml.YAMLError, ValueError) as error:
            raise SpecError(f"invalid YAML: {str(error).partition(chr(10))[0]}", where=self._name) from error
        except RecursionError as error:
            raise SpecError("invalid YAML: nested too deeply", where=self._name) from error
