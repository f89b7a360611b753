"""`attribute`: what is the sensitive value of one record of the batch?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ptaudit.games.common.settings import ProbedGame, attribute_of
from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Text
from ptaudit.spec.game import Loc
from ptaudit.spec.secrets import check_attribute

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

NOT_BY_INPUT = ("adversary", "fit_batches")
"""Settings of classifiers: nothing is left for them where the likelihood of the record itself is known."""

_KNOWING = {
    "input": ", knowing the rest of the record",
    "latent": "",
    "auto": ", knowing the rest of the record where it is an input column",
}


class AttributeGame(ProbedGame):
    """`attribute`: what is the sensitive value of one record of the batch?"""

    name: Literal["attribute"]
    """Which game."""
    attribute: Text | None = None
    """A column of `data.attributes`; may be left out where there is one only."""
    form: Literal["auto", "input", "latent"] = "auto"
    """`input`: it is an input of the model, and the adversary knows the rest of the record; `latent`: it knows nothing
    of the record; `auto`: input where it is one."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("attribute inference",)
    finds: ClassVar[str] = "tells the sensitive value of a record"

    @property
    def about_attribute(self) -> bool:
        """It always is about a column of `data.attributes`."""
        return True

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that were asked for, in the latent form."""
        return None if self.form == "auto" else ("likelihood-ratio",) if self.form == "input" else super().adversaries

    def idle(self) -> Mapping[str, str]:
        """Classifiers, where the likelihood ratio plays."""
        by_input = "`form: input`, which the likelihood ratio plays"
        return dict.fromkeys(NOT_BY_INPUT, by_input) if self.form == "input" else {}

    def wants(self, spec: Spec) -> str:
        """The value of one record."""
        return f"guesses {attribute_of(self, spec)} of one record{_KNOWING[self.form]}"

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses an attribute that the data do not name."""
        check_attribute(f"game `{self.title}`", self.attribute, at, spec)

    def plain(self) -> dict[str, Any]:
        """What a spec file would say; of `form: auto` nothing that was not asked for and may have no use."""
        unused = set(NOT_BY_INPUT) - self.model_fields_set if self.form == "auto" else ()
        return {name: value for name, value in super().plain().items() if name not in unused}
