"""A federated update: the change of the weights after some local steps, in the place of a gradient."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    """What a client computes on its batch, as FedAvg does (McMahan et al., arXiv 1602.05629).

    The adversary knows the weights that were sent out, not those of the steps between. The change of the weights is
    shown divided by `-lr * local_steps`, which who knows both can do: the mean of the gradients along the way, so that
    one step is exactly the plain gradient.

    Attributes:
        local_steps: steps of gradient descent on the whole batch (E), at least 1.
        lr: their learning rate, above 0.
    """

    local_steps: int
    lr: float

    def __post_init__(self) -> None:
        if self.local_steps < 1 or not self.lr > 0.0:
            raise ValueError(f"an update takes at least one step at a positive rate, not {self}")
