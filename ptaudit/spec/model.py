"""The spec of an audit: frozen models of what `spec.yaml` says.

The parts are in `data.py`, `train.py` and `audit.py`; this is where the whole is put together and where others import
them from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ptaudit.spec.audit import AuditSpec, Every, GateSpec, LiveSpec, TokenSpec, UpdateSpec, ViewSpec
from ptaudit.spec.base import FAULT, Label, Part, fault, unique
from ptaudit.spec.canaries import CanarySpec, check_canaries
from ptaudit.spec.data import DataSpec
from ptaudit.spec.defenses import Defense, DefenseSpec
from ptaudit.spec.fleet import FleetSpec
from ptaudit.spec.game import GameSpec
from ptaudit.spec.gates import check_gate
from ptaudit.spec.registry import GAMES
from ptaudit.spec.replay import ReplaySpec
from ptaudit.spec.secrets import check_secrets
from ptaudit.spec.train import ModelSpec, OptimizerSpec, SamSpec, ScheduleSpec, TrainSpec

__all__ = [
    "AuditSpec",
    "DataSpec",
    "Defense",
    "DefenseSpec",
    "Every",
    "FleetSpec",
    "GameSpec",
    "GateSpec",
    "LiveSpec",
    "ModelSpec",
    "OptimizerSpec",
    "ReplaySpec",
    "SamSpec",
    "ScheduleSpec",
    "Spec",
    "TokenSpec",
    "TrainSpec",
    "UpdateSpec",
    "ViewSpec",
]


_OF_THE_LOSS = ("loss", "label_smoothing", "ignore_index")
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
    """The training run that is replayed. With `replay` only `loss`, `label_smoothing` and `ignore_index` are used, and
    it may be left out."""
    replay: ReplaySpec | None = None
    """Audit a training that already happened, from its checkpoints, instead of training."""
    audit: AuditSpec = Field(default_factory=AuditSpec)
    """What is measured, on which records, when."""
    defenses: list[Defense] = Field(default_factory=list)
    """Repeat the training with each of these, and show every view without a defense of its own as that training shows
    it: what each costs in accuracy and what it hides. A list in the place of a number makes a defense for each."""
    canaries: CanarySpec | None = None
    """Records made to be found, for the worst case and for bounds on epsilon."""
    fleet: FleetSpec | None = None
    """Reference models, for the membership game: trained as the audited one is, on other halves of the records."""
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
    def games(self) -> tuple[GameSpec, ...]:
        """The games that are played, with that of the canaries."""
        if self.canaries is None:
            return tuple(self.audit.games)
        return (*self.audit.games, GAMES["canary"].model_validate({"canaries": self.canaries}))

    @property
    def defended(self) -> dict[str, Spec]:
        """A spec for each of the defenses, by its title: trained with it, and its views shown as that training shows
        them."""
        return {defense.title: self.with_defense(defense) for defense in self.defenses}

    def with_defense(self, defense: Defense) -> Spec:
        """The spec that trains with a defense and shows what that training shows."""
        views = [view.model_copy(update={"defense": defense}) for view in self.audit.views if view.defense is None]
        train = TrainSpec.model_validate({**self.train.plain(), "defense": defense.training()})
        for view in views:
            ViewSpec.model_validate(view.plain())
        audit = self.audit.model_copy(update={"views": views, "live": None})
        changed = {"train": train, "audit": audit, "defenses": [], "canaries": None, "gates": []}
        return self.model_copy(update=changed)

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
                raise fault(what, at=at, remedy=f"there are: {self.replay.listing}; {self.replay.numbering.how}")
            if self.replay is None and epoch > self.train.epochs:
                raise fault(f"epoch {epoch} is audited, but training ends with epoch {self.train.epochs}", at=at)
        return self

    @model_validator(mode="after")
    def _secrets_are_there(self) -> Spec:
        check_secrets(self)
        check_canaries(self)
        return self

    @model_validator(mode="after")
    def _bottlenecks_are_trained(self) -> Spec:
        for index, view in enumerate(self.audit.views):
            trained = self.train.defense
            shown = view.defense
            if shown is not None and shown.in_model and (trained is None or shown.plain() != trained.plain()):
                what = f"`{shown.name}` is a layer of the model, which no view can put there afterwards"
                remedy = "train with the same: train.defense, or the list `defenses`"
                raise fault(what, at=("audit", "views", index, "defense"), remedy=remedy)
        return self

    @model_validator(mode="after")
    def _defenses_stand_alone(self) -> Spec:
        titles = [defense.title for defense in self.defenses]
        unique(titles, "defense", lambda index: ("defenses", index))
        if not self.defenses:
            return self
        for key, value in (("replay", self.replay), ("train.defense", self.train.defense)):
            if value is not None:
                what = f"`defenses` repeats the training with each of them, and there is `{key}`"
                raise fault(what, at=("defenses",), remedy="remove one of the two")
        if all(view.defense is not None for view in self.audit.views):
            what = "`defenses` are shown on the views without a `defense` of their own, and there is none"
            raise fault(what, at=("defenses",), remedy="add a view without a defense")
        for index, defense in enumerate(self.defenses):
            try:
                self.with_defense(defense)
            except ValidationError as error:
                raise fault(f"cannot train with {defense.title}: {_first(error)}", at=("defenses", index)) from None
        return self

    @model_validator(mode="after")
    def _fleet_has_a_use(self) -> Spec:
        if self.fleet is None:
            return self
        if not any(game.uses_fleet for game in self.audit.games):
            what = "reference models have no use without a game that plays with them"
            raise fault(what, at=("fleet",), remedy="add `membership` to audit.games, or remove `fleet`")
        if self.replay is not None:
            what = "reference models are trained as the audited model is, and `replay` does not say how it was"
            raise fault(what, at=("fleet",), remedy="remove one of them, or describe the training in `train`")
        return self

    @model_validator(mode="after")
    def _live_sees_what_is_followed(self) -> Spec:
        if self.audit.live is not None and self.train.defense is not None:
            what = "`audit.live` watches the gradients of bare training, which `train.defense` changes"
            raise fault(what, at=("audit", "live"), remedy="remove one of them")
        return self

    @model_validator(mode="after")
    def _gates_meet_rows(self) -> Spec:
        unique((gate.id for gate in self.gates), "gate id", lambda index: ("gates", index, "id"))
        for index, gate in enumerate(self.gates):
            check_gate(gate, ("gates", index), self)
        return self


def _first(error: ValidationError) -> str:
    """The first problem in words."""
    details = error.errors(include_url=False)[0]
    return str(details["ctx"]["what"]) if details["type"] == FAULT else details["msg"]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec file, with a description of every key.

    It knows keys, types and ranges. What depends on several keys, on files or on the environment is checked by `load`.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
