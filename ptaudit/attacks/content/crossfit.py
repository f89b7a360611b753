"""Decoders that are fitted, chosen and reported on records of different folds.

With four folds each is reported once: two others fit the decoders, the third chooses among blocks, settings and the
prior alone, and calibrates. The prior is that of the three. No record of a batch is in two folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.content import predictive
from ptaudit.attacks.content.family import Family, Task, coordinatewise, errors
from ptaudit.attacks.content.features import Block
from ptaudit.attacks.content.linear import ridge
from ptaudit.attacks.usable.family import FeatureMap, mapped
from ptaudit.data.contents import Content, Prior
from ptaudit.data.contents.base import Array

FOLDS = 4


@dataclass(frozen=True)
class Shown:
    """Batches, and what they show.

    Attributes:
        blocks: of G batches.
        record: the record that each is about, `(G,)`.
        fold: of all records of each batch, `(G,)`.
        targets: the records' content in V versions, `(V, G, D)` float32.
    """

    blocks: Sequence[Block]
    record: Tensor
    fold: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Fold:
    """Whose batches decoders are fitted to and asked for while one fold is reported.

    Attributes:
        fit: batches to fit on, `(n,)`.
        unseen: those to choose on, then those that are reported, `(u,)`.
        known: content of the first, `(V, n, D)`.
        truth: content of those to choose on, `(V, c, D)`.
        seed: of the decoders.
    """

    fit: Tensor
    unseen: Tensor
    known: Tensor
    truth: Tensor
    seed: int


@dataclass(frozen=True)
class Rebuilt:
    """What a decoder makes of the batches of two folds, the best so far.

    Attributes:
        error: mean squared error on the choosing fold.
        trial: of the choosing fold, `(c, D)`.
        played: of the reported one, `(p, D)`.
        finite: whether all of it is.
    """

    error: float
    trial: Tensor
    played: Tensor
    finite: bool = True


@dataclass(frozen=True)
class Scored:
    """What the reported batches of one fold are worth, in one version.

    Attributes:
        rows: the batches, `(p,)`.
        values: of each scope, by metric `(p,)` each; None where its decoder diverged.
        ceilings: by metric the most that these batches allow, where the prior says so.
    """

    rows: Tensor
    values: Sequence[Mapping[str, Array] | None]
    ceilings: Mapping[str, float]


def scored(
    shown: Shown, content: Content, scopes: Sequence[tuple[int, ...]], family: Family, seed: int
) -> Iterator[list[Scored]]:
    """Fold by fold, of each version what the reported batches are worth.

    Args:
        shown: the batches.
        content: what their records hold.
        scopes: for each reported row the layers whose blocks its adversary may choose from.
        family: of decoders.
        seed: of the decoders.
    """
    for report in range(FOLDS):
        choose = (report + 1) % FOLDS
        played, tried = (torch.nonzero(shown.fold == fold).flatten() for fold in (report, choose))
        fit = torch.nonzero((shown.fold != report) & (shown.fold != choose)).flatten()
        rows = fit, torch.cat([tried, played])
        best = _best(shown, content, scopes, family, Fold(*rows, shown.targets[:, fit], shown.targets[:, tried], seed))
        others = torch.cat([fit, tried])
        once = others[_first_of_each(shown.record[others])]
        reference = predictive.Reference.of(shown.targets[0, once], content.parts)
        prior = content.prior(shown.targets[0, once])
        found = []
        for version, of_scopes in enumerate(best):
            target = shown.targets[version]
            values = [
                _values(one, content, (target[tried], target[played]), prior, reference) if one.finite else None
                for one in of_scopes
            ]
            found.append(Scored(played, values, _ceilings(content, target[played], prior, reference)))
        yield found


def _best(
    shown: Shown,
    content: Content,
    scopes: Sequence[tuple[int, ...]],
    family: Family,
    fold: Fold,
) -> list[list[Rebuilt]]:
    """For every version and scope what the best decoder rebuilds; the mean record competes."""
    mean = fold.known.mean(1, keepdim=True)
    start = [_prior_alone(*both, len(fold.unseen)) for both in zip(mean, fold.truth)]
    best = [[one for _ in scopes] for one in start]
    for block, look in _screened(shown.blocks, fold, content) if family.screened else _looks(shown.blocks):
        mine = [place for place, scope in enumerate(scopes) if set(block.places) <= set(scope)]
        answers = _answers(block, look, fold, family, content)
        for v, of_scopes in enumerate(best):
            if answers is None or not bool(torch.isfinite(answers[v]).all()):
                best[v] = _lost(of_scopes, mine)
                continue
            candidate = _shrunk(answers[v], fold.truth[v], mean[v])
            for place in mine:
                if candidate.error < of_scopes[place].error and of_scopes[place].finite:
                    of_scopes[place] = candidate
    return best


Look = tuple[Block, FeatureMap | None]
"""A block, and how it is scaled for a decoder; None for number by number."""


def _looks(blocks: Sequence[Block]) -> list[Look]:
    found: list[Look] = []
    for block in blocks:
        found += [(block, look) for look in block.maps]
        found += [(block, None)] if block.aligned else []
    return found


def _screened(blocks: Sequence[Block], fold: Fold, content: Content) -> list[Look]:
    """Of each set of layers what ridge regression makes most of, in the version as it is; number by number as well."""
    best: dict[tuple[int, ...], tuple[float, Look]] = {}
    chosen = [look for look in _looks(blocks) if look[1] is None]
    for look in _looks(blocks):
        answers = None if look[1] is None else _answers(*look, fold, Family(ridge), content)
        if answers is not None:
            error = errors(answers, fold.truth)[0]
            places = look[0].places
            if places not in best or error < best[places][0]:
                best[places] = error, look
    return [*(look for _, look in best.values()), *chosen]


def _prior_alone(mean: Tensor, truth: Tensor, unseen: int) -> Rebuilt:
    error = float((mean - truth).square().mean())
    return Rebuilt(error, mean.expand_as(truth), mean.expand(unseen - len(truth), -1))


def _answers(block: Block, look: FeatureMap | None, fold: Fold, family: Family, content: Content) -> Tensor | None:
    """What is rebuilt, `(V, u, D)`; None from what is no number."""
    if not bool(torch.isfinite(block.values).all()):
        return None
    known, unseen = block.values[fold.fit], block.values[fold.unseen]
    if look is None:
        return coordinatewise(known, fold.known, unseen)
    known, unseen = (some[0] for some in mapped(look, known[None], unseen[None]))
    return family.decode(Task(known, fold.known, unseen, fold.truth, content.shape, fold.seed))


def _shrunk(answers: Tensor, truth: Tensor, mean: Tensor) -> Rebuilt:
    """Answers drawn towards the mean record as far as is best on the choosing fold."""
    cut = len(truth)
    rest, own = answers[:cut] - mean, truth - mean
    kept = float((rest * own).sum() / rest.square().sum().clamp_min(1e-30))
    kept = min(max(kept, 0.0), 1.0)
    trial = mean + kept * rest
    return Rebuilt(float((trial - truth).square().mean()), trial, mean + kept * (answers[cut:] - mean))


def _lost(best: Sequence[Rebuilt], places: Sequence[int]) -> list[Rebuilt]:
    """A decoder that diverged, or was shown no numbers, says nothing: nor does who would choose it."""
    return [Rebuilt(one.error, one.trial, one.played, False) if i in places else one for i, one in enumerate(best)]


def _values(
    one: Rebuilt, content: Content, truth: tuple[Tensor, Tensor], prior: Prior, reference: predictive.Reference
) -> dict[str, Array]:
    """Metric by metric, `(p,)` each."""
    tried, played = truth
    told = predictive.fit(one.trial, tried, reference)
    answer = content.answer(one.trial, tried, one.played, prior)
    return {"bits": told.bits(one.played, played).cpu().numpy(), **content.scores(answer, played, prior)}


def _ceilings(content: Content, played: Tensor, prior: Prior, reference: predictive.Reference) -> dict[str, float]:
    """The most that could be found: what the truth itself scores, and the bits that the prior leaves open."""
    exact = {name: float(values.mean()) for name, values in content.scores(played, played, prior).items()}
    return {"bits": predictive.entropy(played, reference), **exact}


def _first_of_each(record: Tensor) -> Tensor:
    """Places of the first batch of every record."""
    ordered = torch.argsort(record, stable=True)
    new = torch.ones(len(record), dtype=torch.bool, device=record.device)
    new[1:] = record[ordered][1:] != record[ordered][:-1]
    return ordered[new]
