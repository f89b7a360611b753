"""The games, in the order of every listing, one line each. No torch: how a game is played is imported when it is."""

from __future__ import annotations

from ptaudit.games.attribute.info import AttributeGame
from ptaudit.games.canary.info import CanaryGame
from ptaudit.games.content.info import ContentGame
from ptaudit.games.distribution.info import DistributionGame
from ptaudit.games.dynamics.info import DynamicsGame
from ptaudit.games.fisher_information.info import FisherInformationGame
from ptaudit.games.identity.info import IdentityGame
from ptaudit.games.label.info import LabelGame
from ptaudit.games.localisation.info import LocalisationGame
from ptaudit.games.membership.info import MembershipGame
from ptaudit.games.mutual_information.info import MutualInformationGame
from ptaudit.games.property.info import PropertyGame
from ptaudit.games.reconstruction.info import ReconstructionGame
from ptaudit.games.uniqueness.info import UniquenessGame
from ptaudit.games.usable_information.info import UsableInformationGame
from ptaudit.games.user.info import UserGame
from ptaudit.spec.registry import GAMES

GAMES.register(IdentityGame)
GAMES.register(LabelGame)
GAMES.register(MembershipGame)
GAMES.register(DynamicsGame)
GAMES.register(MutualInformationGame)
GAMES.register(UsableInformationGame)
GAMES.register(UniquenessGame)
GAMES.register(FisherInformationGame)
GAMES.register(AttributeGame)
GAMES.register(PropertyGame)
GAMES.register(DistributionGame)
GAMES.register(UserGame)
GAMES.register(LocalisationGame)
GAMES.register(ContentGame)
GAMES.register(ReconstructionGame)
GAMES.register(CanaryGame)
