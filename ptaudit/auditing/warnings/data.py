"""Warnings about the records: who is on which side, and which labels they have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ptaudit.auditing.columns import unseen_levels
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.data.tensors import IGNORED
from ptaudit.views.records_needed import ADVISED_PER_MEMBER, RECORDS_PER_MEMBER


def users_on_both_sides(about: Subject) -> Iterator[str]:
    """Users of whom some records were trained on and others held out."""
    session = about.session
    name = session.spec.data.user
    if name is None:
        return
    user, split = session.records.columns[name], session.split
    both = len(np.intersect1d(user[split.members], user[split.held_out]))
    if both:
        yield (
            f"{both} users have records among the members and among those held out, which are then no strangers to the "
            f"model (data.split_by: {name} keeps users together)."
        )


def equal_records(about: Subject) -> Iterator[str]:
    """Records on both sides: who was held out has then been trained on."""
    records, split = about.session.records, about.session.split
    inputs, targets = records.inputs, records.targets
    if not isinstance(inputs, Tensor) or targets.dim() > 1:
        return
    digests = [hash((row.tobytes(), label)) for row, label in zip(inputs.cpu().numpy(), targets.tolist())]
    seen = {digests[place] for place in split.members.tolist()}
    both = sum(digests[place] in seen for place in split.held_out.tolist())
    if both:
        yield f"{both} of {len(split.held_out)} held-out records are equal to members, in all inputs and the label."


def levels_of_held_out_records(about: Subject) -> Iterator[str]:
    """Categories that hardly a member has."""
    return unseen_levels(about.session)


def fewer_classes_than_outputs(about: Subject) -> Iterator[str]:
    """Labels that are fewer than the outputs of the model may have been numbered anew."""
    session, output = about.session, about.output
    classes = session.records.classes
    if classes is None or session.spec.data.classes is not None:
        return
    if isinstance(output, Tensor) and output.dim() == 2 and output.shape[1] > max(classes, 2):
        yield (
            f"The model has {output.shape[1]} outputs, the labels {classes} classes, which were numbered in sorted "
            f"order: if they are codes that the model knows, set data.classes: {output.shape[1]}."
        )


def ignored_labels(about: Subject) -> Iterator[str]:
    """Records none of whose positions counts: there is nothing to learn from them, and nothing to find out."""
    targets = about.session.records.targets
    if targets.dim() > 1 and not targets.is_floating_point():
        none = int((targets == IGNORED).flatten(1).all(1).sum())
        if none:
            yield f"{none} of {len(targets)} records have no label that counts: their loss and their gradient are 0."


def augmentation(about: Subject) -> Iterator[str]:
    """Members as they are, which were trained on otherwise."""
    if about.session.spec.data.augment is not None:
        yield "Records were read without the augmentation that they were trained with."


def few_held_out_records(about: Subject) -> Iterator[str]:
    """Sides of membership that are not as large."""
    session = about.session
    about_members = any(game.about_members for game in session.spec.audit.games)
    if about_members and len(session.others) < 0.9 * len(session.members):
        yield f"Only {len(session.others)} held-out records stand against {len(session.members)} members."


def records_per_view(about: Subject) -> Iterator[str]:
    """Views that have fewer records than are advised, but enough; those that look through an encoder have half of
    all."""
    session = about.session
    n, audit = len(session.members), session.spec.audit
    every = [game for game in audit.games if game.on_views]
    games = [game for game in every if not game.is_of_noise]  # of which some records are enough
    halved = [game for game in games if game.needs_encoder and audit.tokens.encoder != "sketch"]
    kinds = [(1, [game for game in games if game not in halved]), (2, halved)]
    for view in session.views:
        for times, some in kinds:
            taken = times * view.records * view.batches
            advised = ADVISED_PER_MEMBER * taken
            of = "" if len(some) == len(every) else f" for {' and '.join(game.title for game in some)}"
            why = "" if times == 1 else " (half of them train the encoder)"
            if some and RECORDS_PER_MEMBER * taken <= n < advised:
                yield f"View {view.name} has {n} audited records; {advised} are advised{of}{why}."
