"""Warnings about the training: how the gradients that were read differ from those that were followed."""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.auditing.training import training_notes
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context import training_canaries
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.training.evaluate import MOST_MEMBERS


def evaluated_members(about: Subject) -> Iterator[str]:
    """Losses of some of the members."""
    members = len(about.session.split.members)
    if members > MOST_MEMBERS:
        yield (f"Losses and accuracies of training are of {MOST_MEMBERS:,} members drawn at random, of {members:,}.")


def canaries(about: Subject) -> Iterator[str]:
    """Canaries among what was trained on."""
    yield from training_canaries.notes(about.session)


def randomised_labels(about: Subject) -> Iterator[str]:
    """Classes that randomised labels never name."""
    session = about.session
    return (session.spec.train.defense or UNDEFENDED).record_notes(session.records, session.split)


def steps(about: Subject) -> Iterator[str]:
    """What a step did with the gradient before it was followed."""
    return training_notes(about.session.spec, len(about.session.split.members))


def saved_checkpoints(about: Subject) -> Iterator[str]:
    """What a reader must know of an audit that trained nothing itself."""
    spec = about.session.spec
    if spec.replay is None:
        return
    given = spec.data.members or spec.data.non_members
    split = "the index files of `data`" if given else "`data.held_out` and `data.seed`, for no index file names it"
    yield (
        f"Nothing was trained: the weights are those of saved checkpoints. Members and held-out records are told apart "
        f"by {split}; the tables are right only if that training saw the members and none of the held-out records."
    )
    yield f"Of the checkpoints, {spec.replay.numbering.how}."


def reference_models(about: Subject) -> Iterator[str]:
    """Reference models that are trained on fewer records than the audited one."""
    session = about.session
    members, held_out = len(session.split.members), len(session.split.held_out)
    if session.spec.fleet is not None and held_out < members:
        yield (
            f"Reference models are trained on {(members + held_out) // 2:,} records each and the audited model on "
            f"{members:,}, for there are fewer held-out records than members: attacks that hold one against the other "
            "may find less."
        )


def learned_encoders(about: Subject) -> Iterator[str]:
    """How well the learned encoders keep what they read."""
    if about.learned is not None:
        yield from about.learned.warnings(about.shown)
