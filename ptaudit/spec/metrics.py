"""The numbers that games report: unit, range, and how reports show them. One table, which needs no torch.

Of every metric more is worse: that is what gates on a `max`, comparisons and lists of the most leaking layers rest on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptaudit.spec.catalog import NOISE_HALF, TRANSITIONS


@dataclass(frozen=True)
class Metric:
    """A number of the tables.

    Attributes:
        unit: what it counts.
        least: the smallest value that it can have; minus infinity where there is none.
        most: the largest one; infinite where there is none, or the game and the view decide.
        prior: the value at which nothing is found out; None: the row's null.
        score: whether it is what an adversary achieved, and no bound and no noise, of which none could have been found.
        digits: decimals in reports, where it is not small.
        headline: whether the summary shows it.
        by_layer: whether the full report has a table of layers for it.
        listed: whether the full report has it among all numbers; of others a file of their own tells.
    """

    unit: str
    least: float = 0.0
    most: float = 1.0
    prior: float | None = None
    score: bool = True
    digits: int = 3
    headline: bool = False
    by_layer: bool = False
    listed: bool = True


METRICS: dict[str, Metric] = {
    "bits": Metric("bits", -math.inf, math.inf, prior=0.0, digits=2, headline=True, by_layer=True),
    "matched_minus_mismatched_bits": Metric("bits", -math.inf, math.inf),
    "upper_bits": Metric("bits", most=math.inf, score=False, headline=True),
    "accuracy": Metric("share of the games"),
    "gain": Metric("share of the games, less that of a guess", least=-1.0),
    "auc": Metric("area under the ROC curve", headline=True),
    "tpr_at_fpr_0.01": Metric("true positive rate"),
    "tpr_at_fpr_0.001": Metric("true positive rate"),
    "tpr_at_fpr_0": Metric("true positive rate, with no false positive among the n held-out records"),
    "tnr_at_fnr_0.01": Metric("true negative rate"),
    "fleet_auc": Metric("area under the ROC curve, over all models trained alike"),
    "fleet_tpr_at_fpr_0.01": Metric("true positive rate, over all models trained alike"),
    "record_tpr_at_fpr_0.01": Metric("true positive rate, at everybody's own false positive rate"),
    "record_tpr_at_fpr_0.001": Metric("true positive rate, at everybody's own false positive rate"),
    "top_share": Metric("share of all leverage", headline=True, by_layer=True),
    "explained_variance": Metric("share of the variance", prior=0.0, headline=True, by_layer=True),
    "psnr_db": Metric("dB", most=math.inf, digits=1),
    "psnr_gain_db": Metric("dB over the mean picture", -math.inf, math.inf, digits=1),
    "ssim": Metric("structural similarity", least=-1.0),
    "ssim_gain": Metric("structural similarity, less that of the mean picture", least=-2.0, most=2.0),
    "fields": Metric("share of the fields"),
    "fields_gain": Metric("share of the fields, less that of the most frequent values", least=-1.0),
    "tokens": Metric("share of the tokens"),
    "tokens_gain": Metric("share of the tokens, less that of the most frequent ones", least=-1.0),
    "placed_tokens": Metric("share of a text's tokens, each at its position"),
    "placed_tokens_gain": Metric(
        "share of a text's tokens at their position, less that of the most frequent ones there", least=-1.0
    ),
    "tokens_found": Metric("share of the tokens of a batch, as often as they occur"),
    "tokens_found_gain": Metric("share of the tokens of a batch, less that of the most frequent ones", least=-1.0),
    "sensitivity": Metric("root mean square of the entries of a Jacobian", most=math.inf),
    "input_sensitivity": Metric("root mean square of the entries of a Jacobian", most=math.inf),
    "fisher_loss": Metric(
        "Fisher information loss, 1 / unit of the input", most=math.inf, score=False, headline=True, by_layer=True
    ),
    "fisher_loss_max": Metric("Fisher information loss, 1 / unit of the input", most=math.inf, score=False),
    "fisher_loss_training": Metric("Fisher information loss, 1 / unit of the input", most=math.inf, score=False),
    "psnr_hi_db": Metric("decibels", -math.inf, math.inf, score=False, digits=1, headline=True),
    "subspace_distance": Metric("distance"),
    "js_distance": Metric("distance"),
    "identified": Metric("share of the records, told by what was rebuilt", headline=True),
    "rebuilt": Metric("share of the records, rebuilt beyond the threshold of the game"),
    "worst_ssim": Metric("structural similarity of the record that is rebuilt best", least=-1.0),
    "worst_fields": Metric("share of the fields of the record that is rebuilt best"),
    "worst_tokens": Metric("share of the tokens of the record that is rebuilt best"),
    "labels_found": Metric("share of the labels of a batch"),
    "exposed": Metric("share of the records", headline=True),
    "displacement": Metric("distance on the plane of FPR and TPR", most=math.sqrt(2.0), score=False),
    "encoding_speed": Metric("advantage a record and epoch", -math.inf, math.inf, score=False),
    "entropy": Metric("bits of the squares that records are in", most=math.inf, score=False),
    "entropy_change": Metric("bits of the squares that records are in", -math.inf, math.inf, score=False),
    "peak_transition": Metric("share of the records, in one step", score=False),
    "already_exposed": Metric("share of the records that end exposed", score=False),
    "forecast_auc": Metric("area under the ROC curve of who ends vulnerable"),
    "forecast_precision": Metric("share of those named who end vulnerable"),
    "forecast_gain": Metric("area under the ROC curve, less that of the best single measure", least=-1.0, score=False),
    "forecast_from": Metric("epoch", most=math.inf, score=False),
    "rank_correlation": Metric("rank correlation with the final risk", least=-1.0, score=False),
    **dict.fromkeys(TRANSITIONS, Metric("share of the records", score=False, listed=False)),
    "epsilon_lo": Metric("epsilon", most=math.inf, score=False, headline=True),
    NOISE_HALF: Metric("noise, in clips or median gradient norms", most=math.inf, score=False),
}
"""Name of a metric to what it is."""

_OTHER = Metric("", -math.inf, math.inf)


def metric(name: str) -> Metric:
    """A metric by its name; one without bounds for a name of a table that another release wrote."""
    return METRICS.get(name, _OTHER)
