"""The spec of an audit: frozen models of what `spec.yaml` says.

The parts are in `data.py`, `train.py` and `audit.py`; this is where the whole is put together and where others import
them from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ptaudit.spec.audit import AuditSpec, DefenseSpec, Every, GateSpec, LiveSpec, TokenSpec, ViewSpec
from ptaudit.spec.base import Label, Part, fault, nearest, unique
from ptaudit.spec.catalog import ADVERSARIES, CHANNEL, GAMES, MODEL_VIEW, TOKEN_GAMES
from ptaudit.spec.data import DataSpec
from ptaudit.spec.games import GameSpec, IdentityGame, MutualInformationGame, UsableInformationGame
from ptaudit.spec.replay import ReplaySpec
from ptaudit.spec.train import DpSgdSpec, ModelSpec, OptimizerSpec, SamSpec, ScheduleSpec, TrainSpec

__all__ = [
    "AuditSpec",
    "DataSpec",
    "DefenseSpec",
    "DpSgdSpec",
    "Every",
    "GameSpec",
    "GateSpec",
    "IdentityGame",
    "LiveSpec",
    "ModelSpec",
    "MutualInformationGame",
    "OptimizerSpec",
    "ReplaySpec",
    "SamSpec",
    "ScheduleSpec",
    "Spec",
    "TokenSpec",
    "TrainSpec",
    "UsableInformationGame",
    "ViewSpec",
]


_OF_THE_LOSS = ("loss", "label_smoothing")
"""Keys of `train` that say what is differentiated, not how it was trained."""


def _train_may_be_over(schema: dict[str, Any]) -> None:
    """JSON Schema: `train` with its epochs, or `replay` and of `train` what belongs to the loss."""
    schema["required"].remove("train")
    train, about = schema["properties"]["train"], schema["properties"]["train"]["description"]
    schema["properties"]["train"] = {"description": about, "type": "object"}
    keys = {name: {"description": f"As in `train` without `replay`: `{name}`."} for name in _OF_THE_LOSS}
    loss = {"description": about, "type": "object", "properties": keys, "additionalProperties": False}
    none = {"description": "Nothing: the spec trains.", "type": "null"}
    schema["anyOf"] = [
        {"required": ["train"], "properties": {"train": train, "replay": none}},
        {"required": ["replay"], "properties": {"train": loss}},
    ]


class Spec(Part, json_schema_extra=_train_may_be_over):
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
    """The training run that is replayed. With `replay` only its `loss` and `label_smoothing` have a use, and it may be
    left out."""
    replay: ReplaySpec | None = None
    """Audit a training that already happened, from its checkpoints, instead of training."""
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

    @property
    def audited_epochs(self) -> tuple[int, ...]:
        """The audited epochs, ascending; 0 is before training. With `replay` they are the epochs of its checkpoints."""
        if self.replay is None:
            return self.audit.audited_epochs(self.train.epochs)
        epochs = self.audit.epochs
        return self.replay.audited(None if epochs == "all" else epochs.every if isinstance(epochs, Every) else epochs)

    @property
    def last_epoch(self) -> int:
        """The epoch that training ends with, or the last that has a checkpoint."""
        return self.train.epochs if self.replay is None else max(self.replay.saved)

    def plain(self) -> dict[str, Any]:
        """What a spec file would say; with `replay` nothing of a training."""
        values = super().plain()
        if self.replay is not None:
            values["train"] = {name: value for name, value in values["train"].items() if name in _OF_THE_LOSS}
        return values

    @model_validator(mode="before")
    @classmethod
    def _training_is_over(cls, values: Any) -> Any:
        """With `replay`, refuses what only training uses, and completes `train`."""
        if not isinstance(values, Mapping) or values.get("replay") is None:
            return values
        train = {} if values.get("train") is None else values["train"]
        if not isinstance(train, Mapping):
            return values
        idle = [("train", key) for key in train if key in TrainSpec.model_fields and key not in _OF_THE_LOSS]
        data, audit = values.get("data"), values.get("audit")
        idle += [("data", "augment")] if isinstance(data, Mapping) and data.get("augment") is not None else []
        idle += [("audit", "live")] if isinstance(audit, Mapping) and audit.get("live") is not None else []
        if idle:
            what = f"`{'.'.join(idle[0])}` is not used by a spec with `replay`, which trains nothing"
            raise fault(what, at=idle[0], remedy="remove it")
        return {**values, "train": {"epochs": 1, **train}}

    @model_validator(mode="after")
    def _epochs_are_there(self) -> Spec:
        listed = self.audit.epochs if isinstance(self.audit.epochs, list) else []
        for index, epoch in enumerate(listed):
            at = ("audit", "epochs", index)
            if self.replay is not None and epoch not in self.replay.saved:
                what = f"epoch {epoch} is audited, but has no checkpoint"
                raise fault(what, at=at, remedy=f"there are: {self.replay.listing}; {self.replay.numbering}")
            if self.replay is None and epoch > self.train.epochs:
                raise fault(f"epoch {epoch} is audited, but training ends with epoch {self.train.epochs}", at=at)
        return self

    @model_validator(mode="after")
    def _secrets_are_there(self) -> Spec:
        known = self.data.attributes
        for index, game in enumerate(self.audit.games):
            if not isinstance(game, UsableInformationGame) or game.secret != "attribute":
                continue
            at = ("audit", "games", index)
            if not known:
                what = f"game `{game.title}` is about an attribute, and the data have none"
                raise fault(what, at=at, remedy="name the column in data.attributes")
            if game.attribute is None and len(known) > 1:
                what = f"game `{game.title}` does not say which attribute is secret"
                raise fault(what, at=at, remedy=f"add attribute: one of {', '.join(known)}")
            if game.attribute is not None and game.attribute not in known:
                what = f"`{game.attribute}` is not among data.attributes"
                raise fault(what, at=(*at, "attribute"), remedy=nearest(game.attribute, known))
        return self

    @model_validator(mode="after")
    def _live_sees_what_is_followed(self) -> Spec:
        if self.audit.live is not None and self.train.defense is not None:
            what = "`audit.live` watches the gradients of bare training, and `train.defense` takes those of each record"
            raise fault(what, at=("audit", "live"), remedy="remove one of them")
        return self

    @model_validator(mode="after")
    def _gates_meet_rows(self) -> Spec:
        unique((gate.id for gate in self.gates), "gate id", lambda index: ("gates", index, "id"))
        for index, gate in enumerate(self.gates):
            self._check_gate(gate, ("gates", index))
        return self

    def _check_gate(self, gate: GateSpec, at: tuple[str | int, ...]) -> None:
        """Refuses a gate that can match no row, as far as the spec alone tells."""
        played = {game.title: game for game in self.audit.games}
        names = {**{name: name for name in GAMES}, **{title: game.name for title, game in played.items()}}
        known = [f"{title}.{metric}" for title, name in names.items() for metric in GAMES[name]]
        if gate.metric not in known:
            raise fault(f"unknown metric `{gate.metric}`", at=(*at, "metric"), remedy=nearest(gate.metric, known))
        name = names[gate.game]
        if gate.adversary is not None and gate.adversary not in ADVERSARIES[name]:
            what, remedy = (
                f"game `{gate.game}` has no adversary `{gate.adversary}`",
                nearest(gate.adversary, ADVERSARIES[name]),
            )
            raise fault(what, at=(*at, "adversary"), remedy=remedy)
        if gate.game not in played:
            raise fault(
                f"gate `{gate.id}` is on game `{gate.game}`, which is not played",
                at=(*at, "metric"),
                remedy=f"add it to audit.games; played: {', '.join(played)}",
            )
        views = {view.name: view for view in self.audit.views} if name in TOKEN_GAMES else {MODEL_VIEW: None}
        if gate.view not in views:
            what = f"gate `{gate.id}` is on view `{gate.view}`, on which game `{gate.game}` is not played"
            raise fault(what, at=(*at, "view"), remedy=nearest(gate.view, views))
        epochs = self.audited_epochs
        if isinstance(gate.epoch, int) and gate.epoch not in epochs:
            raise fault(
                f"gate `{gate.id}` is on epoch {gate.epoch}, which is not audited",
                at=(*at, "epoch"),
                remedy=f"audited: {', '.join(map(str, epochs))}",
            )
        if gate.measure == "upper_bits" and not _noisy(views[gate.view]):
            what = f"gate `{gate.id}`: metric `{gate.metric}` needs noise, which view `{gate.view}` has none of"
            raise fault(what, at=(*at, "metric"), remedy="give the view a defense with a noise_multiplier")
        alone = _cannot_play(gate, played[gate.game], views[gate.view])
        if alone:
            what, remedy = alone
            raise fault(f"gate `{gate.id}`: adversary `{gate.adversary}` {what}", at=(*at, "adversary"), remedy=remedy)


def _cannot_play(gate: GateSpec, game: GameSpec, view: ViewSpec | None) -> tuple[str, str] | None:
    """Why the adversary of a gate has no row in its view, with the remedy; None if it has."""
    if gate.adversary is not None and game.adversaries is not None and gate.adversary not in game.adversaries:
        return "is not asked in its game", f"there are: {', '.join(game.adversaries)}"
    if gate.adversary == CHANNEL and gate.measure != "upper_bits":
        return f"does not report `{gate.measure}`", f"it reports {gate.game}.upper_bits"
    if gate.adversary not in (None, CHANNEL) and gate.measure == "upper_bits":
        return "reports no `upper_bits`", f"only `{CHANNEL}` does"
    if gate.adversary == "loss" and gate.over not in ("joint", "all"):
        return "plays on the whole model, not on layers", "set over: joint"
    if game.name != "identity" or view is None:
        return None
    if gate.adversary == "exact" and not _closed_form(view):
        remedy = "the posterior is in closed form only with batch_size 1 and without noise"
        return f"cannot play on view `{gate.view}`", remedy
    if gate.adversary == "likelihood-ratio" and _closed_form(view):
        return f"does not play on view `{gate.view}`", "with batch_size 1 and without noise it is `exact`"
    return None


def _noisy(view: ViewSpec | None) -> bool:
    return view is not None and view.defense is not None and view.defense.noise_multiplier > 0


def _closed_form(view: ViewSpec) -> bool:
    """Whether the adversary sees the token of one record as it is."""
    return view.batch_size == 1 and not _noisy(view)
