"""Signed gradients: only the direction of each number is sent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.defenses.base import Defense


@dataclass(frozen=True)
class Sign(Defense):
    """-1, 0 or 1 for every number (signSGD, Bernstein et al., arXiv 1802.04434).

    Magnitudes are lost, so what is seen has the norm `sqrt(d)` whatever the gradient's: on an undefended adversary's
    scale that is meaningless, and it is left as it is.
    """

    def __call__(self, gradients: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Defense.__call__`."""
        return gradients.sign()
