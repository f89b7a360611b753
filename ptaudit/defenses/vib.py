"""The information bottleneck of a defended model, as its training shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ptaudit.defenses.base import Defense, Moment
from ptaudit.training.layers import Bottleneck, sampling


@dataclass(frozen=True)
class Vib(Defense):
    """Codes are sampled while the gradient is computed, anew for every record of every batch that is seen.

    The bottleneck itself is a layer of the model, put there and trained by `train.defense`.
    """

    moment: ClassVar[Moment] = "pass"

    @contextmanager
    def during(self, model: nn.Module) -> Iterator[None]:
        """See `Defense.during`."""
        with sampling(model):
            yield

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """See `Defense.why_not`."""
        there = any(isinstance(module, Bottleneck) for module in model.modules())
        return "" if there else "the model was not trained with an information bottleneck"
