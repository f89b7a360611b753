"""Canaries in the training itself: each is a member, or has one of two values, by the toss of a coin.

One run tells of all of them at once, so they must not stand for each other: crafted ones, which end up near the same
extreme record, often do, and then show less than mislabelled ones.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.canaries import Canaries, GradientSensitivity, HypothesisPair, ask, make
from ptaudit.data import Records
from ptaudit.defenses.dp.accounting import dp_of, noise_multiplier
from ptaudit.errors import DataError
from ptaudit.model_input import Inputs, joined, leaves, to_device
from ptaudit.stats.epsilon import replace_one_epsilon
from ptaudit.training.sampling import sample_rate

if TYPE_CHECKING:
    from ptaudit.context.session import Session
    from ptaudit.spec.canaries import About
    from ptaudit.spec.model import TrainSpec

_STREAM = 7919
"""Keeps the coins of canaries apart from other uses of the audit's seed."""
_LEFT = 8
"""Held-out records that must be left."""


@dataclass(frozen=True)
class TrainingCanaries:
    """The canaries of one kind and secret.

    Attributes:
        kind: their kind.
        question: what is secret about them.
        inputs: of C canaries, with whatever stands for the secret.
        targets: `(C,)`.
        secret: 1 for a member, or for the second value; else 0. `(C,)`.
        why_not: why there are none; empty if there are.
    """

    kind: str
    question: HypothesisPair
    inputs: Inputs
    targets: Tensor
    secret: NDArray[np.int64]
    why_not: str = ""


def with_canaries(session: Session) -> Session:
    """The session, found to have the attribute that its canaries are about; with canaries planted if the spec says so.

    Raises:
        DataError: see `ask` and `plant`.
    """
    spec = session.spec.canaries
    if spec is None:
        return session
    for about in spec.about:
        ask(about, session.records, spec.attribute, spec.values)
    return plant(session) if spec.train else session


def plant(session: Session) -> Session:
    """The session with canaries among its members, as the spec wants them.

    They are made from held-out records, which are taken out of the split, with the untrained weights of the first seed.
    The audited members stay the same, and no canary is among them. Every kind and secret has records of its own.

    Raises:
        DataError: too few held-out records, or an attribute that the records do not have.
    """
    spec = session.spec.canaries
    assert spec is not None
    generator = np.random.default_rng([session.spec.audit.seed, _STREAM])
    left = _spare(session, generator)
    model = session.model(session.spec.train.all_seeds[0])
    dp = dp_of(session.spec.train)
    records, members, planted, used = session.records, [session.split.members], [], []
    for about in spec.about:
        question = ask(about, session.records, spec.attribute, spec.values)
        moved = GradientSensitivity(model, session.loss, question, dp.clip if dp else None)
        for kind in spec.kinds:
            fits = question.fitting(session.records, left)[: spec.count]
            if len(fits) < spec.count or len(left) - len(fits) < _LEFT:
                wanted = spec.count * len(spec.kinds) * len(spec.about)
                what = f"{wanted} canaries are made of as many held-out records, and there are too few"
                remedy = f"lower canaries.count, or hold out more than {len(session.split.held_out)} records"
                raise DataError(what, where="canaries.count", remedy=remedy)
            made = make([kind], session.records, fits, moved)[kind]
            secret = generator.integers(2, size=len(fits))
            if isinstance(made, str):
                planted.append(TrainingCanaries(kind, question, (), torch.empty(0), secret[:0], made))
                continue
            planted.append(TrainingCanaries(kind, question, made.inputs, made.targets, secret))
            places = len(records) + np.arange(len(fits))
            records = _with(records, made, question, secret)
            members.append(places if about == "attribute" else places[secret == 1])
            left = left[~np.isin(left, fits)]
            used.append(fits)
    if spec.run_test == "one-run-gaussian":
        _check_all_in_every_step(session, sum(map(len, members)))
    gone = np.concatenate([np.empty(0, np.int64), *used])
    held_out, others = (index[~np.isin(index, gone)] for index in (session.split.held_out, session.others))
    split = replace(session.split, members=np.concatenate(members), held_out=held_out)
    return replace(session, records=records, split=split, others=others, training_canaries=tuple(planted))


def _check_all_in_every_step(session: Session, members: int) -> None:
    """Refuses sampled batches, whose trade-off curve is not Gaussian.

    Raises:
        DataError: a step has not all members.
    """
    if sample_rate(session.spec.train, members) < 1.0:
        what = f"`one-run-gaussian` holds where every step takes all members: there are {members}"
        remedy = f"set train.batch_size: {members} or more, or use one-run"
        raise DataError(what, where="canaries.run_test", remedy=remedy)


def _spare(session: Session, generator: np.random.Generator) -> NDArray[np.int64]:
    """Held-out records in the order in which they are used: those that are not audited come first."""
    shuffled = generator.permutation(session.split.held_out)
    audited = np.isin(shuffled, session.others)
    return np.concatenate([shuffled[~audited], shuffled[audited]]).astype(np.int64)


def _with(records: Records, canaries: Canaries, question: HypothesisPair, secret: NDArray[np.int64]) -> Records:
    """The records, and after them the canaries as they are trained on."""
    variants = question.variants(canaries.inputs)
    inputs = variants[0]
    if len(variants) > 1:
        both = torch.stack([leaf for variant in variants for leaf in leaves(variant)])
        inputs = both[torch.from_numpy(secret), torch.arange(len(secret))]
    source = canaries.source
    fields = {name: replace(f, codes=_joined(f.codes, f.codes[source])) for name, f in records.fields.items()}
    if question.codes is not None:
        chosen = np.array(question.levels)[secret]
        before = records.fields[question.name]
        fields[question.name] = replace(before, codes=_joined(before.codes, chosen))
    return replace(
        records,
        inputs=joined([records.inputs, to_device(inputs, records.targets.device)]),
        targets=torch.cat([records.targets, canaries.targets.to(records.targets)]),
        columns={name: _joined(column, column[source]) for name, column in records.columns.items()},
        fields=fields,
    )


def _joined(one: NDArray[Any], two: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([one, two.astype(one.dtype)])


def notes(session: Session) -> tuple[str, ...]:
    """What a reader of the tables must know of a training with canaries in it."""
    if not any(len(planted.secret) for planted in session.training_canaries):
        return ()
    every = session.training_canaries
    there = sum(len(p.secret) if p.question.about == "attribute" else int(p.secret.sum()) for p in every)
    return (
        f"{there} of the {len(session.split.members)} members are canaries, which changes what is trained: audit the "
        "model to be used without them. None of them is audited otherwise.",
    )


def scores(planted: TrainingCanaries, moved: GradientSensitivity) -> NDArray[np.float64]:
    """How much the trained model speaks for secret 1, `(C,)`: a small loss, or a smaller one with the second value."""
    losses = [moved.losses(x, planted.targets).double().numpy() for x in planted.question.variants(planted.inputs)]
    return np.asarray(losses[0] - losses[1] if len(losses) > 1 else -losses[0])


def spent(train: TrainSpec, members: int, steps: int, delta: float) -> Mapping[About, float]:
    """Upper bounds on the epsilon of the training so far: add/remove of the accountant, replace-one by group privacy.

    NaN where training promises none.
    """
    dp = dp_of(train)
    if dp is None:
        return {"membership": math.nan, "attribute": math.nan}
    noise = noise_multiplier(train, members)
    if steps == 0 or noise == 0:
        none = 0.0 if steps == 0 else math.inf
        return {"membership": none, "attribute": none}
    from opacus.accountants import RDPAccountant
    from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent

    orders = RDPAccountant.DEFAULT_ALPHAS
    # Known for every delta at once; the search for the replace-one epsilon asks for many.
    moments = compute_rdp(q=sample_rate(train, members), noise_multiplier=noise, steps=steps, orders=orders)

    def add_remove(delta: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that other orders would give less: it is a bound as it stands
            return float(get_privacy_spent(orders=orders, rdp=moments, delta=delta)[0])

    return {"membership": add_remove(delta), "attribute": replace_one_epsilon(add_remove, delta)}
