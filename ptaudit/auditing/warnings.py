"""What a reader of the tables must know about how they came about."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.auditing.columns import strangers
from ptaudit.auditing.training import training_notes
from ptaudit.context.session import Session
from ptaudit.context.training_canaries import notes as planted_notes
from ptaudit.data.tensors import IGNORED
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.model import Spec
from ptaudit.training.batch import to_device
from ptaudit.training.evaluate import MOST_MEMBERS
from ptaudit.training.forward import trial_forward

_FEW = 16
"""Records whose outputs are looked at."""

_SHAPING = tuple(
    f"{name}Backward"
    for name in (
        *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Transpose", "T", "Permute"),
        *("Clone", "ToCopy", "Alias", "Expand", "Clamp"),
    )
)
"""Operations that leave an output's numbers as they are."""


def warnings(session: Session, model: nn.Module) -> tuple[str, ...]:
    """What a reader of the tables must know about how the gradients were read."""
    found = []
    kinds = {type(module) for module in model.modules()}
    if any(issubclass(kind, _BatchNorm) for kind in kinds):
        found.append(
            "BatchNorm statistics were frozen while gradients were read: in training a record's gradient also "
            "depends on its batch."
        )
    dropping = all((view.defense or UNDEFENDED).switches_dropout_on for view in session.spec.audit.views)
    if any(isinstance(m, _DropoutNd) and m.p > 0 for m in model.modules()) and not dropping:
        found.append("Dropout was off while gradients were read: in training it hides part of them.")
    found += _of_users(session)
    found += _of_twins(session)
    found += strangers(session)
    output = trial_forward(model, to_device(session.batch(session.members[:_FEW])[0], session.device))
    found += _of_classes(session, output)
    found += _of_outputs(session, output)
    found += _of_ignored(session)
    if session.spec.data.augment is not None:
        found.append("Records were read without the augmentation that they were trained with.")
    if len(session.others) < 0.9 * len(session.members) and any(
        g.name == "membership" for g in session.spec.audit.games
    ):
        found.append(f"Only {len(session.others)} held-out records stand against {len(session.members)} members.")
    if len(session.split.members) > MOST_MEMBERS:
        found.append(
            f"Losses and accuracies of training are of {MOST_MEMBERS:,} members drawn at random, of "
            f"{len(session.split.members):,}."
        )
    found += planted_notes(session)
    found += (session.spec.train.defense or UNDEFENDED).record_notes(session.records, session.split)
    return (*found, *training_notes(session.spec, len(session.split.members)), *_of_checkpoints(session.spec))


def _of_users(session: Session) -> Iterator[str]:
    name = session.spec.data.user
    if name is None:
        return
    user, split = session.records.columns[name], session.split
    both = len(np.intersect1d(user[split.members], user[split.held_out]))
    if both:
        yield (
            f"{both} users have records among the members and among those held out, which are then no strangers to the "
            f"model (data.split_by: {name} keeps users together)."
        )


def _of_outputs(session: Session, output: object) -> Iterator[str]:
    """Probabilities in the place of the logits that a loss makes probabilities of itself."""
    name = session.spec.train.loss
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


def _of_ignored(session: Session) -> Iterator[str]:
    """Records none of whose positions counts: there is nothing to learn from them, and nothing to find out."""
    targets = session.records.targets
    if targets.dim() > 1 and not targets.is_floating_point():
        none = int((targets == IGNORED).flatten(1).all(1).sum())
        if none:
            yield f"{none} of {len(targets)} records have no label that counts: their loss and their gradient are 0."


def _of_classes(session: Session, output: object) -> Iterator[str]:
    """Labels that are fewer than the outputs of the model may have been numbered anew."""
    classes = session.records.classes
    if classes is None or session.spec.data.classes is not None:
        return
    if isinstance(output, Tensor) and output.dim() == 2 and output.shape[1] > max(classes, 2):
        yield (
            f"The model has {output.shape[1]} outputs, the labels {classes} classes, which were numbered in sorted "
            f"order: if they are codes that the model knows, set data.classes: {output.shape[1]}."
        )


def _of_twins(session: Session) -> Iterator[str]:
    """Records on both sides: who was held out has then been trained on."""
    inputs, targets, split = session.records.inputs, session.records.targets, session.split
    if not isinstance(inputs, Tensor) or targets.dim() > 1:
        return
    digests = [hash((row.tobytes(), label)) for row, label in zip(inputs.cpu().numpy(), targets.tolist())]
    seen = {digests[place] for place in split.members.tolist()}
    both = sum(digests[place] in seen for place in split.held_out.tolist())
    if both:
        yield f"{both} of {len(split.held_out)} held-out records are equal to members, in all inputs and the label."


def _of_checkpoints(spec: Spec) -> Iterator[str]:
    """What a reader must know of an audit that trained nothing itself."""
    if spec.replay is None:
        return
    given = spec.data.members or spec.data.non_members
    split = "the index files of `data`" if given else "`data.held_out` and `data.seed`, for no index file names it"
    yield (
        f"Nothing was trained: the weights are those of saved checkpoints. Members and held-out records are told apart "
        f"by {split}; the tables are right only if that training saw the members and none of the held-out records."
    )
    yield f"Of the checkpoints, {spec.replay.numbering.how}."
