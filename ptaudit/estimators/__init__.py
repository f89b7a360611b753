"""Estimators of mutual information: one file each, from pairs to `Estimate` in bits."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ptaudit.estimators.names import OPTIONS, complaint
from ptaudit.stats.estimate import Estimate, inconclusive

if TYPE_CHECKING:
    from ptaudit.estimators.base import Measured, Pairs

__all__ = ["ESTIMATORS", "Named"]


class Named:
    """The estimator of a name; its module (and torch) is imported when it is first called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, pairs: Pairs, seed: int, **options: int | str) -> list[Measured]:
        """`measure` of the estimator's module, with intervals that reach up to 0: no truth lies below.

        An interval that ends further below 0 than half its width is none that chance pushed there: the estimator
        failed, and that is inconclusive.

        Raises:
            ValueError: for an option that the estimator does not take or a value out of its range.
        """
        if wrong := complaint(self.name, options):
            raise ValueError(wrong)
        found: list[Measured] = importlib.import_module(f"{__name__}.{self.name}").measure(pairs, seed, **options)
        return [replace(one, bits=_reaching_zero(one.bits)) for one in found]


def _reaching_zero(bits: Estimate) -> Estimate:
    if not bits.conclusive or bits.hi >= 0.0:
        return bits
    if -bits.hi > (bits.hi - bits.lo) / 2.0:
        return inconclusive(
            f"the estimate is {bits.value:.3g} bits, far below the least that is possible",
            ceiling=bits.ceiling,
            n=bits.n,
        )
    return replace(bits, hi=0.0)


ESTIMATORS: Mapping[str, Named] = MappingProxyType({name: Named(name) for name in OPTIONS})
"""All estimators, in the order of every listing."""
