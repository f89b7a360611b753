"""What a defense is: something done before, while or after the gradient of a batch is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Moment = Literal["labels", "pass", "gradient"]


class Defense:
    """A defense overrides one of the three methods, and says by `moment` which; the others leave things as they are."""

    moment: ClassVar[Moment] = "gradient"
    """When it acts."""

    def labels(self, targets: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """Targets of the records of G batches, `(G, m)`, as the gradient is computed with."""
        return targets

    @contextmanager
    def during(self, model: nn.Module) -> Iterator[None]:
        """Entered around the passes through a model in evaluation mode, which may draw from the global generators."""
        yield

    def __call__(self, gradients: Tensor, generator: torch.Generator) -> Tensor:
        """Mean gradients of G batches over all trainable parameters, `(G, d)`, as they are shown."""
        return gradients

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """Why it cannot defend this model; empty if it can.

        Args:
            model: the model.
            classes: number of classes where targets are classes, else None.
        """
        return ""
