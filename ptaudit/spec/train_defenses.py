"""Defenses in the training itself: `train.defense`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ptaudit.spec.base import Number, Part, by_name, fault, name_tag
from ptaudit.spec.defenses import DropoutDefense, LabelDpDefense, PerturbDefense, PruneDefense, SignDefense, VibDefense

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
    return by_name(value, _CLASSES, "defense", " of the training", {"dp": "in training it is `dp_sgd`"})


TrainDefense = Annotated[
    Annotated[DpSgdSpec, Tag("<dp_sgd>")]
    | Annotated[PruneTraining, Tag("<prune>")]
    | Annotated[SignDefense, Tag("<sign>")]
    | Annotated[PerturbTraining, Tag("<perturb>")]
    | Annotated[VibTraining, Tag("<vib>")]
    | Annotated[DropoutTraining, Tag("<dropout>")]
    | Annotated[LabelDpTraining, Tag("<label_dp>")],
    Discriminator(name_tag, custom_error_type="choice", custom_error_message="{name: ...} with the name of a defense"),
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
