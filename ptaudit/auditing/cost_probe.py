"""An epoch with few of the layers and records, on which the games of a run are timed before it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from ptaudit.auditing.seed import encoders
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.layer_patterns import shared
from ptaudit.context.session import Session
from ptaudit.gradients import RecordGradients
from ptaudit.gradients.matrices import CELLS, cells_of, first
from ptaudit.progress import Silent
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import Tokens
from ptaudit.views import View
from ptaudit.views.records_needed import RECORDS_PER_MEMBER

ENOUGH = 256
"""Records of which games take about as long as of many, where a view does not need more."""

SECONDS = 3.0
"""Of reading, after which a view that needs more records is timed with a smaller batch."""

_FIRST = 16


@dataclass(frozen=True)
class CostProbe:
    """What was read of the first audited records, from which samples of an epoch are made.

    Attributes:
        session: the audit.
        model: its model.
        reader: of the model, prepared.
        inside: tokens of the members that were read.
        outside: of as many held-out records, if there are so many.
        gradients: of the members, for each layer of the tokens.
        read_seconds: of reading the tokens of one record.
        gradient_seconds: of reading its gradients as matrices.
    """

    session: Session
    model: nn.Module
    reader: TokenReader
    inside: Tokens
    outside: Tokens
    gradients: Sequence[Sequence[RecordGradients]]
    read_seconds: float
    gradient_seconds: float

    @classmethod
    def of(cls, session: Session, model: nn.Module, reader: TokenReader) -> CostProbe:
        """Read as many records as the views need, unless that takes long."""
        for _ in range(2):  # the first call pays for kernels and buffers
            began = time.perf_counter()
            reader.read(*session.batch(session.members[:_FIRST]))
            each = (time.perf_counter() - began) / _FIRST
        needed = max((needed_by(view, session) for view in session.views), default=ENOUGH)
        n = min(len(session.members), max(ENOUGH, min(needed, int(SECONDS / each))))
        began = time.perf_counter()
        inside = reader.read(*session.batch(session.members[:n]))
        read = time.perf_counter()
        gradients = reader.gradients(*session.batch(session.members[:n]))
        times = (read - began) / n, (time.perf_counter() - read) / n
        return cls(session, model, reader, inside, reader.read(*session.batch(session.others[:n])), gradients, *times)

    def places(self, view: View) -> list[int]:
        """Captured layers that a view shares, as rows of the tokens."""
        return [i for i, layer in enumerate(self.inside.layers) if shared(view, layer.name)]

    def smaller(self, view: View) -> View:
        """The view with as large a batch as the records that were read allow, if they are not all."""
        allowed = view.batch_size * len(self.inside.loss) // needed_by(view, self.session)
        if allowed >= view.batch_size or len(self.inside.loss) == len(self.session.members):
            return view
        return replace(view, batch_size=max(1, allowed))

    def context(self, session: Session, view: View, layers: int) -> EpochContext:
        """So many of the layers that a view shares, from small to large, and as many records as tell what all cost.

        Batches are held in pieces as small as they are with all layers.
        """
        shown = sorted(self.places(view), key=lambda i: (self.inside.layers[i].parameters, i))
        some = sorted(shown[(2 * i + 1) * len(shown) // (2 * layers)] for i in range(layers))
        n = min(len(self.inside.loss), max(ENOUGH, needed_by(view, session)))
        fewer = replace(session, members=session.members[:n], others=session.others[:n])
        reader = self.reader.only([self.inside.layers[i].name for i in some])
        cells = [cells_of([self.gradients[i] for i in layers], view.records) for layers in (some, shown)]
        found = EpochContext(
            fewer, 0, 0, self.model, self.reader.layers, _some(self.inside, some, n), _some(self.outside, some, n),
            reader, encoders=encoders(fewer, Silent()), cells=CELLS * cells[0] // max(1, cells[1]),
        )  # fmt: skip
        found.give([[first(one, n) for one in self.gradients[i]] for i in some])
        return found


def needed_by(view: View, session: Session) -> int:
    """Audited records without which a view is inconclusive."""
    halves = 1 if session.spec.audit.tokens.encoder == "sketch" else 2
    return halves * RECORDS_PER_MEMBER * view.records * view.batches


def _some(tokens: Tokens, layers: Sequence[int], n: int) -> Tokens:
    """Some layers of the first records."""
    return replace(
        tokens,
        values=tokens.values[list(layers), :n],
        norm_sq=tokens.norm_sq[list(layers), :n],
        total_norm_sq=tokens.total_norm_sq[:n],
        loss=tokens.loss[:n],
        layers=tuple(tokens.layers[i] for i in layers),
    )
