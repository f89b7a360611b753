"""What the package can measure, by name: known without torch, so that a gate is checked before training starts."""

from __future__ import annotations

MODEL_VIEW = "model"
"""The view of an adversary who holds the trained weights; it needs no entry in the spec."""

GAMES: dict[str, tuple[str, ...]] = {
    "identity": ("bits", "accuracy"),
    "label": ("bits", "accuracy"),
    "membership": ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"),
}
"""Game name to the metrics it reports."""

TOKEN_GAMES: frozenset[str] = frozenset({"identity", "label"})
"""Games played on the views of the spec; the others are played on the view `model`."""

ADVERSARIES: dict[str, tuple[str, ...]] = {
    "identity": ("exact", "likelihood-ratio"),
    "label": ("likelihood-ratio",),
    "membership": ("loss", "gradient-norm", "gradient-likelihood"),
}
"""Game name to the adversaries that play it."""
