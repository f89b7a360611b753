"""A population of records of different difficulty, scored by models that were trained on half of it each."""

from dataclasses import dataclass, replace

import numpy as np

from ptaudit.attacks.membership.signals import from_logits


@dataclass(frozen=True)
class Population:
    """Confidences of n records are Gaussian over models.

    Attributes:
        mean: `(n,)` of models without the record.
        spread: `(n,)` standard deviations over models.
        shift: `(n,)`, by how many spreads the mean is higher in models with it.
    """

    mean: np.ndarray
    spread: np.ndarray
    shift: np.ndarray

    def confidences(self, included, generator):
        """Of models trained on `included` `(N, n)`."""
        noise = generator.standard_normal(included.shape)
        return self.mean + self.spread * (self.shift * included + noise)

    def signals(self, included, generator):
        """Signals `(N, n)` of classifiers of two classes."""
        return signals_of(self.confidences(included, generator))


def population(n, generator, shift=1.0, difficulty=2.0, spreads=0.0):
    """Records whose mean has standard deviation `difficulty`, and whose log spread has `spreads`."""
    return Population(
        1.0 + difficulty * generator.standard_normal(n),
        np.exp(spreads * generator.standard_normal(n)),
        np.broadcast_to(np.asarray(shift, dtype=float), n),
    )


def signals_of(confidences):
    """Signals of two-class models with these confidences in the true class, which is 0 and 1 in turn."""
    labels = np.arange(confidences.shape[-1]) % 2
    half = confidences / 2
    own = np.where(labels == 0, half, -half)
    return from_logits(np.stack([own, -own], -1), labels)


def halves(models, n, generator):
    """`(N, n)`: every record in half of the models, drawn at random."""
    return generator.permuted(np.broadcast_to(np.arange(models)[:, None] < models // 2, (models, n)), axis=0)


def one(signals):
    """The first of N models."""
    return signals.model(0)


def with_gradients(signals, generator):
    """Signals with norms, products, loss traces and features that have nothing to do with membership."""
    shape = signals.confidence.shape
    return replace(
        signals,
        gradient_norms=generator.exponential(size=shape),
        update_products=generator.standard_normal(shape),
        boundary_distances=np.random.default_rng(shape[-1]).standard_normal(shape),
        loss_trace=generator.exponential(size=(*shape[:-1], 6, shape[-1])),
        features=np.random.default_rng(shape[-1]).standard_normal((shape[-1], 3)),
        known_outside=np.arange(shape[-1]) % 2 == 0,
    )
