"""What is known of each record by an epoch, to foretell from: of a fleet, or of the audited run alone.

All are `(n,)` by name. Those of a fleet come from the scores of the models that labels do NOT come from (`forecast`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.apart import effect
from ptaudit.stats.dynamics.plane import FleetTrajectory, points, sides

Array = NDArray[np.float64]
Features = dict[str, Array]


def fleet_features(trajectory: FleetTrajectory) -> dict[float, Features]:
    """By epoch, of the scores up to it: how far those with and without a record are apart (`apart.effect`; now,
    mean and largest so far, last gain), the advantage TPR - FPR, the FPR, and the mean score without the record."""
    apart, at, (outside, _) = effect(trajectory), points(trajectory), sides(trajectory)
    before = np.concatenate([apart[:1], apart[:-1]])
    so_far = np.arange(1.0, len(apart) + 1.0)[:, None]
    rows = {
        "effect": apart,
        "mean_effect": np.cumsum(apart, axis=0) / so_far,
        "largest_effect": np.maximum.accumulate(apart),
        "effect_gain": apart - before,
        "advantage": at[..., 1] - at[..., 0],
        "fpr": at[..., 0],
        "score_without": outside.mean,
    }
    return {
        float(epoch): {name: values[place] for name, values in rows.items()}
        for place, epoch in enumerate(trajectory.epochs)
    }


def run_features(
    epochs: Array, loss_trace: Array, gradient_norms: Array | None = None, uniqueness: Array | None = None
) -> dict[float, Features]:
    """By epoch, of the audited run alone, whose records are members.

    The interquartile range of the loss trace is that of Pollock et al. (arXiv 2411.05743): how much the loss moved.

    Args:
        epochs: (E,), ascending.
        loss_trace: (E, n), losses after each, nats.
        gradient_norms: (E, n), norms of the gradient of the loss; left out where None.
        uniqueness: (n,), how far a record is from others, any unit; left out where None.

    Raises:
        ValueError: for shapes that do not fit, or numbers that are not finite.
    """
    given = {"losses": loss_trace, "gradient norms": gradient_norms, "uniqueness": uniqueness}
    shapes = {"losses": loss_trace.shape, "gradient norms": loss_trace.shape, "uniqueness": loss_trace.shape[1:]}
    for name, values in given.items():
        if values is not None and (values.shape != shapes[name] or not np.isfinite(values).all()):
            raise ValueError(f"{name} must be {shapes[name]} finite numbers, given {values.shape}")
    if epochs.shape != loss_trace.shape[:1]:
        raise ValueError(f"losses of {len(loss_trace)} epochs need as many epochs, given {epochs.tolist()}")
    return {
        float(epoch): _of_run(loss_trace[: place + 1], gradient_norms, uniqueness) for place, epoch in enumerate(epochs)
    }


def _of_run(losses: Array, gradient_norms: Array | None, uniqueness: Array | None) -> Features:
    low, high = np.quantile(losses, [0.25, 0.75], axis=0)
    found = {
        "loss": losses[-1],
        "mean_loss": losses.mean(0),
        "loss_iqr": high - low,
        "loss_fall": losses[0] - losses[-1],
    }
    if gradient_norms is not None:
        seen = gradient_norms[: len(losses)]
        found |= {"gradient_norm": seen[-1], "mean_gradient_norm": seen.mean(0)}
    return found if uniqueness is None else found | {"uniqueness": uniqueness}
