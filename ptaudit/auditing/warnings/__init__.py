"""What a reader of the tables must know, in one list: a warning is a function of the `Subject`, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ptaudit.auditing.warnings import data, epochs, games, training
from ptaudit.auditing.warnings.subject import Subject

Warn = Callable[[Subject], Iterator[str]]
"""No sentence, or some."""


def _unreliable_epochs(about: Subject) -> Iterator[str]:
    return epochs.unreliable_epochs(about.unreliable)


def _alarm(about: Subject) -> Iterator[str]:
    if about.alarm:
        yield about.alarm


OF_TABLES: tuple[Warn, ...] = (
    _unreliable_epochs,
    training.batch_norm,
    training.dropout,
    data.users_on_both_sides,
    data.equal_records,
    data.levels_of_held_out_records,
    data.fewer_classes_than_outputs,
    training.outputs_that_are_no_logits,
    data.ignored_labels,
    data.augmentation,
    data.few_held_out_records,
    training.evaluated_members,
    training.canaries,
    training.randomised_labels,
    training.steps,
    training.saved_checkpoints,
    training.reference_models,
    training.learned_encoders,
)
"""How the numbers of a run came about."""

BEFOREHAND: tuple[Warn, ...] = (data.records_per_view, games.idle_gates)
"""What a run will not tell, known before it."""


def of_tables(about: Subject) -> tuple[str, ...]:
    """What goes with the tables of a run."""
    return _all(OF_TABLES, about)


def of_check(about: Subject) -> tuple[str, ...]:
    """What a check says, what is badly wrong first."""
    return _all((_alarm, *OF_TABLES, *BEFOREHAND), about)


def _all(warnings: tuple[Warn, ...], about: Subject) -> tuple[str, ...]:
    return tuple(text for warn in warnings for text in warn(about))
