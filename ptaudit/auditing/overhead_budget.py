"""What looking on may cost: a budget that grows with the time of the bare training and pays for what was measured."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable

_WARM_UP = 3
"""Passes that are not looked at: the first ones pay for kernels and buffers."""

_RECENT = 15


class OverheadBudget:
    """Keeps the seconds spent on looking within a share of the seconds of the bare training.

    Args:
        budget: the share, e.g. 0.1.
    """

    def __init__(self, budget: float) -> None:
        self.bare = 0.0
        self.spent = 0.0
        self._budget = budget
        self._passes = 0
        self._per_record: deque[float] = deque(maxlen=_RECENT)
        self._costs: dict[Hashable, deque[float]] = {}

    @property
    def overhead(self) -> float:
        """Seconds spent, as a share of those of the bare training so far."""
        return self.spent / self.bare if self.bare > 0 else 0.0

    def earn(self, seconds: float, records: int) -> None:
        """A pass that nobody looked at."""
        self._passes += 1
        if self._passes > 1:  # the first one says little of the others
            self._per_record.append(seconds / max(1, records))
        self.bare += seconds

    def pay_for_pass(self, what: Hashable, seconds: float, records: int) -> None:
        """A pass that was looked at: all above the recent median of bare ones is its cost."""
        bare = min(seconds, statistics.median(self._per_record) * records)
        self.bare += bare
        self.pay(what, seconds - bare)

    def pay(self, what: Hashable, seconds: float) -> None:
        """Something else that took time."""
        self.spent += seconds
        self._costs.setdefault(what, deque(maxlen=_RECENT)).append(seconds)

    def affords(self, what: Hashable) -> bool:
        """Whether there is enough for this, if it costs what it recently did; the first time it may go into debt."""
        if self._passes < _WARM_UP:
            return False
        costs = self._costs.get(what)
        return self._budget * self.bare - self.spent >= (statistics.median(costs) if costs else 0.0)
