"""The content game: draws of batches, decoders on them, and estimates with interval, null and ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptaudit.attacks.content.crossfit import FOLDS, Scored, Shown, scored
from ptaudit.attacks.content.features import Alignment, LayerForm, blocks_of
from ptaudit.attacks.pairs import sides, split_records
from ptaudit.attacks.registry import OF_CONTENT, load
from ptaudit.data.contents import Content, Tokens
from ptaudit.data.contents.base import Array
from ptaudit.estimators.pairing import mismatched
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import draw_games
from ptaudit.views.observation import Observation
from ptaudit.views.records_needed import too_few
from ptaudit.views.view import View

LEAST_RECORDS = 80
"""Fewest records; fewer make the game inconclusive."""

PER_TARGET = 2
"""Batches for each record, where there are others or noise; else every batch of a record is the same."""

DIVERGED = "decoders diverged, or gradients that are not finite"

OPEN = ("bits", "explained_variance", "psnr_gain_db", "ssim_gain", "fields_gain", "tokens_gain")
"""Metrics of which the prior alone has 0: at least that is what an adversary can do."""


@dataclass(frozen=True)
class Played:
    """What the game is played on.

    Attributes:
        observation: what is seen of batches.
        view: batch size and rounds.
        forms: of the L layers that it shares.
        targets: the records as numbers, `(N, D)` float32.
        content: what they are.
        most_bits: that the noise of the view allows, for all layers jointly and each; infinite without noise.
    """

    observation: Observation
    view: View
    forms: Sequence[LayerForm]
    targets: Tensor
    content: Content
    most_bits: Sequence[float]


@dataclass(frozen=True)
class Drawn:
    """Batches of records: members `(r, G, m)`, the record that each is about, its fold and side of it, `(G,)`."""

    members: Tensor
    record: Tensor
    fold: Tensor
    side: Tensor


def measure(played: Played, families: Sequence[str], seed: int) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every family about all layers jointly and each.

    Args:
        played: the view, and what is asked for.
        families: names in `attacks.registry.OF_CONTENT`.
        seed: of folds, draws, noise and decoders.

    Returns:
        For each family `bits` and the metrics of the content, one estimate for each scope.
    """
    content, view, n = played.content, played.view, len(played.targets)
    metrics = ("bits", *content.metrics)
    if reason := why_not(n, view, played.targets):
        lost = [inconclusive(reason, n=n)] * (1 + len(played.forms))
        return {family: dict.fromkeys(metrics, lost) for family in families}
    generator = torch.Generator().manual_seed(seed)
    drawn = draw(n, view, played.observation.random, generator)
    rows = content.ids if isinstance(content, Tokens) else None
    blocks = blocks_of(played.observation, drawn.members, view, played.forms, Alignment(content.width, rows), generator)
    wrong = mismatched(drawn.record, drawn.fold, generator, drawn.side)
    own = played.targets[drawn.record.to(played.targets.device)]
    shown = Shown(blocks, drawn.record.to(own.device), drawn.fold.to(own.device), torch.stack([own, own[wrong]]))
    places = range(len(played.forms))
    scopes = [tuple(places), *((place,) for place in places)]
    found = {}
    for family in families:
        halves = list(scored(shown, content, scopes, load(OF_CONTENT[family]), seed))
        real, null = ([fold[version] for fold in halves] for version in (0, 1))
        found[family] = {name: _estimates(name, real, null, drawn, played, seed) for name in metrics}
    return found


def why_not(n: int, view: View, targets: Tensor) -> str:
    """Why nothing can be measured, in words with the number needed; empty if something can."""
    if reason := too_few(n, view, LEAST_RECORDS):
        return reason
    if not bool(torch.isfinite(targets).all()):
        return "records that are not finite"
    return "records that are all the same" if bool((targets == targets[0]).all()) else ""


def draw(n: int, view: View, random: bool, generator: torch.Generator) -> Drawn:
    """Every record is the target of some batches, with others of its fold; each half of a fold hides the other."""
    times = PER_TARGET if view.others or random else 1
    members, record, fold, side = [], [], [], []
    for number, part in enumerate(split_records(torch.arange(n), [1 / FOLDS] * FOLDS, generator)):
        for half, (targets, fillers) in enumerate(sides(part, view)):
            games = draw_games(len(targets), len(fillers), times, view, generator)
            members.append(games.members(targets, fillers)[: view.batches])
            record.append(targets[games.secret])
            fold.append(torch.full_like(games.secret, number))
            side.append(torch.full_like(games.secret, half))
    return Drawn(torch.cat(members, 1), torch.cat(record), torch.cat(fold), torch.cat(side))


def _estimates(
    name: str, real: Sequence[Scored], null: Sequence[Scored], drawn: Drawn, played: Played, seed: int
) -> list[Estimate]:
    """One estimate for each scope."""
    n, found = len(played.targets), []
    top = float(np.mean([one.ceilings[name] for one in real]))
    for scope, most in enumerate(played.most_bits):
        values = _by_record(name, scope, real, drawn, n)
        shuffled = _by_record(name, scope, null, drawn, n)
        ceiling = min(top, most) if name == "bits" else top
        ceiling = ceiling if math.isfinite(ceiling) else math.nan
        if values is None or shuffled is None:
            found.append(inconclusive(DIVERGED, ceiling=ceiling, n=n))
            continue
        # The folds are answered by differently fitted decoders: what the records do not explain counts.
        means = np.array([values[torch.unique(drawn.record[one.rows.cpu()]).numpy()].mean() for one in real])
        extra = max(0.0, means.var(ddof=1) / len(means) - values.var(ddof=1) / n)
        (one,) = from_matrix(values[None], null=shuffled.mean(), ceiling=ceiling, seed=seed, extra_variance=extra)
        low = 0.0 if name in OPEN else -math.inf
        found.append(one.clipped(low, math.inf if math.isnan(ceiling) else ceiling) if one.conclusive else one)
    return found


def _by_record(name: str, scope: int, folds: Sequence[Scored], drawn: Drawn, n: int) -> Array | None:
    """Mean over the batches of each record, `(N,)`; None where the decoders of a fold diverged."""
    total, count = np.zeros(n), np.zeros(n)
    for one in folds:
        values: Mapping[str, Array] | None = one.values[scope]
        if values is None:
            return None
        record = drawn.record[one.rows.cpu()].numpy()
        np.add.at(total, record, values[name])
        np.add.at(count, record, 1.0)
    return np.asarray(total / count)
