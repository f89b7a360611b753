"""A view of the gradient, as the games see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """How many records are summed, how often, and what is added.

    Attributes:
        name: its name in the spec and the tables.
        batch_size: records in one sum (m).
        rounds: independent sums that hold the same target (r).
        layers: glob patterns of the layers that are shared; empty means all.
        clip: L2 bound on every record's whole gradient (C), or None.
        noise_std: standard deviation per coordinate of the noise on the SUM of the tokens.

    The noise is never the projection of full-space noise, which would dilute the signal by token over gradient
    dimension: a token is a near-isometric picture of the gradient, and isotropic noise keeps its size under one.
    """

    name: str
    batch_size: int = 1
    rounds: int = 1
    layers: tuple[str, ...] = ()
    clip: float | None = None
    noise_std: float = 0.0

    @property
    def others(self) -> int:
        """Records of the batch that are not the target."""
        return self.batch_size - 1
