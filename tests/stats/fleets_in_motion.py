"""Simulated fleets whose records become exposed at known epochs."""

import numpy as np

from ptaudit.stats.dynamics.plane import FleetTrajectory


def memberships(generator, models, n):
    """Each record in half of the models, (models, n)."""
    return generator.permuted(np.broadcast_to(np.arange(models)[:, None] < models // 2, (models, n)), axis=0)


def fleet(generator, models, n, shift, *, kept=0.7, fpr=0.1, inside=None):
    """Gaussian scores with spread 1, `kept` of which is the same from one epoch to the next.

    Args:
        shift: (E, n), by which members score higher.
    """
    shift = np.asarray(shift, dtype=float)
    inside = memberships(generator, models, n) if inside is None else inside
    scores, now = [], generator.standard_normal((models, n))
    for gain in shift:
        scores.append(now + gain * inside)
        now = kept * now + np.sqrt(1.0 - kept**2) * generator.standard_normal((models, n))
    return FleetTrajectory(np.stack(scores), inside, ~inside, np.arange(1.0, len(shift) + 1.0), fpr)


def exposed_from(epochs, n, when, size=6.0):
    """Shifts (E, n) of `size` from the place `when` (n,) on; -1 for never."""
    when = np.asarray(when)
    return size * ((np.arange(epochs)[:, None] >= when) & (when >= 0))
