"""The house: rooms from left to right, and no import to the right of a room or in a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

from ptaudit.spec.registry import DEFENSES, GAMES, TRAIN_DEFENSES

PACKAGE = Path(__file__).parents[1] / "ptaudit"

ROOMS = (
    "errors", "escape", "files", "progress", "threads", "archives", "array_input", "stats", "model_input", "spec",
    "data", "gradients", "training", "sketches", "canaries", "estimators", "views", "defenses", "attacks", "context",
    "games", "tables", "gate", "compare", "plots", "report", "evidence", "estimate", "selftest", "auditing", "monitor",
    "cli",
)  # fmt: skip
"""What a room may import stands to its left; `CONTRIBUTING.md` says what each does."""

FACE = ("__init__", "__main__")
"""The package's own two files import what they show, when it is asked for."""


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports when it is imported itself, or when one of its functions runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if module(name) else node.module for name in names}
    return {name for name in found if name.startswith("ptaudit.") and module(name)}


def module(name: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).with_suffix("").parts[0] not in FACE)


def test_every_room_is_in_the_picture() -> None:
    there = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES}
    assert there == set(ROOMS)
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [room for room in ROOMS if f"`{room}" not in text]
    assert not missing


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_to_its_left(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    found = {
        (name_of(path), name)
        for path in FILES
        if path.relative_to(PACKAGE).with_suffix("").parts[0] == room
        for name in imports(path)
        if name.split(".")[1] not in allowed
    }
    assert not found


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name_of(path): imports(path) for path in FILES}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_games_and_defenses_are_named_in_their_own_folders_alone() -> None:
    """No `if game.name == ...` and no `isinstance(game, AGame)` elsewhere: what differs is a method or a variable."""
    kinds = [kind.__name__ for registry in (GAMES, DEFENSES, TRAIN_DEFENSES) for kind in registry.values()]
    telling = ("game.name ==", "game.name in", "defense.name ==", "defense.name in", *kinds)
    found = {
        (name_of(path), line.strip())
        for path in FILES
        if path.relative_to(PACKAGE).parts[0] not in ("games", "defenses")
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(words in line for words in telling)
    }
    assert not found
