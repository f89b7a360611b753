"""The estimators by name with the options each takes: plain data that spec validation may read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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


_NEIGHBOURS = {"neighbours": Option(3, least=1)}
_POINTS = {"coordinates": Option(8, least=1), "margins": Option("ranks", words=("ranks", "raw"))}
_SLICES = {"projections": Option(64, least=2), "slice_dim": Option(1, least=1)}
_CRITIC = {"critic": Option("separable", words=("separable", "joint"))}

OPTIONS: Mapping[str, Mapping[str, Option]] = MappingProxyType(
    {
        "ksg": _NEIGHBOURS | _POINTS,
        "gaussian": {"coordinates": Option(64, least=1)},
        "sliced": _NEIGHBOURS | _SLICES,
        "infonce": _CRITIC,
        "nwj": _CRITIC,
        "mine": _CRITIC,
        "smile": _CRITIC,
    }
)
"""Estimator -> option -> what it may be. The order is that of every listing."""


def complaint(estimator: str, options: Mapping[str, object]) -> str | None:
    """What is wrong with an estimator's name or its options; None if nothing is."""
    if estimator not in OPTIONS:
        return f"unknown estimator {estimator!r}: one of {', '.join(OPTIONS)}"
    taken = OPTIONS[estimator]
    for name, value in options.items():
        if name not in taken:
            return f"{estimator} takes no option {name!r}: " + (
                f"it takes {', '.join(taken)}" if taken else "it has none"
            )
        if wrong := taken[name].complaint(value):
            return f"{estimator}: {name} {wrong}"
    return None
