"""Defenses of the gradient of a batch, one file each."""

from __future__ import annotations

from collections.abc import Callable

from ptaudit.defenses.base import Defense
from ptaudit.defenses.dropout import Dropout
from ptaudit.defenses.label_dp import LabelDp
from ptaudit.defenses.perturb import Perturb
from ptaudit.defenses.prune import Prune
from ptaudit.defenses.sign import Sign
from ptaudit.defenses.vib import Vib

DEFENSES: dict[str, Callable[..., Defense]] = {
    "prune": Prune,
    "sign": Sign,
    "perturb": Perturb,
    "dropout": Dropout,
    "label_dp": LabelDp,
    "vib": Vib,
}
"""By their names in the spec. Clipping and noise are fields of the view itself: they act on sums of tokens."""

__all__ = ["DEFENSES", "Defense", "Dropout", "LabelDp", "Perturb", "Prune", "Sign", "Vib"]
