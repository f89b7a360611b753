"""Whether the secrets that games and defenses are about are among the data, as far as the spec alone tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptaudit.games.common.settings import check_attribute
from ptaudit.spec.defenses import PerturbDefense

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


def check_secrets(spec: Spec) -> None:
    """Refuses games and defenses about columns that the data do not name, or about the label by another name."""
    for index, game in enumerate(spec.audit.games):
        game.check_spec(("audit", "games", index), spec)
    for index, view in enumerate(spec.audit.views):
        if isinstance(view.defense, PerturbDefense) and view.defense.attribute is not None:
            at_view = ("audit", "views", index, "defense")
            check_attribute(f"the defense of view `{view.name}`", view.defense.attribute, at_view, spec)
    trained = spec.train.defense
    if isinstance(trained, PerturbDefense) and trained.attribute is not None:
        check_attribute("`train.defense`", trained.attribute, ("train", "defense"), spec)
    for index, defense in enumerate(spec.defenses):
        if isinstance(defense, PerturbDefense) and defense.attribute is not None:
            check_attribute(f"defense `{defense.title}`", defense.attribute, ("defenses", index), spec)
