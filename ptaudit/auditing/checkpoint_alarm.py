"""Is a replayed model the one that the checkpoints are of? Worse than a guess on its own members, it hardly is."""

from __future__ import annotations

import math

import torch

from ptaudit.context.session import Session
from ptaudit.training.evaluate import evaluate
from ptaudit.training.saved import load_into, load_state
from ptaudit.training.walk import Walk

_SIGMAS = 3.0
"""Standard errors below the share of the most frequent class from which on an accuracy is worse than a guess."""


_PROBED = 2000


def worse_than_a_guess(session: Session, accuracy: float, epoch: int, n: int) -> str:
    """An alarm where a model that was trained is right less often than one that always names the most frequent class.

    Args:
        session: what is audited.
        accuracy: of the model on members; NaN where there is none.
        epoch: of its checkpoint; 0 is not yet trained, and never alarms.
        n: how many members it was found on.

    Returns:
        The alarm, or nothing.
    """
    classes = session.records.classes
    if session.spec.replay is None or epoch == 0 or classes is None or not math.isfinite(accuracy):
        return ""
    targets = session.records.targets[torch.from_numpy(session.split.members)]
    guess = float(torch.bincount(targets, minlength=classes).max()) / len(targets)
    if accuracy >= guess - _SIGMAS * math.sqrt(guess * (1.0 - guess) / n):
        return ""
    return (
        f"The model at the checkpoint of epoch {epoch} is right in {accuracy:.1%} of the members, and always the most "
        f"frequent class in {guess:.1%}: these are hardly the inputs and labels that it was trained on. Check "
        "data.preprocess, data.classes and the order of classes; no number here is about that training."
    )


def alarm_of(session: Session, walk: Walk) -> str:
    """The alarm of the last checkpoint, found on some of the members; its weights stay in the model."""
    epoch, path = list(walk.saved.items())[-1]
    load_into(walk.model, load_state(path, walk.key)[0], path)
    some = session.split.members[:_PROBED]
    _, accuracy = evaluate(walk.model, session.records, session.loss, some)
    return worse_than_a_guess(session, accuracy, epoch, len(some))
