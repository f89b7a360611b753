"""What a reader of the tables must know of how the model was trained: sentences for the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from ptaudit.replay.accounting import noise_multiplier
from ptaudit.spec.model import Spec, TrainSpec

_HALF = {"bf16": "bfloat16", "fp16": "float16"}


def training_notes(spec: Spec, members: int) -> Iterator[str]:
    """How the gradients that were read differ from those that were followed.

    Args:
        spec: the spec.
        members: how many records are trained on.
    """
    train = spec.train
    if train.label_smoothing > 0:
        yield (
            f"Losses are those of smoothed labels ({train.label_smoothing:g}): the ones reported, the ones whose "
            f"gradient was read, and the ones that membership is guessed from."
        )
    if spec.replay is not None:
        return
    if train.precision != "float32":
        yield f"Training ran in {_HALF[train.precision]} by autocast; gradients and held-out losses are in float32."
    if train.sam is not None:
        yield "Gradients were read at the weights themselves; SAM followed those at its perturbed weights."
    if train.defense is not None:
        yield from _of_defense(train, members)


def _of_defense(train: TrainSpec, members: int) -> Iterator[str]:
    defense = train.defense
    assert defense is not None
    noise = noise_multiplier(train, members)
    yield (
        f"Training clipped every record's gradient to {defense.clip:g} and added noise of {noise:.4g} times that to "
        f"their sum (DP-SGD); the gradients that were read are those before: what they give away, a view with a "
        f"defense tells."
    )
    yield (
        "The noise of DP-SGD comes from the seed of the run, so that the run can be replayed: a model trained here is "
        "private only towards those who do not know the seed."
    )
    if defense.sampling == "shuffle":
        yield "Epsilon assumes Poisson sampling, but batches were shuffled (sampling: shuffle): it does not hold as is."
    if defense.delta >= 1 / members:
        yield f"Delta {defense.delta:g} is not below 1 / {members} members: an epsilon at such a delta promises little."


def promise(train: TrainSpec) -> str | None:
    """What training promises its members, with the adjacency; None if it promises nothing."""
    defense = train.defense
    if defense is None:
        return None
    return (
        f"Epsilon: for adding or removing one member of the training, at delta {defense.delta:g}, by Opacus' RDP "
        f"accountant under Poisson sampling."
    )


def training_versions(spec: Spec) -> dict[str, str]:
    """Versions of the optional packages that decide the training."""
    return {"opacus": version("opacus")} if spec.train.defense is not None else {}
