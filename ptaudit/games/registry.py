"""The games, by name: one line each. Nothing here imports torch; how a game is played is imported when it is."""

from __future__ import annotations

from ptaudit.games.attribute.info import AttributeGame
from ptaudit.games.canary.info import CanaryGame
from ptaudit.games.distribution.info import DistributionGame
from ptaudit.games.identity.info import IdentityGame
from ptaudit.games.label.info import LabelGame
from ptaudit.games.localisation.info import LocalisationGame
from ptaudit.games.membership.info import MembershipGame
from ptaudit.games.mutual_information.info import MutualInformationGame
from ptaudit.games.property.info import PropertyGame
from ptaudit.games.uniqueness.info import UniquenessGame
from ptaudit.games.usable_information.info import UsableInformationGame
from ptaudit.games.user.info import UserGame
from ptaudit.spec.game import GameSpec

GAMES: dict[str, type[GameSpec]] = {
    "identity": IdentityGame,
    "label": LabelGame,
    "membership": MembershipGame,
    "mutual-information": MutualInformationGame,
    "usable-information": UsableInformationGame,
    "uniqueness": UniquenessGame,
    "attribute": AttributeGame,
    "property": PropertyGame,
    "distribution": DistributionGame,
    "user": UserGame,
    "localisation": LocalisationGame,
    "canary": CanaryGame,
}
"""Name to settings. A game added here later is in specs once `spec.model.rebuild` was called."""
