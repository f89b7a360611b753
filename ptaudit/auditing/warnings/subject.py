"""What warnings are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import nn

from ptaudit.context.encoding import Encoders
from ptaudit.context.session import Session
from ptaudit.model_input import to_device
from ptaudit.tables.run import LayerEntry
from ptaudit.training.forward import trial_forward

_FEW = 16
"""Records whose outputs are looked at."""


@dataclass(frozen=True)
class Subject:
    """An audit, as far as it is known when warnings are asked for.

    Attributes:
        session: what is audited.
        model: on its device; left as found.
        unreliable: what makes the numbers of an epoch unreliable, by epoch and kind, see `epochs`.
        layers: of the model.
        alarm: what is badly wrong with its checkpoints; empty if nothing is.
        learned: encoders that were trained.
        shown: names of the captured layers of each view.
    """

    session: Session
    model: nn.Module
    unreliable: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    layers: Sequence[LayerEntry] = ()
    alarm: str = ""
    learned: Encoders | None = None
    shown: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def output(self) -> object:
        """What the model gives for a few members."""
        inputs = self.session.batch(self.session.members[:_FEW])[0]
        return trial_forward(self.model, to_device(inputs, self.session.device))
