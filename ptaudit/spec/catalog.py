"""What the package can measure, by name: known without torch, so that a gate is checked before training starts."""

from __future__ import annotations

MODEL_VIEW = "model"
"""The view of an adversary who holds the trained weights; it needs no entry in the spec."""

KNOWS = ("none", "others", "pool", "rest", "batch_norm")
"""What an adversary may know of the records of a batch; see `views.knowledge`."""

NOISE_HALF = "noise_half"
"""Metric of the identity game: the noise at which half of the ceiling is left, larger where more leaks; see
`tables.ranking`."""

NO_DEFENSE = "none"
"""`trained_with` of the training as the spec has it, without any of `defenses`."""

_INFERENCE = ("bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")

GAMES: dict[str, tuple[str, ...]] = {
    "identity": ("bits", "accuracy", NOISE_HALF),
    "label": ("bits", "accuracy"),
    "membership": ("auc", "bits", "accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"),
    "mutual-information": ("bits", "matched_minus_mismatched_bits", "upper_bits"),
    "usable-information": ("bits", "accuracy"),
    "uniqueness": ("top_share",),
    "attribute": _INFERENCE,
    "property": _INFERENCE,
    "distribution": _INFERENCE,
    "user": _INFERENCE,
    "localisation": ("sensitivity", "input_sensitivity", "subspace_distance", "js_distance"),
    "canary": ("epsilon_lo", "auc", "bits"),
}
"""Game name to the metrics it reports, the one that stands for it first."""

INFERENCE_GAMES: frozenset[str] = frozenset({"attribute", "property", "distribution", "user"})
"""Games about a secret of a batch or of one of its records."""

TOKEN_GAMES: frozenset[str] = INFERENCE_GAMES | {
    "identity",
    "label",
    "mutual-information",
    "usable-information",
    "canary",
}
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

PROBES = ("combined", "likelihood-ratio", "linear", "mlp", "knn", "forest")
"""Families of classifiers of what is seen of a batch; the first holds them all."""

ADVERSARIES: dict[str, tuple[str, ...]] = {
    "identity": ("exact", "combined", "likelihood-ratio", "least-squares"),
    "label": ("likelihood-ratio", "combined"),
    "membership": ("loss", "gradient-norm", "gradient-likelihood"),
    "mutual-information": (*ESTIMATORS, CHANNEL),
    "usable-information": FAMILIES,
    "uniqueness": ("leave-one-out",),
    "attribute": PROBES,
    "property": PROBES,
    "distribution": PROBES,
    "user": ("combined", "likelihood-ratio", "nearest"),
    "localisation": ("hutchinson", "principal-angles", "classifier"),
    "canary": tuple(
        f"{kind}/{test}/{adjacency}"
        for kind in ("natural", "mislabelled", "crafted")
        for test in ("gaussian-dp", "clopper-pearson", "likelihood-ratio", "one-run")
        for adjacency in ("add-remove", "replace-one")
    ),
}
"""Game name to the adversaries (or estimators) that play it."""
