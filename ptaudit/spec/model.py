"""The spec of an audit: frozen models of what `spec.yaml` says.

The parts are in `data.py`, `train.py` and `audit.py`; this is where the whole is put together and where others import
them from.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ptaudit.spec.audit import AuditSpec, DefenseSpec, Every, GameSpec, GateSpec, TokenSpec, ViewSpec
from ptaudit.spec.base import Label, Part, fault, nearest, unique
from ptaudit.spec.catalog import MODEL_VIEW, TOKEN_GAMES
from ptaudit.spec.data import DataSpec
from ptaudit.spec.train import ModelSpec, OptimizerSpec, ScheduleSpec, TrainSpec

__all__ = [
    "AuditSpec",
    "DataSpec",
    "DefenseSpec",
    "Every",
    "GameSpec",
    "GateSpec",
    "ModelSpec",
    "OptimizerSpec",
    "ScheduleSpec",
    "Spec",
    "TokenSpec",
    "TrainSpec",
    "ViewSpec",
]


class Spec(Part):
    """One audit of one training run. Unknown keys are errors; paths are relative to the spec's own folder."""

    version: Literal[1]
    """Version of the spec's format."""
    name: Label
    """Name of the run; its folder is `runs/NAME`."""
    model: ModelSpec
    """The model that is trained."""
    data: DataSpec
    """The records, and which of them the model is trained on."""
    train: TrainSpec
    """The training run that is replayed."""
    audit: AuditSpec = Field(default_factory=AuditSpec)
    """What is measured, on which records, when."""
    gates: list[GateSpec] = Field(default_factory=list)
    """Thresholds that fail the run."""

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_known(cls, version: Any) -> Any:
        if type(version) is not int or version != 1:
            raise fault(f"`version`: expected 1, given {version!r}", remedy="this release reads version 1")
        return version

    @model_validator(mode="after")
    def _epochs_are_there(self) -> Spec:
        listed = self.audit.epochs if isinstance(self.audit.epochs, list) else []
        for index, epoch in enumerate(listed):
            if epoch > self.train.epochs:
                what = f"epoch {epoch} is audited, but training ends with epoch {self.train.epochs}"
                raise fault(what, at=("audit", "epochs", index))
        return self

    @model_validator(mode="after")
    def _gates_meet_rows(self) -> Spec:
        unique((gate.id for gate in self.gates), "gate id", lambda index: ("gates", index, "id"))
        for index, gate in enumerate(self.gates):
            self._check_gate(gate, ("gates", index))
        return self

    def _check_gate(self, gate: GateSpec, at: tuple[str | int, ...]) -> None:
        """Refuses a gate that can match no row, as far as the spec alone tells."""
        games = [game.name for game in self.audit.games]
        if gate.game not in games:
            raise fault(
                f"gate `{gate.id}` is on game `{gate.game}`, which is not played",
                at=(*at, "metric"),
                remedy=f"add it to audit.games; played: {', '.join(games)}",
            )
        views = {view.name: view for view in self.audit.views} if gate.game in TOKEN_GAMES else {MODEL_VIEW: None}
        if gate.view not in views:
            what = f"gate `{gate.id}` is on view `{gate.view}`, on which game `{gate.game}` is not played"
            raise fault(what, at=(*at, "view"), remedy=nearest(gate.view, views))
        epochs = self.audit.audited_epochs(self.train.epochs)
        if isinstance(gate.epoch, int) and gate.epoch not in epochs:
            raise fault(
                f"gate `{gate.id}` is on epoch {gate.epoch}, which is not audited",
                at=(*at, "epoch"),
                remedy=f"audited: {', '.join(map(str, epochs))}",
            )
        alone = _cannot_play(gate, views[gate.view])
        if alone:
            what, remedy = alone
            raise fault(f"gate `{gate.id}`: adversary `{gate.adversary}` {what}", at=(*at, "adversary"), remedy=remedy)


def _cannot_play(gate: GateSpec, view: ViewSpec | None) -> tuple[str, str] | None:
    """Why the adversary of a gate has no row in its view, with the remedy; None if it has."""
    if gate.adversary == "loss" and gate.over not in ("joint", "all"):
        return "plays on the whole model, not on layers", "set over: joint"
    if gate.game != "identity" or view is None:
        return None
    if gate.adversary == "exact" and not _closed_form(view):
        remedy = "the posterior is in closed form only with batch_size 1 and without noise"
        return f"cannot play on view `{gate.view}`", remedy
    if gate.adversary == "likelihood-ratio" and _closed_form(view):
        return f"does not play on view `{gate.view}`", "with batch_size 1 and without noise it is `exact`"
    return None


def _closed_form(view: ViewSpec) -> bool:
    """Whether the adversary sees the token of one record as it is."""
    return view.batch_size == 1 and (view.defense is None or view.defense.noise_multiplier == 0)
