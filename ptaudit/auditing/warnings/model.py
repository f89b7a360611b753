"""Warnings about the model: layers that are others in training, and outputs that do not fit the loss."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.auditing.warnings.subject import Subject
from ptaudit.spec.defenses import UNDEFENDED

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
