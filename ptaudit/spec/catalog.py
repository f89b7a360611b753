"""What the package can measure, by name: known without torch, so that a gate is checked before training starts."""

from __future__ import annotations

MODEL_VIEW = "model"
"""The view of an adversary who holds the trained weights; it needs no entry in the spec."""

GAMES: dict[str, tuple[str, ...]] = {
    "identity": ("bits", "accuracy"),
    "label": ("bits", "accuracy"),
    "membership": ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"),
    "mutual-information": ("bits", "matched_minus_mismatched_bits", "upper_bits"),
    "usable-information": ("bits", "accuracy"),
    "uniqueness": ("top_share",),
}
"""Game name to the metrics it reports, the one that stands for it first."""

TOKEN_GAMES: frozenset[str] = frozenset({"identity", "label", "mutual-information", "usable-information"})
"""Games played on the views of the spec; the others are played on the view `model`."""

CRITICS = ("infonce", "nwj", "mine", "smile")
"""Estimators of mutual information that train a network."""

NEIGHBOURS = ("ksg", "sliced")
"""Estimators of mutual information that count neighbours."""

ESTIMATORS = ("ksg", "gaussian", "sliced", *CRITICS)
"""Estimators of mutual information."""

CHANNEL = "gaussian-channel"
"""The upper bound on mutual information that known noise gives."""

FAMILIES = ("linear", "mlp", "knn")
"""Families of predictors whose usable information is measured."""

ADVERSARIES: dict[str, tuple[str, ...]] = {
    "identity": ("exact", "likelihood-ratio"),
    "label": ("likelihood-ratio",),
    "membership": ("loss", "gradient-norm", "gradient-likelihood"),
    "mutual-information": (*ESTIMATORS, CHANNEL),
    "usable-information": FAMILIES,
    "uniqueness": ("leave-one-out",),
}
"""Game name to the adversaries (or estimators) that play it."""
