"""How near rebuilt records come to the true ones: scores of every target, as estimates with their nulls."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.inversion.messages import Reconstruction
from ptaudit.data.contents import Content, Prior
from ptaudit.games.reconstruction.info import LABELS, WORST
from ptaudit.games.reconstruction.texts import TrueTexts
from ptaudit.model_input import Inputs, mapped
from ptaudit.spec.metrics import metric
from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.bootstrap import DRAWS, from_values, resample_weights
from ptaudit.stats.estimate import OK, Estimate
from ptaudit.stats.fidelity import MOST_PSNR, assignment, identified, share_above

Array = NDArray[np.float64]

_NULLS = 8
"""Other targets whose rebuilt records are held against each true one."""

_CEILINGS = {"psnr_db": MOST_PSNR, "psnr_gain_db": np.nan, "ssim_gain": np.nan, "fields_gain": np.nan,
             "tokens_gain": np.nan, "placed_tokens_gain": np.nan, "tokens_found_gain": np.nan}  # fmt: skip
_TAILS = (0.025, 0.975)
_SHARES = ("identified", "rebuilt", LABELS)
"""Of which a record has all or nothing, or little in between."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Truth:
    """The true records.

    Attributes:
        content: of what kind they are.
        prior: what was known beforehand.
        records: the R records of every target, itself first, `(B, R, D)`.
        labels: their labels, `(B, R, ...)`.
        candidates: records among which one is to be told by its rebuilt picture, `(K, D)`: the targets first.
        threshold: above which a record counts as rebuilt.
        texts: the records as they are, where they are texts.
    """

    content: Content
    prior: Prior
    records: Tensor
    labels: Tensor
    candidates: Tensor
    threshold: float
    texts: TrueTexts | None = None


def target_of(truth: Truth, rebuilt: Reconstruction) -> Tensor:
    """What an attack says of each target itself, `(B, D)`."""
    assert rebuilt.records is not None
    every = torch.arange(len(truth.records))
    return _matched(truth, _numbers(truth, rebuilt.records), every)[0]


def measure(truth: Truth, rebuilt: Reconstruction, labels_found: bool, seed: int) -> dict[str, Estimate]:
    """The metrics of what an attack says of B targets.

    The null is what it says of one target held against another: a gradient that is of other records.

    Args:
        truth: the true records.
        rebuilt: what it says.
        labels_found: whether it read labels.
        seed: of the intervals.
    """
    targets = len(truth.records)
    shifts = range(1, min(targets, _NULLS + 1))
    own = scores(truth, rebuilt, torch.arange(targets), labels_found)
    nulls = [scores(truth, rebuilt, torch.arange(targets).roll(shift), labels_found) for shift in shifts]
    found = {}
    for name, values in own.items():
        null = float(np.mean([one[name] for one in nulls]))
        ceiling = _CEILINGS.get(name, metric(name).most)
        one = from_values(values, null=null, ceiling=ceiling, seed=seed)
        found[name] = _of_share(one) if name in _SHARES else one
    if rebuilt.records is not None:
        name = WORST[truth.content.kind]
        null = float(np.mean([one[name].max() for one in nulls]))
        found[f"worst_{name}"] = _worst(own[name], null, seed)
    return found


def scores(truth: Truth, rebuilt: Reconstruction, order: Tensor, labels_found: bool) -> dict[str, Array]:
    """By metric the score of every target, `(B,)`, where what is said of target b is taken from target `order[b]`."""
    found: dict[str, Array] = {}
    if rebuilt.records is not None:
        said, places = _matched(truth, _numbers(truth, rebuilt.records), order)
        true, own = truth.records[:, 0], torch.arange(len(order))
        near = truth.content.scores(said, true, truth.prior)
        name = WORST[truth.content.kind]
        found |= near
        found["identified"] = identified(_plain(said), _plain(truth.candidates), own.numpy())
        found["rebuilt"] = share_above(near[name], truth.threshold)
        if truth.texts is not None:
            found |= truth.texts.placed(mapped(lambda leaf: leaf[order.to(leaf.device)][own, places], rebuilt.records))
    if rebuilt.tokens is not None and truth.texts is not None:
        found |= truth.texts.listed(rebuilt.tokens[order])
    if labels_found:
        found[LABELS] = _labels(truth.labels, rebuilt.labels.cpu()[order])
    return found


def _numbers(truth: Truth, records: Inputs) -> Tensor:
    """Records `(B, R, ...)` as real numbers, `(B, R, D)`."""
    return truth.content.targets(mapped(lambda leaf: leaf.flatten(0, 1), records)).cpu().view(*truth.records.shape)


def _matched(truth: Truth, said: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Of the records that are said to be those of a target the one that is taken for the target itself, `(B, D)`, and
    its place among them, `(B,)`.

    All are assigned to the true ones at the least squared error in total.
    """
    said = said[order]
    if said.shape[1] == 1:
        return said[:, 0], torch.zeros(len(said), dtype=torch.long)
    places = [int(np.flatnonzero(assignment(_plain(s), _plain(t)) == 0)[0]) for s, t in zip(said, truth.records)]
    chosen = torch.tensor(places)
    return said[torch.arange(len(said)), chosen], chosen


def _labels(true: Tensor, said: Tensor) -> Array:
    """Share of the labels of every target that were found, in whatever order, `(B,)`."""
    classes = 1 + int(max(true.max(), said.max()))
    counts = [torch.nn.functional.one_hot(some.long(), classes).sum(1) for some in (true, said)]
    return np.asarray((torch.minimum(*counts).sum(1) / true.shape[1]).double().numpy())


def _of_share(share: Estimate) -> Estimate:
    """With an interval that holds what so few records can hide: none of 16 is not 0."""
    if not share.conclusive:
        return share
    hits = share.value * share.n
    low, _ = clopper_pearson(math.floor(hits + _ROUNDING), share.n)
    _, high = clopper_pearson(math.ceil(hits - _ROUNDING), share.n)
    return replace(share, lo=min(max(share.lo, 0.0), low), hi=max(min(share.hi, 1.0), high))


def _worst(values: Array, null: float, seed: int) -> Estimate:
    """The largest of the scores: exact for the records that were attacked, with its spread over resamples of them."""
    draws = np.array([values[weights > 0.0].max() for weights in resample_weights(len(values), DRAWS, seed)])
    low = float(np.quantile(draws, _TAILS[0]))
    return Estimate(float(values.max()), low, float(values.max()), null, 1.0, len(values), OK, draws)


def _plain(values: Tensor) -> Array:
    found: Array = values.detach().double().cpu().numpy()
    return found
