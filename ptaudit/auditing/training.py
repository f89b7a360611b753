"""What a reader of the tables must know of how the model was trained: sentences for the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from ptaudit.spec.defenses import (
    UNDEFENDED,
)
from ptaudit.spec.model import Spec

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
    # What a view shows without a defense of its own are the gradients before that of the training.
    undefended = any(view.defense is None for view in spec.audit.views)
    before = "; views without a defense show gradients as they are before that." if undefended else "."
    yield from (train.defense or UNDEFENDED).notes(train, members, before)


def training_versions(spec: Spec) -> dict[str, str]:
    """Versions of the optional packages that decide the training."""
    return {package: version(package) for package in (spec.train.defense or UNDEFENDED).packages}
