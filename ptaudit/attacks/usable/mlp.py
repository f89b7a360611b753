"""A small network: one hidden layer, trained by Adam, all problems as one batched program.

Sees what a linear predictor misses (an XOR, a radius), but needs more records: with few it says less than the linear
family. The path is its training: the fits are the network after so many steps (early stopping).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ptaudit.attacks.usable.family import Family, compressed

HIDDEN = 32
STOPS = (8, 16, 32, 64, 128)
"""Steps of training after which the network is a point of the path."""

BATCH = 128
RATE = 0.02
DECAY = 1e-3

Loss = Callable[[Tensor, Tensor], Tensor]


def class_path(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator) -> Tensor:
    """Log-probabilities `(V, H, P, m, C)`; see `family.Path`."""
    return _trained(known, secrets, unseen, generator, _cross_entropy).log_softmax(-1)


def number_path(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator) -> Tensor:
    """Means `(V, H, P, m, s)`; see `family.Path`."""
    mean = secrets.mean(1, keepdim=True)
    spread = (secrets - mean).square().mean(1, keepdim=True).sqrt().clamp_min(1e-30)
    found = _trained(known, (secrets - mean) / spread, unseen, generator, _squared_error)
    return found * spread[:, None, None] + mean[:, None, None]


def _cross_entropy(answers: Tensor, truth: Tensor) -> Tensor:
    return -(answers.log_softmax(-1) * truth).sum(-1)


def _squared_error(answers: Tensor, truth: Tensor) -> Tensor:
    return 0.5 * (answers - truth).square().sum(-1)


def _trained(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator, loss: Loss) -> Tensor:
    """Raw outputs for the unseen rows at every stop."""
    truth, n = secrets[:, None], known.shape[1]
    with torch.enable_grad():
        network = _Network(known.detach(), secrets, generator)
        optimizer = torch.optim.AdamW(network.weights, lr=RATE, weight_decay=DECAY, fused=True)
        found, order = [], torch.empty(0, dtype=torch.long)
        for step in range(1, STOPS[-1] + 1):
            if len(order) == 0:
                order = torch.randperm(n, generator=generator).to(known.device)
            rows, order = order[:BATCH], order[BATCH:]
            optimizer.zero_grad()
            # The mean over rows and the sum over problems: each learns as if it were alone.
            total = loss(network(known[:, rows]), truth[:, :, rows]).mean(-1).sum()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step in STOPS:
                with torch.no_grad():
                    found.append(network(unseen))
    return torch.stack(found, 1)


class _Network:
    """V networks for each of P problems; those of one problem read the same tokens. All start alike."""

    def __init__(self, known: Tensor, secrets: Tensor, generator: torch.Generator) -> None:
        problems, _, d = known.shape
        versions, _, outputs = secrets.shape
        first = torch.randn(d, HIDDEN, generator=generator) / math.sqrt(d)
        last = torch.randn(HIDDEN, outputs, generator=generator) / math.sqrt(HIDDEN)
        shapes = (
            first.repeat(problems, 1, versions),
            torch.zeros(problems, 1, versions * HIDDEN),
            last.expand(versions, problems, HIDDEN, outputs).clone(),
            torch.zeros(versions, problems, 1, outputs),
        )
        self.versions = versions
        self.weights = [weight.to(known.device).requires_grad_() for weight in shapes]

    def __call__(self, tokens: Tensor) -> Tensor:
        """`(P, b, d)` -> `(V, P, b, K)`."""
        first, shift, last, bias = self.weights
        hidden = torch.unflatten(torch.baddbmm(shift, tokens, first).relu(), -1, (self.versions, HIDDEN))
        answers: Tensor = hidden.permute(2, 0, 1, 3) @ last + bias
        return answers


FAMILY = Family((compressed,), class_path, number_path, len(STOPS))
