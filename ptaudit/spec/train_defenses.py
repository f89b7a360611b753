"""Defenses in the training itself: `train.defense`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ptaudit.spec.base import Number, Part, fault, nearest
from ptaudit.spec.defenses import (
    DropoutDefense,
    LabelDpDefense,
    PerturbDefense,
    PruneDefense,
    SignDefense,
    VibDefense,
)

_Share = Annotated[Number, Field(gt=0, lt=1)]
_Positive = Annotated[Number, Field(gt=0)]


class DpSgdSpec(Part):
    """DP-SGD: every record's gradient is clipped and noise is added to their sum. Needs the extra `dp` (Opacus)."""

    name: Literal["dp_sgd"]
    """Which defense."""
    clip: Annotated[Number, Field(gt=0)]
    """Largest norm of a record's gradient over all parameters."""
    noise_multiplier: Annotated[Number, Field(ge=0)] | None = None
    """Standard deviation of the noise, in units of `clip`; 0 for clipping alone, with infinite epsilon."""
    epsilon: Annotated[Number, Field(gt=0)] | None = None
    """Epsilon to have spent after the last epoch, in place of `noise_multiplier`; the noise is chosen for it."""
    delta: Annotated[Number, Field(gt=0, lt=1)] = 1e-5
    """Delta that epsilon is stated at; it should be below 1 / members."""
    sampling: Literal["poisson", "shuffle"] = "poisson"
    """How a step draws its records: each by itself with probability batch_size / members, as the accountant assumes;
    or in shuffled batches, as is common, to which epsilon does not apply as it stands."""

    @model_validator(mode="after")
    def _noise_is_given_once(self) -> DpSgdSpec:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            found = "neither" if self.epsilon is None else "both"
            raise fault(
                f"defense `dp_sgd` takes `noise_multiplier` or `epsilon`, {found} given", remedy="give one of them"
            )
        return self


class PruneTraining(PruneDefense):
    """`prune`: the smallest numbers of each step's gradient are set to 0. One ratio: a training has one defense."""

    ratio: _Share
    """Share of the numbers that are set to 0."""


class PerturbTraining(PerturbDefense):
    """`perturb`: each step's gradient is moved so that a probe of the defender's guesses the secret wrong."""

    size: _Positive = 0.1
    """Length of the change relative to the gradient's."""


class VibTraining(VibDefense):
    """`vib`: a variational information bottleneck before the last linear layer."""

    beta: _Positive
    """Weight of the information that may pass."""


class DropoutTraining(DropoutDefense):
    """`dropout`: dropout before the last linear layer."""

    rate: _Share
    """Share of the features that are dropped; dropout layers of the model get it too."""


class LabelDpTraining(LabelDpDefense):
    """`label_dp`: labels of the members are randomised once, before training."""

    epsilon: _Positive
    """Privacy of one label."""


_CLASSES: dict[str, type[Part]] = {
    "dp_sgd": DpSgdSpec,
    "prune": PruneTraining,
    "sign": SignDefense,
    "perturb": PerturbTraining,
    "vib": VibTraining,
    "dropout": DropoutTraining,
    "label_dp": LabelDpTraining,
}


def _known(value: Any) -> Any:
    """Refuses unknown defenses, and keys of other defenses by the defense's name."""
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        return value
    if name not in _CLASSES:
        remedy = "in training it is `dp_sgd`" if name == "dp" else nearest(name, _CLASSES)
        raise fault(f"unknown defense `{name}` of the training", at=("name",), remedy=remedy)
    for key in value:
        others = (other for other in _CLASSES.values() if key in other.model_fields)
        if key not in _CLASSES[name].model_fields and any(others):
            raise fault(f"`{key}` is not used by defense `{name}`", at=(key,), remedy="remove it")
    return value


def _name_of(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return f"<{name}>" if isinstance(name, str) else None


TrainDefense = Annotated[
    Annotated[DpSgdSpec, Tag("<dp_sgd>")]
    | Annotated[PruneTraining, Tag("<prune>")]
    | Annotated[SignDefense, Tag("<sign>")]
    | Annotated[PerturbTraining, Tag("<perturb>")]
    | Annotated[VibTraining, Tag("<vib>")]
    | Annotated[DropoutTraining, Tag("<dropout>")]
    | Annotated[LabelDpTraining, Tag("<label_dp>")],
    Discriminator(_name_of, custom_error_type="choice", custom_error_message="{name: ...} with the name of a defense"),
    BeforeValidator(_known),
]
"""Any of the defenses that a training can have."""


def idle_keys(defense: Part | None) -> dict[str, str]:
    """Keys of `train` that a defense leaves without use, with what it is that does not use them."""
    keys: tuple[str, ...]
    if isinstance(defense, DpSgdSpec | SignDefense):  # one clips records by itself, the other forgets all lengths
        keys = ("clip_norm", "sam")
    elif isinstance(defense, PruneDefense | PerturbDefense):
        keys = ("sam",)
    else:
        return {}
    return dict.fromkeys(keys, f"training with `defense: {defense.name}`")
