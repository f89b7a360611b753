"""Bounds on what the noise of a view lets anybody know of a record, from singular values of Jacobians."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.gradients.input_jacobian import SingularValues
from ptaudit.gradients.lanczos import relative_gap
from ptaudit.model_input import Inputs, leaves
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.fisher import fisher_loss, least_mse, mean_information
from ptaudit.stats.median import median
from ptaudit.views import View

ERROR = 0.01
"""Probability that one of the largest singular values of a row is above the end of its interval."""


@dataclass(frozen=True)
class Population:
    """The inputs that records come from, their numbers all taken together.

    Attributes:
        spread: root mean square distance of a number from its mean over the records; of the same class, where there are
            classes.
        extent: largest number less the smallest, what a PSNR is measured by.
    """

    spread: float
    extent: float

    @classmethod
    def of(cls, inputs: Inputs, classes: Tensor) -> Population:
        """That of some records; inputs that are whole numbers do not count.

        Args:
            inputs: of n records.
            classes: of each record, `(n,)`; all the same where there are none.
        """
        numbers = torch.cat([_flat(leaf) for leaf in leaves(inputs) if leaf.is_floating_point()], 1)
        groups = np.unique(classes.cpu().numpy(), return_inverse=True)[1]
        squares = sum(_squares(numbers[groups == one].numpy()) for one in range(groups.max() + 1))
        spread = math.sqrt(squares / numbers.numel())
        return cls(spread, float(numbers.max() - numbers.min()))

    def psnr(self, mse: float) -> float:
        """Peak signal-to-noise ratio in decibels of a mean squared error above 0."""
        return float(10.0 * np.log10(self.extent**2 / mse))


def _squares(numbers: NDArray[np.float64]) -> float:
    """Summed squared distances from the mean, as those of another record would be; 0 of one record alone."""
    n = len(numbers)
    return float(np.square(numbers - numbers.mean(0)).sum()) * n / max(n - 1, 1)


def _flat(leaf: Tensor) -> Tensor:
    return leaf.double().flatten(1).cpu()


def bounds(found: SingularValues, view: View, population: Population, seed: int) -> dict[str, list[Estimate]]:
    """Metrics of a view with noise, for all layers jointly and for each.

    Args:
        found: of N records, at the view's clipping norm.
        view: the view.
        population: where records come from.
        seed: of resamples.

    Returns:
        `fisher_loss`: the median record. `fisher_loss_max`: the largest of these N records; one drawn from the same
        source is above it with a probability of 1 / (N + 1). `psnr_hi_db`: of the median record, what nobody's estimate
        exceeds on average over a Gaussian prior as wide as the population, whose mean as a guess is the null.
    """
    gap = relative_gap(found.steps, found.columns, ERROR / found.largest_sq.shape[1])
    told: dict[str, list[Estimate]] = {"fisher_loss": [], "fisher_loss_max": [], "psnr_hi_db": []}
    for largest, total, doubt in zip(found.largest_sq.numpy(), found.sum_sq.numpy(), found.doubts, strict=True):
        if doubt:
            for estimates in told.values():
                estimates.append(inconclusive(doubt, n=len(largest)))
            continue
        loss = fisher_loss(largest, view.noise_std, view.rounds)
        most = np.sqrt(1.0 / (1.0 - gap)) * loss if gap < 1.0 else np.full_like(loss, np.inf)
        told["fisher_loss"].append(median(loss, most, null=0.0, seed=seed))
        told["fisher_loss_max"].append(_largest(loss, most))
        information = mean_information(total, found.columns, view.noise_std, view.rounds)
        told["psnr_hi_db"].append(in_decibels(median(information, information, null=0.0, seed=seed), population))
    return told


def _largest(loss: NDArray[np.float64], most: NDArray[np.float64]) -> Estimate:
    """The largest of these very records: the interval is that of its own error alone."""
    if not np.isfinite(loss).all():
        return inconclusive("values that are not finite", n=len(loss))
    top = float(loss.max())
    return Estimate(top, top, float(most.max()), 0.0, np.nan, len(loss))


def in_decibels(information: Estimate, population: Population) -> Estimate:
    """`psnr_hi_db` of the median information (trace over d): decibels are monotone in it."""
    if not information.conclusive:
        return information

    def decibels(number: float) -> float:
        return population.psnr(float(least_mse(number, population.spread)))

    assert information.draws is not None
    draws = np.array([decibels(number) for number in information.draws])
    value, lo, hi, null = map(decibels, (information.value, information.lo, information.hi, information.null))
    return replace(information, value=value, lo=lo, hi=hi, null=null, draws=draws)
