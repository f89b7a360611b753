"""What a reader of the tables must know of how the model was trained: sentences for the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.spec.defenses import DropoutDefense, LabelDpDefense, PerturbDefense, PruneDefense, SignDefense, VibDefense
from ptaudit.spec.model import Spec, TrainSpec
from ptaudit.spec.train_defenses import DpSgdSpec, TrainDefense
from ptaudit.stats.randomised_response import kept_labels
from ptaudit.training.accounting import noise_multiplier
from ptaudit.training.labels import label_prior

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
    if train.dp is not None:
        yield from _of_dp(train, train.dp, members, before)
    elif train.defense is not None:
        yield from _of_defense(train.defense, before)


def _of_defense(defense: TrainDefense, before: str) -> Iterator[str]:
    """Of defenses that promise nothing, and of label DP."""
    if isinstance(defense, PruneDefense):
        share = f"{100 * defense.ratio:g} %"
        yield f"Training set the smallest {share} of the numbers of each step's gradient to 0{before}"
    elif isinstance(defense, SignDefense):
        yield f"Training followed the sign of each step's gradient{before}"
    elif isinstance(defense, PerturbDefense):
        secret = f"attribute {defense.attribute}" if defense.attribute else "the label"
        yield (
            f"Training moved each step's gradient by {defense.size:g} of its length against a linear probe for "
            f"{secret}, fitted anew every epoch{before}"
        )
    elif isinstance(defense, VibDefense):
        yield (
            f"The model has an information bottleneck before its last layer (VIB, beta {defense.beta:g}). Losses have "
            f"its term in them: the ones reported, the ones whose gradient was read, and the ones that membership is "
            f"guessed from. Its code is drawn at random in training and in views of defense `vib`; elsewhere it was "
            f"the mean."
        )
    elif isinstance(defense, DropoutDefense):
        yield f"Dropout layers have the rate {defense.rate:g}, with one right before the last layer."
    elif isinstance(defense, LabelDpDefense):
        yield (
            "Training saw labels of members that were randomised once (label DP); its training loss and accuracy are "
            "on those. Gradients were read with the true labels unless a view randomises them."
        )
        yield (
            "Labels were randomised from the seed of the run, so that the run can be replayed: they are private only "
            "towards those who do not know the seed."
        )


def label_notes(train: TrainSpec, records: Records, split: Split) -> Iterator[str]:
    """That randomised labels never name some classes, where the prior is more telling than so private an answer."""
    if not isinstance(train.defense, LabelDpDefense):
        return
    prior, epsilon = label_prior(records, split), train.defense.epsilon
    kept = int(kept_labels(prior, epsilon))
    if kept < len(prior):
        likely = f"the {kept} likeliest of {len(prior)} classes" if kept > 1 else "the likeliest class"
        yield (
            f"At epsilon {epsilon:g} randomised labels only ever name {likely}: with these class frequencies that is "
            f"the most honest answer (arXiv 2102.06062, Algorithm 2), and training learns nothing of the others."
        )


def _of_dp(train: TrainSpec, defense: DpSgdSpec, members: int, before: str) -> Iterator[str]:
    noise = noise_multiplier(train, members)
    yield (
        f"Training clipped every record's gradient to {defense.clip:g} and added noise of {noise:.4g} times that to "
        f"their sum (DP-SGD){before}"
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
    if isinstance(defense, LabelDpDefense):
        return (
            f"Epsilon {defense.epsilon:g} of label DP: for changing the label of one member, whose inputs it does not "
            f"hide; by randomised response, with the class frequencies of the held-out records as public prior."
        )
    if not isinstance(defense, DpSgdSpec):
        return None
    return (
        f"Epsilon: for adding or removing one member of the training, at delta {defense.delta:g}, by Opacus' RDP "
        f"accountant under Poisson sampling."
    )


def training_versions(spec: Spec) -> dict[str, str]:
    """Versions of the optional packages that decide the training."""
    return {"opacus": version("opacus")} if spec.train.dp is not None else {}
