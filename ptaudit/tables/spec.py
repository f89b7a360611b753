"""What the tables need of a resolved spec, read as plain text: a folder may hold one of another version, or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ptaudit.errors import SpecError
from ptaudit.spec.document import parse


@lru_cache(maxsize=8)
def plain_spec(text: str) -> Mapping[str, Any]:
    """The spec as plain values, not to be changed; empty where it cannot be read. Pages ask for it many times."""
    try:
        values = parse(text, "spec.resolved.yaml").values if text else {}
    except SpecError:
        return {}
    return values if isinstance(values, dict) else {}


def views_of(text: str) -> dict[str, Mapping[str, Any]]:
    """The views by name."""
    return _named(text, "views", "name")


def games_of(text: str) -> dict[str, Mapping[str, Any]]:
    """The games by the name that they have in the tables."""
    audit = plain_spec(text).get("audit")
    games = audit.get("games") if isinstance(audit, dict) else None
    whole = [{"name": game} if isinstance(game, str) else game for game in games or () if game]
    return {str(game.get("id") or game.get("name")): game for game in whole if isinstance(game, dict)}


def models_of(text: str) -> int:
    """Reference models of the spec; 0 where it has none, or does not say."""
    fleet = plain_spec(text).get("fleet")
    models = fleet.get("models") if isinstance(fleet, dict) else None
    return models if isinstance(models, int) else 0


def _named(text: str, key: str, name: str) -> dict[str, Mapping[str, Any]]:
    audit = plain_spec(text).get("audit")
    entries = audit.get(key) if isinstance(audit, dict) else None
    return {str(entry[name]): entry for entry in entries or () if isinstance(entry, dict) and name in entry}


def gates_digest(text: str) -> str:
    """SHA-256 of the gates of a resolved spec, whatever else it says: the same for the same gates in the same order."""
    gates = plain_spec(text).get("gates") or []
    whole = json.dumps(gates, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()
