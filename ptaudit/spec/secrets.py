"""Whether the secrets that games and defenses are about are among the data, as far as the spec alone tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptaudit.spec.base import fault, nearest
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.game import Loc

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


def check_attribute(who: str, attribute: str | None, at: Loc, spec: Spec) -> None:
    """Refuses an attribute that the data do not name, or that is the label by another name."""
    known = spec.data.attributes
    if not known:
        raise fault(
            f"{who} is about an attribute, and the data have none", at=at, remedy="name the column in data.attributes"
        )
    if attribute is None and len(known) > 1:
        raise fault(
            f"{who} does not say which attribute is secret", at=at, remedy=f"add attribute: one of {', '.join(known)}"
        )
    if attribute is not None and attribute not in known:
        what = f"`{attribute}` is not among data.attributes"
        raise fault(what, at=(*at, "attribute"), remedy=nearest(attribute, known))
    if (attribute or known[0]) == spec.data.label:
        what = f"{who} is about `{spec.data.label}`, which is the label"
        raise fault(what, at=at, remedy="ask for it with `secret: label`, or with game `label`")
