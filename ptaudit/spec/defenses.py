"""Defenses between the gradients and the adversary: one class each. A list of strengths makes a defense for each."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ptaudit.spec.base import Count, Number, OrList, Part, Text, by_name, name_tag

Share = Annotated[Number, Field(gt=0, lt=1), OrList()]
Positive = Annotated[Number, Field(gt=0), OrList()]


class DefenseSpec(Part):
    """Something done to gradients before they are seen."""

    name: str
    """Which defense."""

    parameter: ClassVar[str] = ""
    """The setting that says how strong it is; none for some."""
    stochastic: ClassVar[bool] = False
    """Whether the same batch looks different every time."""

    @property
    def strength(self) -> float | None:
        """Value of that setting."""
        return float(getattr(self, self.parameter)) if self.parameter else None

    @property
    def title(self) -> str:
        """Name, strength and what else tells it from others like it: `prune-0.9`, `dp-1-c2`, `vib-0.1-w16`."""
        strength = None if self.strength is None else f"{self.strength:g}"
        return "-".join(filter(None, [self.name, strength, self.detail]))

    @property
    def detail(self) -> str:
        """Settings beside the strength that are not the usual ones, for the title; empty where there are none."""
        return ""

    def training(self) -> dict[str, Any]:
        """The same as `train.defense`."""
        return self.plain()


class DpDefense(DefenseSpec):
    """`dp`: clip the gradient of each record, add Gaussian noise to their sum."""

    name: Literal["dp"]
    """Which defense."""
    clip: Annotated[Number, Field(gt=0)]
    """Norm C that the gradient of a record, over all trainable parameters, is clipped to."""
    noise_multiplier: Annotated[Number, Field(ge=0), OrList()]
    """Standard deviation of the noise in units of C, per coordinate of the sum."""

    parameter: ClassVar[str] = "noise_multiplier"
    stochastic: ClassVar[bool] = True

    @property
    def detail(self) -> str:
        """The clipping norm, if it is not 1: `c2`."""
        return "" if self.clip == 1 else f"c{self.clip:g}"

    def training(self) -> dict[str, Any]:
        """DP-SGD with this clipping and noise."""
        return {**self.plain(), "name": "dp_sgd"}


class PruneDefense(DefenseSpec):
    """`prune`: the smallest numbers of the gradient are set to 0."""

    name: Literal["prune"]
    """Which defense."""
    ratio: Share
    """Share of the numbers that are set to 0."""

    parameter: ClassVar[str] = "ratio"


class SignDefense(DefenseSpec):
    """`sign`: only the sign of each number of the gradient is shown."""

    name: Literal["sign"]
    """Which defense."""


class PerturbDefense(DefenseSpec):
    """`perturb`: the gradient is moved so that a probe of the defender's guesses the secret wrong."""

    name: Literal["perturb"]
    """Which defense."""
    size: Positive = 0.1
    """Length of the change relative to the gradient's."""
    attribute: Text | None = None
    """The secret that the defender's probe looks for, a column of `data.attributes`; default the label."""

    parameter: ClassVar[str] = "size"

    @property
    def detail(self) -> str:
        """The attribute, if it is not the label; what cannot be in the name of a folder becomes `_`."""
        return re.sub(r"[^\w.\-]", "_", self.attribute or "")


class DropoutDefense(DefenseSpec):
    """`dropout`: the gradient is that of a network with dropout before its last linear layer."""

    name: Literal["dropout"]
    """Which defense."""
    rate: Share
    """Share of the features that are dropped; dropout layers of the model get it too."""

    parameter: ClassVar[str] = "rate"
    stochastic: ClassVar[bool] = True


class LabelDpDefense(DefenseSpec):
    """`label_dp`: labels are randomised (randomised response with a prior) before the gradient is computed."""

    name: Literal["label_dp"]
    """Which defense."""
    epsilon: Positive
    """Privacy of one label."""

    parameter: ClassVar[str] = "epsilon"
    stochastic: ClassVar[bool] = True


class VibDefense(DefenseSpec):
    """`vib`: a variational information bottleneck before the last linear layer; only in training."""

    name: Literal["vib"]
    """Which defense."""
    beta: Positive
    """Weight of the information that may pass."""
    width: Count | None = None
    """Numbers in the code; default as many as the last layer takes."""

    parameter: ClassVar[str] = "beta"

    @property
    def detail(self) -> str:
        """The width, if it is given: `w16`."""
        return "" if self.width is None else f"w{self.width}"


_CLASSES: dict[str, type[DefenseSpec]] = {
    "dp": DpDefense,
    "prune": PruneDefense,
    "sign": SignDefense,
    "perturb": PerturbDefense,
    "dropout": DropoutDefense,
    "label_dp": LabelDpDefense,
    "vib": VibDefense,
}

DEFENSES = tuple(_CLASSES)
"""Names of the defenses."""


def _known(value: Any) -> Any:
    return by_name(value, _CLASSES, "defense")


Defense = Annotated[
    Annotated[DpDefense, Tag("<dp>")]
    | Annotated[PruneDefense, Tag("<prune>")]
    | Annotated[SignDefense, Tag("<sign>")]
    | Annotated[PerturbDefense, Tag("<perturb>")]
    | Annotated[DropoutDefense, Tag("<dropout>")]
    | Annotated[LabelDpDefense, Tag("<label_dp>")]
    | Annotated[VibDefense, Tag("<vib>")],
    Discriminator(name_tag, custom_error_type="choice", custom_error_message="{name: ...} with the name of a defense"),
    BeforeValidator(_known),
]
"""Any of the defenses."""
