"""Label differential privacy: labels are randomised before the gradient is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ptaudit.defenses.base import Defense, Moment
from ptaudit.stats.randomised_response import response_table


@dataclass(frozen=True)
class LabelDp(Defense):
    """Randomised response with a prior (Ghazi et al., arXiv 2102.06062), drawn anew for every batch that is seen.

    Epsilon is that of ONE label in ONE batch: r rounds with fresh responses spend r times as much. Inputs are not
    protected at all.

    Attributes:
        epsilon: privacy of one label (adjacency: the label of one record is another), at least 0.
        prior: probability of every class, known without looking at the records; None for alike.
    """

    epsilon: float
    prior: tuple[float, ...] | None = None

    moment: ClassVar[Moment] = "labels"

    def __post_init__(self) -> None:
        response_table(self.prior or (1.0,), self.epsilon)  # refuses impossible ones

    def table(self, classes: int) -> Tensor:
        """Probability of every response given every true class, `(classes, classes)`, float64."""
        prior = np.ones(classes) if self.prior is None else np.asarray(self.prior)
        if len(prior) != classes:
            raise ValueError(f"a prior of {len(prior)} classes where there are {classes}")
        return torch.from_numpy(response_table(prior, self.epsilon))

    def labels(self, targets: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """See `Defense.labels`."""
        table = self.table(classes)
        up_to = table.cumsum(1)
        up_to[table.flip(1).cumsum(1).flip(1) == table] = 1.0  # the last response takes what rounding has left over
        draw = torch.rand(targets.shape, generator=generator, dtype=torch.float64)
        shown = torch.searchsorted(up_to[targets.cpu()], draw[..., None], right=True).squeeze(-1)
        return shown.to(targets)

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """See `Defense.why_not`."""
        if classes is None:
            return "label_dp needs one class a record as target"
        if self.prior is not None and len(self.prior) != classes:
            return f"label_dp has a prior of {len(self.prior)} classes, and the data have {classes}"
        return ""
