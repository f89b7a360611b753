"""Warnings about model and training: how the gradients that were read differ from those that were followed."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context import training_canaries
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.training.evaluate import MOST_MEMBERS


def evaluated_members(about: Subject) -> Iterator[str]:
    """Losses of some of the members."""
    members = len(about.session.split.members)
    if members > MOST_MEMBERS:
        yield (f"Losses and accuracies of training are of {MOST_MEMBERS:,} members drawn at random, of {members:,}.")


def canaries(about: Subject) -> Iterator[str]:
    """Canaries among what was trained on."""
    yield from training_canaries.notes(about.session)


def randomised_labels(about: Subject) -> Iterator[str]:
    """Classes that randomised labels never name."""
    session = about.session
    return (session.spec.train.defense or UNDEFENDED).record_notes(session.records, session.split)


def steps(about: Subject) -> Iterator[str]:
    """How the gradients that were read differ from those that were followed."""
    spec, train = about.session.spec, about.session.spec.train
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
    yield from (train.defense or UNDEFENDED).notes(train, len(about.session.split.members), before)


def saved_checkpoints(about: Subject) -> Iterator[str]:
    """What a reader must know of an audit that trained nothing itself."""
    spec = about.session.spec
    if spec.replay is None:
        return
    given = spec.data.members or spec.data.non_members
    split = "the index files of `data`" if given else "`data.held_out` and `data.seed`, for no index file names it"
    yield (
        f"Nothing was trained: the weights are those of saved checkpoints. Members and held-out records are told apart "
        f"by {split}; the tables are right only if that training saw the members and none of the held-out records."
    )
    yield f"Of the checkpoints, {spec.replay.numbering.how}."


def reference_models(about: Subject) -> Iterator[str]:
    """Reference models that are trained on fewer records than the audited one."""
    session = about.session
    members, held_out = len(session.split.members), len(session.split.held_out)
    if session.spec.fleet is not None and held_out < members:
        yield (
            f"Reference models are trained on {(members + held_out) // 2:,} records each and the audited model on "
            f"{members:,}, for there are fewer held-out records than members: attacks that hold one against the other "
            "may find less."
        )


def learned_encoders(about: Subject) -> Iterator[str]:
    """How well the learned encoders keep what they read."""
    if about.learned is not None:
        yield from about.learned.warnings(about.shown)


_HALF = {"bf16": "bfloat16", "fp16": "float16"}

_SHAPING = tuple(
    f"{name}Backward"
    for name in (
        *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Transpose", "T", "Permute"),
        *("Clone", "ToCopy", "Alias", "Expand", "Clamp"),
    )
)
"""Operations that leave an output's numbers as they are."""


def batch_norm(about: Subject) -> Iterator[str]:
    """Statistics that were frozen."""
    if any(isinstance(module, _BatchNorm) for module in about.model.modules()):
        yield (
            "BatchNorm statistics were frozen while gradients were read: in training a record's gradient also "
            "depends on its batch."
        )


def dropout(about: Subject) -> Iterator[str]:
    """Units that were never dropped, where no view shows them so."""
    views = about.session.spec.audit.views
    dropping = all((view.defense or UNDEFENDED).switches_dropout_on for view in views)
    if any(isinstance(m, _DropoutNd) and m.p > 0 for m in about.model.modules()) and not dropping:
        yield "Dropout was off while gradients were read: in training it hides part of them."


def outputs_that_are_no_logits(about: Subject) -> Iterator[str]:
    """Probabilities in the place of the logits that a loss makes probabilities of itself."""
    name, output = about.session.spec.train.loss, about.output
    if name not in ("bce", "cross_entropy") or not isinstance(output, Tensor):
        return
    squashed = _last_operation(output) or ("probabilities" if name == "cross_entropy" and _adds_up_to_1(output) else "")
    if squashed:
        yield (
            f"The model ends in {squashed}, and {name} applies its own to what it takes for logits: it trains on "
            "flattened gradients, and a loss near 0 is out of reach. Return the logits, or write the loss as "
            "file.py:fn."
        )


def _last_operation(output: Tensor) -> str:
    """`sigmoid` or `softmax`, where an output is what one of them gave, whatever its shape has become since."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_SHAPING):
        node = node.next_functions[0][0]
    found = "" if node is None else node.name().removesuffix("0").removesuffix("Backward")
    return {"Sigmoid": "a sigmoid", "LogSigmoid": "a log-sigmoid", "Softmax": "a softmax"}.get(found, "")


def _adds_up_to_1(output: Tensor) -> bool:
    """Whether rows of two and more scores (n, C) are distributions, which logits are not by chance."""
    if output.dim() != 2 or output.shape[1] < 2 or len(output) < 2:
        return False
    return bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-4).all())
