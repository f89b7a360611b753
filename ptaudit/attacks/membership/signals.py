"""What an attack sees: signals of records in the audited model, and of the same records in reference models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptaudit.attacks.membership.outputs import (
    bounded,
    confidence_of_error,
    confidence_of_logits,
    confidence_of_loss,
    loss_of_confidence,
    modified_entropy,
)
from ptaudit.stats.partners import partners

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
T = TypeVar("T")

_OF_RECORDS = ("labels", "features", "known_outside")
"""Signals that are the same in every model."""


@dataclass(frozen=True)
class Signals:
    """Signals of n records in one model, or, with a leading axis, in N models. What was not read is None.

    Any statistic that is higher for members and near Gaussian over models may stand in the place of the confidence (a
    layer's gradient product, say): likelihood-ratio attacks look at nothing else.

    Attributes:
        confidence: `(..., n)`, the logit-scaled confidence in the true class.
        losses: `(..., n)`, negative log-likelihoods in nats.
        modified_entropy: `(..., n)`, see `outputs.modified_entropy`.
        labels: `(n,)`.
        loss_trace: `(..., E, n)`, losses after E epochs.
        gradient_norms: `(..., n)`, norms of the gradient of the loss.
        update_products: `(..., n)`, inner products of the gradient with the weights' last update.
        boundary_distances: `(..., n)`, signed distances of the inputs from the boundary of their class.
        features: `(n, F)`, what anybody knows of a record: its inputs and label.
        known_outside: `(n,)`, the records that the adversary knows not to be members and may learn from.
    """

    confidence: Array
    losses: Array | None = None
    modified_entropy: Array | None = None
    labels: NDArray[np.int64] | None = None
    loss_trace: Array | None = None
    gradient_norms: Array | None = None
    update_products: Array | None = None
    boundary_distances: Array | None = None
    features: Array | None = None
    known_outside: Mask | None = None

    def __post_init__(self) -> None:
        """Raises: ValueError: for signals of different models or records, all of them named."""
        expected = self.confidence.shape
        wrong = [
            f"{name} {value.shape}"
            for name, value in self._by_model()
            if (value.shape[:-2] + value.shape[-1:] if name == "loss_trace" else value.shape) != expected
        ]
        of_records = {name: getattr(self, name) for name in _OF_RECORDS}
        wrong += [
            f"{name} {value.shape}"
            for name, value in of_records.items()
            if value is not None and value.shape[:1] != expected[-1:]
        ]
        if wrong:
            raise ValueError(f"signals of different models or records: confidence {expected}, {', '.join(wrong)}")

    @property
    def records(self) -> int:
        """Number of records n."""
        return int(self.confidence.shape[-1])

    def model(self, index: int | slice | NDArray[np.int64]) -> Signals:
        """Signals of one of N models, or of some."""
        found: dict[str, Array] = {name: value[index] for name, value in self._by_model()}
        return replace(self, **found)  # type: ignore[arg-type]

    def _by_model(self) -> list[tuple[str, Array]]:
        """Signals that differ between models, by name."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self) if field.name not in _OF_RECORDS)
        return [(name, value) for name, value in named if value is not None]


def mean_of(queries: Sequence[Signals]) -> Signals:
    """Signals of the same models and records, asked in several ways: the mean of each signal over the queries."""
    names = [name for name, _ in queries[0]._by_model()]
    found: dict[str, Array] = {name: np.mean([getattr(one, name) for one in queries], axis=0) for name in names}
    return replace(queries[0], **found)  # type: ignore[arg-type]


def given(value: T | None) -> T:
    """A signal, or the reference models, that an attack needs.

    Raises:
        ValueError: where they are not there; `registry.MembershipAttack.missing` says beforehand which.
    """
    if value is None:
        raise ValueError("the attack needs a signal, or reference models, that it was not given")
    return value


def from_logits(logits: ArrayLike, labels: ArrayLike) -> Signals:
    """Signals of classifiers' outputs.

    Args:
        logits: `(n, C)` or `(N, n, C)`, before the softmax, C at least 2.
        labels: `(n,)` integers in 0..C-1.

    Raises:
        ValueError: for shapes or labels that do not fit.
    """
    values, classes = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    confidence = confidence_of_logits(values, classes)
    return Signals(confidence, loss_of_confidence(confidence), modified_entropy(values, classes), classes)


def from_losses(losses: ArrayLike) -> Signals:
    """Signals of losses that are negative log-likelihoods of an outcome (cross-entropy, binary cross-entropy).

    Args:
        losses: `(n,)` or `(N, n)`, at least 0.
    """
    values = bounded(np.asarray(losses, dtype=np.float64))
    return Signals(confidence_of_loss(values), values)


def from_errors(errors: ArrayLike, scale: float) -> Signals:
    """Signals of a regression's squared or absolute errors.

    Args:
        errors: `(n,)` or `(N, n)`, at least 0.
        scale: mean error of records that were not trained on, above 0: losses are errors in this unit, so that they do
            not depend on that of the target.

    Raises:
        ValueError: if `scale` is not above 0.
    """
    if not scale > 0.0:
        raise ValueError(f"the scale of errors must be above 0, not {scale}")
    values = bounded(np.asarray(errors, dtype=np.float64) / scale)
    return Signals(confidence_of_error(values), values)


@dataclass(frozen=True)
class References:
    """Reference models, and for each record those trained on it and those not.

    A model that is in neither of the masks of a record is not looked at there.

    Attributes:
        signals: of N models, `(N, n)`.
        inside: `(N, n)`, whether a model was trained on a record.
        outside: `(N, n)`, whether it was not.
    """

    signals: Signals
    inside: Mask
    outside: Mask

    def __post_init__(self) -> None:
        """Raises: ValueError: for masks that do not fit the signals or each other."""
        expected = self.signals.confidence.shape
        if len(expected) != 2 or self.inside.shape != expected or self.outside.shape != expected:
            raise ValueError(
                "reference models need signals and masks of one shape (models, records), not "
                f"{expected}, {self.inside.shape} and {self.outside.shape}"
            )
        if (self.inside & self.outside).any():
            raise ValueError("a reference model cannot have been trained on a record and not")

    def fewest(self) -> tuple[int, int]:
        """Fewest models that any record has inside, and outside."""
        models = len(self.inside)
        return int(self.inside.sum(0).min(initial=models)), int(self.outside.sum(0).min(initial=models))


def references(signals: Signals, included: Mask) -> References:
    """All of N models as references; `included` `(N, n)` says which records each was trained on."""
    return References(signals, included, ~included)


def leave_one_out(fleet: References) -> Iterator[tuple[Signals, References]]:
    """Each of N models as the target in turn, the others as its references.

    The target is never its own reference. That alone leaves a bias: a target trained on a record has one reference
    fewer inside, one that was not has one fewer outside, which tells them apart without any leak (arXiv 2605.25819). So
    for each record a partner of the other side is left out too (see `stats.partners`): without signal a score then
    has the same distribution inside and outside.

    Args:
        fleet: N models.

    Yields:
        Signals `(n,)` of a target, and its references.
    """
    partner = partners(fleet.inside, fleet.outside)
    for target in range(len(partner)):
        used = np.ones(partner.shape, dtype=np.bool_)
        used[target] = False
        paired = np.flatnonzero(partner[target] >= 0)
        used[partner[target, paired], paired] = False
        yield fleet.signals.model(target), References(fleet.signals, fleet.inside & used, fleet.outside & used)
