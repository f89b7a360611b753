"""Ways to take a training step, one file each; a defense changes the gradient of a step, or has a way of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptaudit.errors import ModelError
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.training.steps.base import Batch, Step, StepContext
from ptaudit.training.steps.defended import Defended
from ptaudit.training.steps.passes import Passes, PlainStep
from ptaudit.training.steps.sam import Sam

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

__all__ = ["Batch", "Step", "StepContext", "make_step"]


def make_step(context: StepContext, train: TrainSpec) -> Step:
    """The step of the spec.

    Args:
        context: what is trained, on what.
        train: the spec.

    Raises:
        PtauditError: a package for the defense is absent, or model or data do not fit it.
    """
    defense = train.defense or UNDEFENDED
    if not defense.is_inserted(context.model, context.loss):
        raise ModelError(
            f"the layer of defense `{defense.name}` is not in the model",
            where="train.defense",
            remedy="put it there with its `insert`",
        )
    if (own := defense.step(context, train)) is not None:
        return own
    passes = Passes(context.model, context.loss, train, context.optimizer, context.device)
    if defense.acts_on == "gradient" and defense is not UNDEFENDED:
        return Defended(passes, context, train)
    return PlainStep(passes) if train.sam is None else Sam(passes, train.sam)
