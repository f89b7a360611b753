"""What an adversary who computes gradients itself works with on one view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ptaudit.attacks.evidence import Algebra
from ptaudit.gradients.matrices import RecordGradients
from ptaudit.views.knowledge import Knowledge
from ptaudit.views.observation import Observation
from ptaudit.views.view import View


@dataclass(frozen=True)
class Further:
    """What a view that adds up shows of held-out records.

    Training sets members apart from them (their gradients are smaller where the model overfits), so whether they are of
    use has to be tried on members.

    Attributes:
        tokens: of each of them, `(R, M, k)` float64, as `TokenObservation.tokens` are of members.
        read: gradients of the first so many as matrices, by layer.
    """

    tokens: Tensor
    read: Callable[[int], list[list[RecordGradients]]]

    def some(self, share: float) -> Tensor:
        """Tokens of a share of them."""
        return self.tokens[:, : self.count(share)]

    def count(self, share: float) -> int:
        """How many a share is."""
        return round(share * self.tokens.shape[1])


@dataclass(frozen=True)
class Known:
    """A view of N audited records as an adversary knows it.

    Attributes:
        tokens: of the records for R rows, `(R, N, k)` float64, as it believes the view to show them; clipped already
            where it clips.
        view: batch size, rounds, clipping and noise as it believes them to be.
        observation: what the games are played on; None for sums of the tokens and the noise of the view.
        known: what it prepares on, in the same rows as `observation`: the same one, or one of earlier weights; None for
            sums of the tokens (static, where there is an observation).
        algebra: the view as matrices; None for who is wrong about the view, or knows tokens alone.
        further: held-out records as its own, where the view adds up and they were read.
        late: whether it prepares on weights of the epoch before.
    """

    tokens: Tensor
    view: View
    observation: Observation | None = None
    known: Observation | None = None
    algebra: Algebra | None = None
    further: Further | None = None
    late: bool = False

    @property
    def knowledge(self) -> Knowledge:
        """What it knows of the view."""
        if self.observation is not None and self.known is None:
            return "static"
        return "late" if self.late else "adaptive"
