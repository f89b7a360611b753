"""The estimators of mutual information by name, one line each: plain data, without torch, that specs are held to."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ptaudit.stats.estimate import Estimate, inconclusive

if TYPE_CHECKING:
    from ptaudit.estimators.base import Measured, Pairs


@dataclass(frozen=True)
class Option:
    """An option of an estimator.

    Attributes:
        default: its value where none is given.
        least: the smallest integer it may be; None for a word.
        words: what it may be, if it is a word.
    """

    default: int | str
    least: int | None = None
    words: tuple[str, ...] = ()

    def complaint(self, value: object) -> str | None:
        """What is wrong with `value`; None if nothing is."""
        if self.words:
            return None if value in self.words else f"must be one of {', '.join(self.words)}, not {value!r}"
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and (self.least is None or value >= self.least):  # type: ignore[operator]
            return None
        return f"must be an integer of at least {self.least}, not {value!r}"


@dataclass(frozen=True)
class Named:
    """An estimator; its module (and torch) is imported when it is first called.

    Attributes:
        module: where its function `measure` is.
        options: those that it takes.
    """

    module: str
    options: Mapping[str, Option]

    @property
    def name(self) -> str:
        """The last part of its module's name."""
        return self.module.rpartition(".")[2]

    def __call__(self, pairs: Pairs, seed: int, **options: int | str) -> list[Measured]:
        """`measure` of the estimator's module, with intervals that reach up to 0: no truth lies below.

        An interval that ends further below 0 than half its width is none that chance pushed there: the estimator
        failed, and that is inconclusive.

        Raises:
            ValueError: for an option that the estimator does not take or a value out of its range.
        """
        if wrong := self.complaint(options):
            raise ValueError(wrong)
        found: list[Measured] = importlib.import_module(self.module).measure(pairs, seed, **options)
        return [replace(one, bits=_reaching_zero(one.bits)) for one in found]

    def complaint(self, options: Mapping[str, object]) -> str | None:
        """What is wrong with some options; None if nothing is."""
        for name, value in options.items():
            if name not in self.options:
                takes = f"it takes {', '.join(self.options)}" if self.options else "it has none"
                return f"{self.name} takes no option {name!r}: {takes}"
            if wrong := self.options[name].complaint(value):
                return f"{self.name}: {name} {wrong}"
        return None


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


_NEIGHBOURS = {"neighbours": Option(3, least=1)}
_POINTS = {"coordinates": Option(8, least=1), "margins": Option("ranks", words=("ranks", "raw"))}
_SLICES = {"projections": Option(64, least=2), "slice_dim": Option(1, least=1)}
_CRITIC = {"critic": Option("separable", words=("separable", "joint"))}

ESTIMATORS: dict[str, Named] = {
    "ksg": Named("ptaudit.estimators.ksg", _NEIGHBOURS | _POINTS),
    "gaussian": Named("ptaudit.estimators.gaussian", {"coordinates": Option(64, least=1)}),
    "sliced": Named("ptaudit.estimators.sliced", _NEIGHBOURS | _SLICES),
    "infonce": Named("ptaudit.estimators.infonce", _CRITIC),
    "nwj": Named("ptaudit.estimators.nwj", _CRITIC),
    "mine": Named("ptaudit.estimators.mine", _CRITIC),
    "smile": Named("ptaudit.estimators.smile", _CRITIC),
}
"""The order is that of every listing. One added later is read, listed and in the JSON Schema like the others."""


def taking(option: str) -> set[str]:
    """Names of the estimators that take an option."""
    return {name for name, estimator in ESTIMATORS.items() if option in estimator.options}
