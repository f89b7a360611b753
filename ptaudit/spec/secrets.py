"""Whether the secrets that games and defenses are about are among the data, as far as the spec alone tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptaudit.games.common.settings import check_attribute
from ptaudit.spec.defenses import DefenseSpec

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


def check_secrets(spec: Spec) -> None:
    """Refuses games and defenses about columns that the data do not name, or about the label by another name."""
    for index, game in enumerate(spec.audit.games):
        game.check_spec(("audit", "games", index), spec)
    for who, defense, place in _defenses(spec):
        if defense is not None and defense.guarded is not None:
            check_attribute(who, defense.guarded, place, spec)


def _defenses(spec: Spec) -> Iterator[tuple[str, DefenseSpec | None, tuple[str | int, ...]]]:
    """All defenses of a spec, in words, and where they stand."""
    for index, view in enumerate(spec.audit.views):
        yield f"the defense of view `{view.name}`", view.defense, ("audit", "views", index, "defense")
    yield "`train.defense`", spec.train.defense, ("train", "defense")
    for index, defense in enumerate(spec.defenses):
        yield f"defense `{defense.title}`", defense, ("defenses", index)
