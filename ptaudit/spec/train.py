"""The `model` and `train` parts of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ptaudit.spec.base import Count, Flag, Number, Part, Seed, Text, Whole, fault, nearest, unique
from ptaudit.spec.defenses import UNDEFENDED, TrainDefense
from ptaudit.spec.entry import FUNCTION_FORMS, is_function

LOSSES = ("cross_entropy", "bce", "mse")


class ModelSpec(Part):
    """The model that is trained."""

    entry: Text
    """What makes the model: `file.py:function`, `package.module:function` or `torchvision:NAME`. A class will do."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for it, passed as they are (no `${VAR}`, no paths relative to the spec)."""

    @field_validator("entry")
    @classmethod
    def _entry_can_be_read(cls, entry: str) -> str:
        if not is_function(entry, torchvision=True):
            known = ", ".join((*FUNCTION_FORMS, "torchvision:NAME"))
            raise fault(f"`{entry}` names no model", remedy=f"known: {known}")
        return entry


class OptimizerSpec(Part):
    """The optimizer. A key that it does not use is an error."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    """Which optimizer."""
    lr: Annotated[Number, Field(gt=0)] = 0.1
    """Learning rate; default 0.1 for sgd, 0.001 for adam and adamw."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Momentum (sgd)."""
    nesterov: Flag = False
    """Nesterov momentum (sgd, with `momentum` above 0)."""
    betas: tuple[Annotated[Number, Field(ge=0, lt=1)], Annotated[Number, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of the running averages (adam, adamw)."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """Weight decay: added to the gradient (sgd, adam) or decoupled from it (adamw)."""

    @model_validator(mode="before")
    @classmethod
    def _default_rate(cls, values: Any) -> Any:
        if isinstance(values, dict) and "lr" not in values and values.get("name") in ("adam", "adamw"):
            return values | {"lr": 0.001}
        return values

    def idle(self) -> Mapping[str, str]:
        """Keys that this optimizer does not use."""
        idle = ("betas",) if self.name == "sgd" else ("momentum", "nesterov")
        return dict.fromkeys(idle, f"optimizer `{self.name}`")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> OptimizerSpec:
        if self.nesterov and self.momentum == 0:
            raise fault("`nesterov` needs `momentum` above 0", at=("nesterov",))
        return self


class ScheduleSpec(Part):
    """How the learning rate changes from epoch to epoch. A key that the schedule does not use is an error."""

    name: Literal["constant", "cosine", "step", "exponential"] = "constant"
    """Constant; half a cosine down to 0; times `gamma` every `step_size` epochs; times `gamma` every epoch."""
    step_size: Count = 1
    """Epochs between two steps (step; no default there)."""
    gamma: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate (step, exponential; no default there)."""
    warmup_epochs: Annotated[Whole, Field(ge=0)] = 0
    """Epochs of linear warm-up at the start, fewer than `train.epochs`."""

    def _uses(self) -> tuple[str, ...]:
        return {"step": ("step_size", "gamma"), "exponential": ("gamma",)}.get(self.name, ())

    def idle(self) -> Mapping[str, str]:
        """Keys that this schedule does not use."""
        return dict.fromkeys(sorted({"step_size", "gamma"}.difference(self._uses())), f"schedule `{self.name}`")

    @model_validator(mode="after")
    def _needs_are_met(self) -> ScheduleSpec:
        for name in self._uses():
            if name not in self.model_fields_set:
                raise fault(f"schedule `{self.name}` needs `{name}`")
        return self


class SamSpec(Part):
    """Sharpness-aware minimisation: the step follows the gradient at the worst weights nearby."""

    rho: Annotated[Number, Field(gt=0)] = 0.05
    """Radius of the neighbourhood; with `adaptive` larger ones are usual (0.5 to 2)."""
    adaptive: Flag = False
    """Measure the neighbourhood relative to the size of each weight (ASAM)."""


class TrainSpec(Part):
    """The training run that is replayed."""

    epochs: Annotated[Count, Field(le=1_000_000)]
    """Passes over the members."""
    batch_size: Count = 64
    """Records in a step; their expected number where `defense` samples them."""
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    """The optimizer; default sgd with learning rate 0.1."""
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    """The learning rate's schedule; default constant."""
    loss: Text = "cross_entropy"
    """`cross_entropy`, `bce`, `mse`, or a function (output, target) -> loss of each record: `file.py:function` or
    `package.module:function`."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Share of the target of `cross_entropy` that is spread over all classes. The smoothed loss is the one that is
    trained and reported, and whose gradient is read."""
    ignore_index: Whole | None = None
    """Label of positions that do not count in `cross_entropy`, as 255 in segmentation; -100 is always one."""
    accumulate: Count = 1
    """Micro-batches that the records of a step are split into, to bound memory; at most `batch_size`."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Type of numbers in the forward pass: mixed precision by autocast, fp16 with loss scaling. Weights stay float32,
    and gradients for the audit are read in float32."""
    clip_norm: Annotated[Number, Field(gt=0)] | None = None
    """Largest norm of the gradient of a step, over all parameters."""
    sam: SamSpec | None = None
    """Sharpness-aware minimisation; default none."""
    defense: TrainDefense | None = None
    """Privacy in the training itself, `{name: ...}`; default none."""
    seed: Seed = 0
    """Seed of the weights, the order of records and dropout; not used when `seeds` is given."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    """Repeat the run with each of these seeds, to measure what retraining alone changes."""

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the runs: `seeds`, or `seed` alone."""
        return (self.seed,) if self.seeds is None else tuple(self.seeds)

    def idle(self) -> Mapping[str, str]:
        """Keys that the loss, the defense, or `seeds` in the place of `seed`, leave without use."""
        found = {} if self.seeds is None else {"seed": "a spec with `seeds`"}
        if self.loss != "cross_entropy":
            found |= dict.fromkeys(("label_smoothing", "ignore_index"), f"loss `{self.loss}`")
        defense = self.defense or UNDEFENDED
        return {**found, **dict.fromkeys(defense.unused, f"training with `defense: {defense.name}`")}

    @field_validator("loss")
    @classmethod
    def _loss_is_known(cls, loss: str) -> str:
        if loss not in LOSSES and not is_function(loss):
            raise fault(f"unknown loss `{loss}`", remedy=nearest(loss, (*LOSSES, *FUNCTION_FORMS)))
        return loss

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainSpec:
        unique(self.seeds or (), "seed", lambda index: ("seeds", index))
        if self.accumulate > self.batch_size:
            what = f"{self.accumulate} micro-batches of a batch of {self.batch_size} records"
            raise fault(what, at=("accumulate",), remedy="give every micro-batch a record")
        (self.defense or UNDEFENDED).check_training(self)
        if self.schedule.warmup_epochs >= self.epochs:
            raise fault(
                f"{self.schedule.warmup_epochs} epochs of warm-up in a run of {self.epochs}",
                at=("schedule", "warmup_epochs"),
                remedy="warm up for fewer epochs than the run has",
            )
        return self
