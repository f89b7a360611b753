"""`--set a.b.c=value`: values put into a document before it is validated."""

from __future__ import annotations

from typing import Any

from ptaudit.errors import SpecError
from ptaudit.spec.document import Loc, YamlDocument, parse


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
