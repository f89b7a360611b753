"""What the threat model of the reconstruction game grants: weights, what inputs look like, and what a spec adds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.inversion.batch_norm import statistics
from ptaudit.attacks.inversion.messages import Granted, InputSpace, Statistics, slots_of
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.memo import Key
from ptaudit.context.session import Session
from ptaudit.data.contents import Content, Prior
from ptaudit.data.contents.tokens import sequences
from ptaudit.games.reconstruction.info import ReconstructionGame
from ptaudit.games.reconstruction.shown import TargetBatches
from ptaudit.games.reconstruction.texts import TextsKnown
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.model_input import Inputs, mapped, rows, to_device
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.views import View

_REFERENCE = 4096
"""Most held-out records from which the adversary knows what inputs look like."""

REFERENCE: Key[Reference] = Key("held-out records as what is known of any record")


@dataclass(frozen=True)
class Reference:
    """What held-out records tell of any record.

    Attributes:
        prior: for scores of rebuilt records.
        space: what inputs look like.
        mean: their mean, `(*shape)`; of texts the most frequent token of each position.
        texts: what they tell of any text, where they are texts.
    """

    prior: Prior
    space: InputSpace
    mean: Tensor
    texts: TextsKnown | None = None


def reference_of(context: EpochContext, content: Content) -> Reference:
    """What held-out records tell, found out once for all epochs."""
    return context.session.memo.once(REFERENCE, (), lambda: _reference(context, content))


def _reference(context: EpochContext, content: Content) -> Reference:
    session = context.session
    inputs, _ = session.batch(session.others[:_REFERENCE])
    prior = content.prior(content.targets(inputs))
    if content.kind == "tokens":
        return _of_texts(inputs, session, prior)
    assert isinstance(inputs, Tensor)
    # Of pictures a channel has one range, of tables every column its own.
    sides = (0, 2, 3) if content.kind == "picture" else (0,)
    mean, std = inputs.mean(sides, keepdim=True)[0], inputs.std(sides, keepdim=True)[0].clamp_min(1e-3)
    low, high = inputs.amin(sides, keepdim=True)[0], inputs.amax(sides, keepdim=True)[0]
    shape, classes = tuple(inputs.shape[1:]), session.records.classes
    groups = content.parts.groups if content.kind == "table" and len(shape) == 1 else ()
    space = InputSpace(shape, content.kind, low, high, mean, std, classes, groups=groups)
    return Reference(prior, space, inputs.mean(0))


def _of_texts(texts: Inputs, session: Session, prior: Prior) -> Reference:
    """The tokens that there are at all are no secret: the embedding has a row for each."""
    vocabulary = int(sequences(session.records.inputs)[0].max()) + 1
    known, nothing = TextsKnown.of(texts, vocabulary), torch.zeros(())
    space = InputSpace(
        tuple(known.guess.shape), "tokens", nothing, nothing, nothing, nothing, session.records.classes, vocabulary,
        form=mapped(lambda leaf: torch.zeros_like(leaf[:1]), texts),
    )  # fmt: skip
    return Reference(prior, space, known.guess, known)


def granted(
    context: EpochContext, game: ReconstructionGame, view: View, batches: TargetBatches, reference: Reference
) -> Granted:
    """What somebody is granted who knows the view as it is; `unaware` of its defense is another one."""
    source, device = context.reader.source, context.reader.source.device
    found = Granted(
        source.model,
        source.loss,
        reference.space,
        prior=reference.mean.to(device),
        defense=view.defense or UNDEFENDED,
        clip=view.clip,
    )
    # Where a defense changes labels the gradient is not of the ones that are known.
    if game.labels == "known" and found.defense.acts_on != "labels":
        found = replace(found, labels=batches.targets.to(device)[batches.index])
    return replace(found, batch_norm=_statistics(found, view, batches)) if game.batch_norm else found


def _statistics(known: Granted, view: View, batches: TargetBatches) -> Statistics:
    """Of the true batches of every target and round."""
    slots = slots_of(view.records, view.rounds, view.fixed_batch)
    inputs = to_device(rows(batches.inputs, batches.index[:, slots].flatten(0, 1)), known.device)
    with frozen_state(known.model, known.device), torch.no_grad():
        found = statistics(known, inputs)
    shape = len(batches.index), view.rounds
    return {path: (mean.view(*shape, -1), var.view(*shape, -1)) for path, (mean, var) in found.items()}


def unaware(known: Granted, batches: TargetBatches, game: ReconstructionGame) -> Granted:
    """The same without the defense: what is seen is taken for a plain gradient."""
    labels = batches.targets.to(known.device)[batches.index] if game.labels == "known" else None
    return replace(known, defense=UNDEFENDED, clip=None, labels=labels)
