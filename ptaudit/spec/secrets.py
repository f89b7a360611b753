"""Whether the secrets that games and defenses are about are among the data, as far as the spec alone tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptaudit.spec.base import fault, nearest
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.games import UsableInformationGame
from ptaudit.spec.inference import AttributeGame, DistributionGame, LocalisationGame, PropertyGame, UserGame
from ptaudit.spec.play import GameSpec

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

_About = AttributeGame | PropertyGame | DistributionGame | LocalisationGame | UsableInformationGame


def about_attribute(game: GameSpec) -> bool:
    """Whether a game is about a column of `data.attributes`."""
    return isinstance(game, AttributeGame) or (isinstance(game, _About) and getattr(game, "secret", "") == "attribute")


def attribute_of(game: GameSpec, spec: Spec) -> str:
    """The column of `data.attributes` that a game is about."""
    return str(getattr(game, "attribute", None) or spec.data.attributes[0])


def check_secrets(spec: Spec) -> None:
    """Refuses games and defenses about columns that the data do not name, or about the label by another name."""
    for index, game in enumerate(spec.audit.games):
        at = ("audit", "games", index)
        if isinstance(game, UserGame) and spec.data.user is None:
            what = f"game `{game.title}` is about users, and the data have none"
            raise fault(what, at=at, remedy="name the column in data.user")
        if about_attribute(game):
            _check_attribute(f"game `{game.title}`", getattr(game, "attribute", None), at, spec)
    for who, defense, place in _defenses(spec):
        if defense is not None and defense.guarded is not None:
            _check_attribute(who, defense.guarded, place, spec)


def _defenses(spec: Spec) -> Iterator[tuple[str, DefenseSpec | None, tuple[str | int, ...]]]:
    """All defenses of a spec, in words, and where they stand."""
    for index, view in enumerate(spec.audit.views):
        yield f"the defense of view `{view.name}`", view.defense, ("audit", "views", index, "defense")
    yield "`train.defense`", spec.train.defense, ("train", "defense")
    for index, defense in enumerate(spec.defenses):
        yield f"defense `{defense.title}`", defense, ("defenses", index)


def _check_attribute(who: str, attribute: str | None, at: tuple[str | int, ...], spec: Spec) -> None:
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
