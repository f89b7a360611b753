"""What an adversary who computes gradients itself works with on one view."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ptaudit.attacks.evidence import Algebra
from ptaudit.views.further import Further
from ptaudit.views.knowledge import Knowledge
from ptaudit.views.sight import Sight
from ptaudit.views.view import View


@dataclass(frozen=True)
class Known:
    """A view of N audited records as an adversary knows it.

    Attributes:
        tokens: of the records for R rows, `(R, N, k)` float64, as it believes the view to show them; clipped already
            where it clips.
        view: batch size, rounds, clipping and noise as it believes them to be.
        sight: what the games are played on; None for sums of the tokens and the noise of the view.
        known: what it prepares on, in the same rows as `sight`: the same one, or one of earlier weights; None for sums
            of the tokens (static, where there is a sight).
        algebra: the view as matrices; None for who is wrong about the view, or knows tokens alone.
        further: held-out records as its own, where the view adds up and they were read.
        late: whether it prepares on weights of the epoch before.
    """

    tokens: Tensor
    view: View
    sight: Sight | None = None
    known: Sight | None = None
    algebra: Algebra | None = None
    further: Further | None = None
    late: bool = False

    @property
    def knowledge(self) -> Knowledge:
        """What it knows of the view."""
        if self.sight is not None and self.known is None:
            return "static"
        return "late" if self.late else "adaptive"
