"""Held-out records as the own records of an adversary who learns: nothing is reported of them.

Training sets members apart from them, so whether they are of use is tried on members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.games.common.answers import Batches
from ptaudit.views.sight import Sight

Draw = Callable[[Tensor, int, torch.Generator], Batches]
"""Draws about so many games from the records of a part, the targets of neighbouring games being different."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out records as the adversary's own: she learns from them too, where that tells her more of members.

    Attributes:
        secret: of each of them what the game's `measure` asks of the audited ones, `(M, ...)`.
        sight: what is seen of batches of audited records and of these after them; None where that is not to be had.
    """

    secret: Tensor
    sight: Callable[[], Sight | None]

    def batches(self, draw: Draw, like: Batches, audited: int, games: int, generator: torch.Generator) -> Batches:
        """Batches of the records of others and of the held-out ones, of one round."""
        records = torch.cat([torch.unique(like.members), torch.arange(audited, audited + len(self.secret))])
        drawn = draw(records, games, generator)
        return replace(drawn, members=drawn.members[:1])
