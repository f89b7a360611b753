"""A view of the gradient, as the games see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptaudit.spec.audit import ViewSpec
    from ptaudit.spec.defenses import DefenseSpec


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
        users: batches of `batch_size` records that are summed before they are seen (secure aggregation).
        fixed_batch: whether all rounds show the same batch.
        defense: what else is done to the gradient of a batch; None for nothing but clipping and noise.
        update: the federated update that is seen in place of a gradient, or None.

    The noise is never the projection of full-space noise, which would dilute the signal by token over gradient
    dimension: a token is a near-isometric picture of the gradient, and isotropic noise keeps its size under one.
    """

    name: str
    batch_size: int = 1
    rounds: int = 1
    layers: tuple[str, ...] = ()
    clip: float | None = None
    noise_std: float = 0.0
    users: int = 1
    fixed_batch: bool = False
    defense: DefenseSpec | None = None
    update: Update | None = None

    @classmethod
    def of(cls, spec: ViewSpec) -> View:
        """The view of the spec; its defense is not prepared yet."""
        bare = cls(spec.name, spec.batch_size, spec.rounds, tuple(spec.layers or ()))
        update = Update(spec.update.local_steps, spec.update.lr) if spec.update else None
        view = replace(bare, users=spec.users, fixed_batch=spec.fixed_batch, update=update)
        return view if spec.defense is None else spec.defense.on(view)

    @property
    def records(self) -> int:
        """Records in what is seen at once."""
        return self.batch_size * self.users

    @property
    def batches(self) -> int:
        """Different batches in a game: one for each round, or the same in all."""
        return 1 if self.fixed_batch else self.rounds

    @property
    def linear(self) -> bool:
        """Whether what is seen of a batch is the sum of what is seen of its records (and noise)."""
        return self.defense is None and self.update is None

    @property
    def others(self) -> int:
        """Records of the batch that are not the target."""
        return self.records - 1
