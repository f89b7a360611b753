"""The batches of the reconstruction game, and what their gradients look like to who sees them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.messages import SharedGradients, slots_of
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.layer_patterns import audited, shared
from ptaudit.gradients.layers import Layer
from ptaudit.model_input import Inputs
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.views import View
from ptaudit.views.aggregate import draw_others
from ptaudit.views.gradients import BatchGradients


@dataclass(frozen=True)
class TargetBatches:
    """B targets, each with its batches.

    Attributes:
        inputs: all records that occur.
        targets: their targets.
        index: places of the R records of each target, itself first, `(B, R)`.
        members: places of the targets among the audited members, `(B,)`.
    """

    inputs: Inputs
    targets: Tensor
    index: Tensor
    members: Tensor


def draw(context: EpochContext, view: View, count: int) -> TargetBatches:
    """The same targets at every epoch and on every view of a size; the records beside them are no targets.

    There are to be enough members, see `too_few`.
    """
    generator = torch.Generator().manual_seed(context.seed)
    order = torch.randperm(len(context.session.members), generator=generator)
    others = view.batches * view.others
    beside = count + draw_others(len(order) - count, count, others, generator)
    index = torch.cat([torch.arange(count)[:, None], beside], 1)
    used, places = torch.unique(index, return_inverse=True)
    inputs, targets = context.session.batch(context.session.members[order[used].numpy()])
    return TargetBatches(inputs, targets, places, order[:count])


def too_few(n: int, view: View, count: int) -> str:
    """Why n members do not fill the batches of so many targets; empty if they do."""
    needed = count + view.batches * view.others
    return "" if n >= needed else f"needs {needed} records for batches of {view.records}, has {n}"


def shown(context: EpochContext, view: View, batches: TargetBatches) -> SharedGradients:
    """What is seen of every target, in the precision of training.

    Args:
        context: the epoch.
        view: the view, as `prepared` by its defender.
        batches: of the targets.
    """
    members = batches.index[:, slots_of(view.records, view.rounds, view.fixed_batch)].flatten(0, 1)  # (B * r, m)
    generator = torch.Generator().manual_seed(context.seed + context.epoch)
    source, defense = context.reader.source, view.defense or UNDEFENDED
    gradients = BatchGradients(source, batches.inputs, batches.targets, defense=defense, update=view.update)
    swapped = defense.labels(batches.targets.cpu()[members], generator) if defense.acts_on == "labels" else None
    if view.clip is None:
        whole = torch.cat(list(gradients.read(members, swapped, generator)))
    else:
        whole = _clipped(gradients, members, view.clip, generator)
    # A server rejects what is not finite, and nobody sees it.
    whole = defense.gradient(torch.where(whole.isfinite().all(1, keepdim=True), whole, 0.0), generator)
    noise_std = view.noise_std / view.records
    if noise_std > 0.0:
        whole = whole + noise_std * torch.randn(whole.shape, generator=generator).to(whole)
    parts = gradients.layout.parts(whole)
    names = [layer.path(name) for layer in layers_of(context, view) for name in layer.parameters]
    seen = {name: parts[name].view(-1, view.rounds, *parts[name].shape[1:]) for name in names}
    return SharedGradients(seen, view.records, view.fixed_batch, view.update, noise_std)


def layers_of(context: EpochContext, view: View) -> list[Layer]:
    """The layers that a view shares, whether or not their gradients can be read record by record."""
    spec = context.session.spec
    return [one for one in context.reader.source.layers if audited(spec, one.name) and shared(view, one.name)]


def _clipped(gradients: BatchGradients, members: Tensor, clip: float, generator: torch.Generator) -> Tensor:
    """Means of the clipped gradients of the records of batches `(G, m)`, `(G, d)`."""
    found = []
    for batch in members:
        alone = torch.cat(list(gradients.read(batch[:, None], None, generator)))
        factor = clip / alone.norm(dim=1, keepdim=True).clamp_min(clip)
        found.append((alone * factor).mean(0))
    return torch.stack(found)
