"""The layer of the bottleneck (Alemi et al. 2017), and the loss with its term.

It hangs on the last linear layer: nothing of the model is renamed or replaced, and an `nn.Sequential` stays as long as
it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.defenses.last_linear import Place, hang
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.training.seeding import INSERTED, derived_seed, seeded


class PenalisedLoss:
    """loss + beta KL(code of the record || standard normal), in nats, per record.

    The bottleneck tells the KL of its latest pass, so the loss must be taken right after the pass that it is of: inside
    `vmap` and with other parameters too.

    Args:
        loss: per-record loss.
        beta: weight of the KL term.

    Attributes:
        func: the loss inside, by which checks know it.
    """

    def __init__(self, loss: PerRecordLoss, beta: float) -> None:
        self.func = getattr(loss, "func", loss)
        self._loss = loss
        self._beta = beta
        self._kl: Tensor | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Losses (n,) of the pass that was just made.

        Raises:
            RuntimeError: there was none, or it was of another number of records.
        """
        losses, kl = self._loss(output, target), self._kl
        if kl is None or len(kl) != len(losses):
            raise RuntimeError("the loss of a bottleneck can be had right after its forward pass only")
        return losses + self._beta * kl

    def __deepcopy__(self, memo: object) -> PenalisedLoss:
        """Itself: copies of a model tell the same loss."""
        return self

    def told(self, kl: Tensor) -> None:
        """Take the KL of a pass, (n,)."""
        self._kl = kl


class Bottleneck(nn.Module):
    """A Gaussian code of the features: sampled in training mode, its mean in evaluation mode.

    The log-variance is bent so that it stays below 0, that of the prior: more noise has no use, and the exponential of
    what overshoots would end the training. It starts at -ln 2 for all records, for the same reason: from far below, a
    large beta throws it across.

    Args:
        features: numbers that come in and go out.
        width: numbers in the code; None for as many, without a layer behind.
        loss: what is told the KL of every pass.

    Attributes:
        sampled: sample in evaluation mode too.
    """

    def __init__(self, features: int, width: int | None, loss: PenalisedLoss) -> None:
        super().__init__()
        code = features if width is None else width
        self.mean = nn.Linear(features, code)
        self.log_variance = nn.Linear(features, code)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)
        self.decoder = nn.Identity() if code == features else nn.Linear(code, features)
        self.sampled = False
        self._loss = loss

    def forward(self, features: Tensor) -> Tensor:
        """(n, ..., features) -> (n, ..., features)."""
        mean, log_variance = self.mean(features), -F.softplus(-self.log_variance(features))
        self._loss.told(divergence(mean, log_variance))
        if self.training or self.sampled:
            mean = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        code: Tensor = self.decoder(mean)
        return code


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(0, 1) in nats, summed over the code: (n, ..., k) -> (n,).

    Averaged over positions, where a record has several.
    """
    wide = torch.promote_types(mean.dtype, torch.float32)
    mean, log_variance = mean.to(wide), log_variance.to(wide)
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1)
    return kl if kl.dim() == 1 else kl.flatten(1).mean(1)


def insert_bottleneck(place: Place, width: int | None, loss: PenalisedLoss, seed: int) -> None:
    """Put a bottleneck before the last layer, as its child `bottleneck`.

    Args:
        place: the last layer.
        width: numbers in the code; None for as many as the layer takes.
        loss: the loss of the training.
        seed: seed of the initial weights.
    """
    head = place.head
    with seeded(derived_seed(seed, INSERTED)):
        bottleneck = Bottleneck(head.in_features, width, loss)
    hang(head, "bottleneck", bottleneck.to(head.weight))


def bottlenecks(model: nn.Module) -> list[Bottleneck]:
    """Those of a model."""
    return [module for module in model.modules() if isinstance(module, Bottleneck)]


@contextmanager
def sampling(model: nn.Module) -> Iterator[None]:
    """Bottlenecks of the model sample their code in evaluation mode too, from the global generator.

    So a gradient can be read as training shows it, with all else frozen.
    """
    found = bottlenecks(model)
    before = [module.sampled for module in found]
    try:
        for module in found:
            module.sampled = True
        yield
    finally:
        for module, was in zip(found, before):
            module.sampled = was
