"""What a case of the selftest returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """The known answer and the one that was found, in words, and whether they agree."""

    expected: str
    found: str
    passed: bool


Case = Callable[[], Answer]
