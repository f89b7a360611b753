"""`identity`: which record was in the batch?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Count, Whole
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.spec.game import Loc, Titled, cannot_play

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec, ViewSpec
    from ptaudit.spec.model import Spec


class IdentityGame(Titled):
    """`identity`: which record was in the batch?"""

    name: Literal["identity"]
    """Which game."""
    candidates: Annotated[Whole, Field(ge=2)] = 256
    """Records among which the adversary looks for the target."""
    knows: Literal["none", "others", "pool"] = "none"
    """What the adversary knows of the other records of a batch: `none`; the `others` themselves, the worst case that
    differential privacy is made for; the `pool` of all records that batches are drawn from, but not which were."""

    fit_batches: Annotated[Count, Field(ge=512)] = 1024
    """Batches of its own records on which the adversary chooses and calibrates; more tell more, and take longer."""

    noise_half: bool = False
    """Whether rows at their ceiling are also played under noise, until half of it is left: seven more games each."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("membership inference",)
    finds: ClassVar[str] = "names the record among {candidates}"
    metrics: ClassVar[tuple[str, ...]] = ("bits", "accuracy", NOISE_HALF)
    players: ClassVar[tuple[str, ...]] = ("exact", "combined", "likelihood-ratio", "least-squares")
    uses_held_out: ClassVar[bool] = True
    names_records: ClassVar[bool] = True
    growth: ClassVar[float] = 0.4

    def idle(self) -> Mapping[str, str]:
        """What decoding from the pool has no use for."""
        pool = "`knows: pool`"
        return {"fit_batches": pool, "noise_half": pool} if self.knows == "pool" else {}

    @property
    def adversaries(self) -> tuple[str, ...]:
        """That of its knowledge, and the closed form where there is one."""
        by = {"none": ("combined", "exact"), "others": ("likelihood-ratio", "exact"), "pool": ("least-squares",)}
        return by[self.knows]

    def check_gate(self, gate: GateSpec, at: Loc, view: ViewSpec | None, spec: Spec) -> None:
        """Refuses the closed form where there is none, and others where there is."""
        super().check_gate(gate, at, view, spec)
        assert view is not None
        if gate.adversary == "exact" and not _closed_form(view):
            remedy = "the posterior is in closed form only with batch_size 1 and without noise"
            raise cannot_play(gate, at, f"cannot play on view `{gate.view}`", remedy)
        if gate.adversary in ("combined", "likelihood-ratio") and _closed_form(view):
            remedy = "with batch_size 1 and without noise it is `exact`"
            raise cannot_play(gate, at, f"does not play on view `{gate.view}`", remedy)


def _closed_form(view: ViewSpec) -> bool:
    """Whether the adversary sees the token of one record as it is, or clipped."""
    return view.records == 1 and view.linear and not view.noisy
