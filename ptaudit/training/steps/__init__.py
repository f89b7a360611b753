"""Ways to take a training step, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptaudit.spec.defenses import PerturbDefense, PruneDefense, SignDefense
from ptaudit.training.accounting import need_opacus
from ptaudit.training.layers import check_inserted
from ptaudit.training.steps.base import Batch, Step, StepContext
from ptaudit.training.steps.defended import Change, Defended
from ptaudit.training.steps.passes import Passes, micro_batch
from ptaudit.training.steps.perturb import Perturb, secret_of
from ptaudit.training.steps.plain import Plain
from ptaudit.training.steps.prune import Prune
from ptaudit.training.steps.sam import Sam
from ptaudit.training.steps.sign import Sign

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

__all__ = ["Batch", "Step", "StepContext", "make_step"]


def make_step(context: StepContext, train: TrainSpec) -> Step:
    """The step of the spec.

    Args:
        context: what is trained, on what.
        train: the spec.

    Raises:
        PtauditError: Opacus is needed and absent, or model or data do not fit the defense.
    """
    check_inserted(context.model, train, context.loss)
    if train.dp is not None:
        need_opacus()
        from ptaudit.training.steps.dp_sgd import DpSgd

        return DpSgd(context, train)
    passes = Passes(context.model, context.loss, train, context.optimizer, context.device)
    change = _change(context, train, passes)
    if change is not None:
        return Defended(passes, change)
    return Plain(passes) if train.sam is None else Sam(passes, train.sam)


def _change(context: StepContext, train: TrainSpec, passes: Passes) -> Change | None:
    """What the defense does to the gradients of ordinary steps."""
    defense = train.defense
    if isinstance(defense, PruneDefense):
        return Prune(defense.ratio)
    if isinstance(defense, SignDefense):
        return Sign()
    if isinstance(defense, PerturbDefense):
        secret, largest = secret_of(context.records, defense.attribute), micro_batch(train)
        return Perturb(passes, defense.size, secret, context.members, context.batch, largest, context.seed)
    return None
