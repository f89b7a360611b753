"""Labels from the gradient of the last layer: the sign rule of one record, counts of classes of several.

With cross-entropy the gradient of the last bias is the mean over the batch of (class probabilities - one-hot label).
One record: its class is the one entry below 0 (iDLG: Zhao et al., arXiv 2001.02610). Several: class c has
`m (mean probability of c - gradient of c)` records (label restoration: Geng et al., arXiv 2110.09074, eq. 9), where the
mean probability is taken of inputs of the adversary's own. That is exact where probabilities vary little over inputs,
as before training, and a guess where they do not; a class whose entry is below 0 has at least one record in any case.

`class_counts` reads counts better, by regression, where the adversary has records of its own with their gradients;
here it has none.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from ptaudit.attacks.inversion.linear_layers import linear_inputs, output_layer, typical
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.model_input import call
from ptaudit.progress import Progress

_OWN = 256
"""Inputs of the adversary's own, on which probabilities and features are taken."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why labels cannot be read."""
    if granted.space.classes is None:
        return "the targets are numbers, which are not read from a gradient"
    path = output_layer(granted)
    if path is None:
        return "the class scores are not those of one linear layer, from which labels would be read"
    if not _entries(seen, path):
        return f"the last layer ({path}) is not shared, from which labels would be read"
    if not is_cross_entropy(granted):
        return "labels are read from the slope of cross-entropy of one score for each class, which the loss is not"
    return ""


def is_cross_entropy(granted: Granted) -> bool:
    """Whether the loss of scores of classes is cross-entropy as it stands, without smoothing or weights."""
    classes = granted.space.classes
    assert classes is not None
    with torch.no_grad():
        scores = call(granted.model, granted.space.inputs(typical(granted.space, classes, granted.device)))
        if scores.shape != (classes, classes):
            return False
        targets = torch.arange(classes, device=granted.device)
        try:
            losses = granted.loss(scores, targets)
        except (RuntimeError, ValueError, TypeError, IndexError):  # a loss of other targets
            return False
        plain = nn.functional.cross_entropy(scores, targets, reduction="none")
    return losses.shape == plain.shape and torch.allclose(losses, plain, rtol=1e-4, atol=1e-5)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """Labels alone."""
    began = time.monotonic()
    labels = recover(seen, granted)
    return Reconstruction(None, labels, torch.zeros(len(seen), dtype=torch.float64), 0, time.monotonic() - began, False)


def recover(seen: SharedGradients, granted: Granted) -> Tensor:
    """Classes of the records of every target, `(B, R)` int64, in order of classes within a round.

    Where the batch changes from round to round, the record that is in all of them comes first, and has the class that
    all rounds have most often.
    """
    slope, probability, scale = _of_last_layer(seen, granted)
    rounds = torch.stack([_counts(one, probability, scale, seen.batch_size) for one in slope.flatten(0, 1)])
    counts = rounds.view(*slope.shape)
    if seen.fixed_batch or seen.batch_size == 1:
        # The mean of what all rounds show is less noisy than each.
        mean = slope.mean(1)
        counts = torch.stack([_counts(one, probability, scale, seen.batch_size) for one in mean])[:, None]
        return torch.stack([_listed(one[0]) for one in counts]).to(granted.device)
    return torch.stack([_with_target(one, seen) for one in counts]).to(granted.device)


def _of_last_layer(seen: SharedGradients, granted: Granted) -> tuple[Tensor, Tensor, Tensor]:
    """For each round the slope by class `(B, r, C)`, the probabilities to expect `(C,)`, and what a slope is of.

    Without a bias the row sums of the weights stand in: the slope of a record times the sum of its features.
    """
    path = output_layer(granted)
    assert path is not None
    own = typical(granted.space, _OWN, granted.device)
    if granted.prior is not None and granted.space.vocabulary is None:
        own = own - own.mean(0) + granted.guess
    with torch.no_grad():
        probability = call(granted.model, granted.space.inputs(own)).softmax(1).mean(0)
    entries = _entries(seen, path)
    if "bias" in entries:
        return entries["bias"].double().cpu(), probability.double().cpu(), torch.tensor(1.0)
    with torch.no_grad():
        features = linear_inputs(granted, path, own).sum(-1).mean()
    return entries["weight"].sum(-1).double().cpu(), probability.double().cpu(), features.double().cpu()


def _entries(seen: SharedGradients, path: str) -> dict[str, Tensor]:
    names = {name: f"{path}.{name}".lstrip(".") for name in ("weight", "bias")}
    return {name: seen.gradients[where] for name, where in names.items() if where in seen.gradients}


def _counts(slope: Tensor, probability: Tensor, scale: Tensor, m: int) -> Tensor:
    """Records of each class in a batch of m, `(C,)` int64, which add up to m."""
    # A slope that is no number tells nothing.
    slope = (slope / scale).nan_to_num(0.0, 0.0, 0.0)
    if m == 1:
        return nn.functional.one_hot(slope.argmin(), len(slope))
    expected = m * (probability - slope)
    counts = torch.zeros(len(slope), dtype=torch.long)
    sure = torch.nonzero(slope < 0.0).flatten()
    sure = sure[slope[sure].argsort()][:m]
    counts[sure] = 1
    for _ in range(m - int(counts.sum())):
        counts[(expected - counts).argmax()] += 1
    return counts


def _listed(counts: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), counts)


def _with_target(counts: Tensor, seen: SharedGradients) -> Tensor:
    """Classes of the R records of rounds with these counts `(r, C)`: the shared one, then the others of each round."""
    shared = int((counts > 0).sum(0).add(counts.sum(0) / (counts.sum() + 1)).argmax())
    labels = torch.empty(seen.records, dtype=torch.long)
    labels[0] = shared
    for slots, one in zip(seen.slots, counts):
        left = one.clone()
        # A round that seems to have no such record gives up the class that it is least sure of.
        left[shared if left[shared] > 0 else int(left.argmax())] -= 1
        labels[slots[1:]] = _listed(left)
    return labels
