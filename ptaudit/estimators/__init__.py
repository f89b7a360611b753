"""Estimators of mutual information: one file each, from pairs to `Estimate` in bits."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ptaudit.estimators.names import OPTIONS, complaint

if TYPE_CHECKING:
    from ptaudit.estimators.base import Measured, Pairs

__all__ = ["ESTIMATORS", "Named"]


class Named:
    """The estimator of a name; its module (and torch) is imported when it is first called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, pairs: Pairs, seed: int, **options: int | str) -> list[Measured]:
        """`measure` of the estimator's module, with intervals that reach up to 0: no truth lies below.

        Raises:
            ValueError: for an option that the estimator does not take or a value out of its range.
        """
        if wrong := complaint(self.name, options):
            raise ValueError(wrong)
        found: list[Measured] = importlib.import_module(f"{__name__}.{self.name}").measure(pairs, seed, **options)
        return [replace(one, bits=replace(one.bits, hi=max(one.bits.hi, 0.0))) for one in found]


ESTIMATORS: Mapping[str, Named] = MappingProxyType({name: Named(name) for name in OPTIONS})
"""All estimators, in the order of every listing."""
