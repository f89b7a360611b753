"""`user`: whose records is the batch made of?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.games.common.settings import BatchSecretGame
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Whole, fault
from ptaudit.spec.game import Loc

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


class UserGame(BatchSecretGame):
    """`user`: whose records is the batch made of?"""

    name: Literal["user"]
    """Which game."""
    candidates: Annotated[Whole, Field(ge=2)] = 16
    """Users among whom the adversary looks."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("membership inference",)
    finds: ClassVar[str] = "tells whose records it is made of"
    players: ClassVar[tuple[str, ...]] = ("combined", "likelihood-ratio", "nearest")
    needs_whole_users: ClassVar[bool] = True
    counts: ClassVar[str] = "users"

    @property
    def own(self) -> str:
        """Records of its own, in words."""
        return "half of the users"

    def wants(self, spec: Spec) -> str:
        """The user."""
        return f"names the user of a batch among {self.candidates}, of each of whom it has other records"

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses data without users."""
        if spec.data.user is None:
            what = f"game `{self.title}` is about users, and the data have none"
            raise fault(what, at=at, remedy="name the column in data.user")
