"""What an inversion attack is told, and what it says: values that stand between a game and the attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from ptaudit.data.contents.tokens import composed
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.gradients.whole_gradients import trainable
from ptaudit.model_input import Inputs, leaves
from ptaudit.progress import Progress
from ptaudit.spec.defenses import UNDEFENDED, DefenseSpec
from ptaudit.views.view import Update

Weights = Mapping[str, Tensor]
"""Parameters by their path in the model."""


def slots_of(batch_size: int, rounds: int, fixed_batch: bool) -> Tensor:
    """Which of the records of a target are in the batch of each round, `(r, m)`; see `SharedGradients.fixed_batch`."""
    if fixed_batch:
        return torch.arange(batch_size).expand(rounds, batch_size)
    others = 1 + torch.arange(rounds * (batch_size - 1)).view(rounds, batch_size - 1)
    return torch.cat([torch.zeros(rounds, 1, dtype=torch.long), others], 1)


@dataclass(frozen=True)
class SharedGradients:
    """What the adversary sees: the gradients of B targets, each of a batch of m records, in r rounds.

    The B targets are independent of each other: they are attacked side by side.

    Attributes:
        gradients: mean gradient of every shared parameter by path, `(B, r, *shape)`; a parameter that is not in it is
            not shared. An update is shown divided by `-lr * local_steps`, as `views.view.Update` says: the mean of the
            gradients along its steps.
        batch_size: records in a batch (m).
        fixed_batch: whether all rounds show one batch; else the first record of a batch is in all rounds, the others in
            one each.
        update: the local steps behind what is seen; None for a gradient.
        noise_std: standard deviation of the noise on every number of the mean gradient; 0 for none, None where there is
            some of unknown size.
    """

    gradients: Mapping[str, Tensor]
    batch_size: int = 1
    fixed_batch: bool = False
    update: Update | None = None
    noise_std: float | None = 0.0

    def __len__(self) -> int:
        """Targets (B)."""
        return len(next(iter(self.gradients.values())))

    @property
    def rounds(self) -> int:
        """Rounds (r)."""
        return next(iter(self.gradients.values())).shape[1]

    @property
    def slots(self) -> Tensor:
        """Which of the R records of a target are in the batch of each round, `(r, m)`."""
        return slots_of(self.batch_size, self.rounds, self.fixed_batch)

    @property
    def records(self) -> int:
        """Different records in all rounds of a target (R): m, or `1 + r (m - 1)` where the batch changes."""
        return int(self.slots.max()) + 1

    def some(self, index: Tensor | slice) -> SharedGradients:
        """Some of the targets."""
        return replace(self, gradients={path: g[index] for path, g in self.gradients.items()})


@dataclass(frozen=True)
class InputSpace:
    """What an input of the model looks like, as everybody knows who has the model: nothing is about one record.

    Attributes:
        shape: of the input of one record, without the dimension of records.
        kind: `picture` (channels, height, width), `table` (rows of numbers) or `tokens` (ids), see `data.contents`.
        low: smallest value of every number, of a shape that broadcasts to `shape`, as the model is given it; minus
            infinity where nobody knows.
        high: the largest, likewise.
        mean: of the numbers, of a shape that broadcasts to `shape` (of pictures one a channel).
        std: their standard deviation, likewise.
        classes: number of classes of the targets; None where targets are numbers.
        vocabulary: of tokens, the number of ids.
        groups: of tables, the places of the inputs of each column of categories, one of which is 1: how columns are
            encoded.
        form: of tokens, the inputs of one text `(1, ...)`, of which names and types are taken, and no number.
    """

    shape: tuple[int, ...]
    kind: str
    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor
    classes: int | None = None
    vocabulary: int | None = None
    groups: tuple[slice, ...] = ()
    form: Inputs | None = None

    @property
    def masked(self) -> bool:
        """Whether a mask says which tokens are real."""
        return self.form is not None and len(leaves(self.form)) > 1

    def inputs(self, values: Tensor, real: Tensor | None = None) -> Inputs:
        """What the model is given of records `(n, *shape)`; of texts these are ids, `real` of them (else all)."""
        if self.form is None:
            return values
        real = torch.ones_like(values, dtype=torch.bool) if real is None else real
        return composed(self.form, values, real)


Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Mean and biased variance of each channel of what a BatchNorm layer is given, by the path of the layer."""


@dataclass(frozen=True)
class Granted:
    """What the threat model grants the adversary beside what is seen.

    Attributes:
        model: architecture, weights and buffers, in evaluation mode, on the device; to be left as found.
        loss: (output, target) -> one loss per record.
        space: what inputs look like.
        labels: targets of the records of every target batch, `(B, R, ...)`; None: they have to be recovered.
        batch_norm: statistics of each target's batches, `(B, r, C)`; None where they are not shared.
        prior: what to guess without a gradient, `(*shape)`: the mean of records that the adversary has, of texts the
            most frequent token of every position; None for none.
        defense: what is known to be done to the mean gradient of all trainable parameters before it is seen;
            `UNDEFENDED` where nothing is known, or done.
        clip: norm that each record's whole gradient is known to be clipped to; None where none is known.
    """

    model: nn.Module = field(repr=False)
    loss: PerRecordLoss
    space: InputSpace
    labels: Tensor | None = None
    batch_norm: Statistics | None = None
    prior: Tensor | None = None
    defense: DefenseSpec = UNDEFENDED
    clip: float | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Trainable parameters by path."""
        return {path: p.detach() for path, p in trainable(self.model).items()}

    @property
    def guess(self) -> Tensor:
        """What to say of a record of which nothing is known, `(*shape)`: the prior, or else the middle of all."""
        middle = self.space.mean if self.prior is None else self.prior
        return middle.to(self.device).expand(self.space.shape)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def some(self, index: Tensor | slice) -> Granted:
        """What is granted about some of the targets."""
        labels = None if self.labels is None else self.labels[index]
        norms = self.batch_norm and {path: (mean[index], var[index]) for path, (mean, var) in self.batch_norm.items()}
        return replace(self, labels=labels, batch_norm=norms)


@dataclass(frozen=True)
class Budget:
    """What an attack may spend on all targets together. Those in closed form ask for the seconds alone.

    Attributes:
        seconds: after which it stops and says so: what it has by then is no measurement of the attack.
        iterations: steps of each search.
        restarts: searches for each target, from different starts; the one that explains best what is seen is kept.
    """

    seconds: float = 600.0
    iterations: int = 300
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.seconds <= 0.0 or min(self.iterations, self.restarts) < 1:
            raise ValueError(f"a budget has some seconds and at least one iteration and restart, not {self}")


@dataclass(frozen=True)
class Reconstruction:
    """What an attack says of B targets.

    Attributes:
        records: the R records of every target, in no particular order, `(B, R, *shape)`; None where the attack says
            what is in the batch and not in which record.
        labels: their targets, `(B, R, ...)`.
        objective: how far what is seen is from what these records would show, `(B,)` float64; in a unit of the attack's
            own, 0 for a perfect match.
        iterations: steps that each search took.
        seconds: that it took for all targets.
        ran_out: whether the seconds of the budget ended it.
        unsolved: records of which the attack says nothing, `(B, R)` bool: in their place is what it would guess without
            a gradient. None for none of them.
        why_unsolved: why it says nothing of these.
        tokens: how often every token is in the records of a target, `(B, V)`; None where the attack does not say.
    """

    records: Inputs | None
    labels: Tensor
    objective: Tensor
    iterations: int
    seconds: float
    ran_out: bool
    unsolved: Tensor | None = None
    why_unsolved: str = ""
    tokens: Tensor | None = None


class Rebuild(Protocol):
    """An attack.

    `generator` is a CPU generator, of all that is random; `progress` hears of the steps.
    """

    def __call__(
        self, seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
    ) -> Reconstruction:
        """Rebuild the records."""
