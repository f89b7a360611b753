"""The tokens of the records that were seen last, each record once: memory that does not grow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.gradients.layers import LayerInfo
from ptaudit.sketches.live import LiveTokens


class Window:
    """The last `size` distinct records.

    A record that comes again replaces what it was: its token of other weights says less than the new one. Tokens that
    are not finite (an fp16 step that overflowed) are left out.

    Args:
        size: most records.

    Attributes:
        layers: the layers of the tokens, as they last came.
        fresh: records that came since `read` was last called.
    """

    def __init__(self, size: int) -> None:
        self.layers: tuple[LayerInfo, ...] = ()
        self.fresh = 0
        self._size = size
        self._slots: dict[int, int] = {}
        self._owners: list[int] = []
        self._next = 0
        self._values: Tensor | None = None

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, records: Sequence[int], tokens: LiveTokens) -> None:
        """Takes in the tokens (L, n, dim) of n records; a layer that is no longer captured is forgotten."""
        self._fit(tokens)
        assert self._values is not None
        finite = tokens.values.isfinite().all(-1).all(0).tolist()
        places = {}  # of a record that occurs twice in a batch, the last counts
        for place, record in enumerate(records):
            if finite[place]:
                places[self._slot(record)] = place
        slots, sources = (torch.tensor(list(x), dtype=torch.long) for x in (places.keys(), places.values()))
        self._values[:, slots.to(self._values.device)] = tokens.values[:, sources.to(tokens.values.device)]
        self.fresh += len(places)

    def read(self) -> Tensor:
        """The tokens (L, N, dim) of the N records in the window."""
        assert self._values is not None
        self.fresh = 0
        return self._values[:, : len(self)]

    def _fit(self, tokens: LiveTokens) -> None:
        names = [layer.name for layer in tokens.layers]
        before = [layer.name for layer in self.layers]
        if self._values is None:
            self._values = tokens.values.new_zeros(len(names), self._size, tokens.values.shape[2])
        elif names != before:
            self._values = self._values[[before.index(name) for name in names]]
        self.layers = tokens.layers

    def _slot(self, record: int) -> int:
        if record in self._slots:
            return self._slots[record]
        slot = self._next
        self._next = (self._next + 1) % self._size
        if slot < len(self._owners):
            del self._slots[self._owners[slot]]
            self._owners[slot] = record
        else:
            self._owners.append(record)
        self._slots[record] = slot
        return slot
