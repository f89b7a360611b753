"""Defenses of the gradient of a batch, one file each."""

from __future__ import annotations

from collections.abc import Callable

from ptaudit.views.defenses.base import Defense
from ptaudit.views.defenses.dropout import Dropout
from ptaudit.views.defenses.label_dp import LabelDp
from ptaudit.views.defenses.perturb import Perturb
from ptaudit.views.defenses.prune import Prune
from ptaudit.views.defenses.sign import Sign
from ptaudit.views.defenses.vib import Vib

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
