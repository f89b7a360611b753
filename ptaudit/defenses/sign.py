"""Signed gradients: only the direction of each number is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.defenses import DefenseSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ptaudit.spec.train import TrainSpec


class SignDefense(DefenseSpec):
    """`sign`: only the sign of each number of the gradient is shown."""

    name: Literal["sign"]
    """Which defense."""

    unused: ClassVar[tuple[str, ...]] = ("clip_norm", "sam")  # it forgets all lengths

    def gradient(self, gradients: Tensor, generator: torch.Generator) -> Tensor:
        """-1, 0 or 1 for every number (signSGD, Bernstein et al., arXiv 1802.04434).

        Magnitudes are lost, so what is seen has the norm `sqrt(d)` whatever the gradient's: on an undefended
        adversary's scale that is meaningless, and it is left as it is.
        """
        return gradients.sign()

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """What was followed."""
        yield f"Training followed the sign of each step's gradient{before}"
