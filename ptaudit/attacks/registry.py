"""Families of classifiers by name, one line each: where they are, without importing them (and torch)."""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import Any

COMBINED = "combined"

OF_BATCHES: dict[str, str] = {
    COMBINED: "ptaudit.attacks.batch.opinion:stacked",
    "likelihood-ratio": "ptaudit.attacks.batch.gaussian:likelihoods",
    "linear": "ptaudit.attacks.usable.linear:FAMILY.ratios",
    "mlp": "ptaudit.attacks.usable.mlp:FAMILY.ratios",
    "knn": "ptaudit.attacks.usable.knn:FAMILY.ratios",
    "forest": "ptaudit.attacks.batch.forest:votes",
}
"""Posteriors over a secret of a batch, each a `PosteriorFamily`; the first stacks others, and all layers."""

OF_TOKENS: dict[str, str] = {
    "linear": "ptaudit.attacks.usable.linear:FAMILY",
    "mlp": "ptaudit.attacks.usable.mlp:FAMILY",
    "knn": "ptaudit.attacks.usable.knn:FAMILY",
}
"""Predictors of a record's secret, each a `Family`, whose usable information is measured."""

OF_CONTENT: dict[str, str] = {
    "linear": "ptaudit.attacks.content.linear:FAMILY",
    "mlp": "ptaudit.attacks.content.mlp:FAMILY",
    "conv": "ptaudit.attacks.content.conv:FAMILY",
}
"""Decoders of a record's content, each a `content.family.Family`."""


def load(place: str) -> Any:
    """What stands at `module:attribute`."""
    module, _, attribute = place.partition(":")
    return attrgetter(attribute)(importlib.import_module(module))
