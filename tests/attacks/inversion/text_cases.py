"""Texts of no one, small Transformers, and what is granted about them."""

from __future__ import annotations

import torch
from inversion_cases import seeded
from torch import nn

from ptaudit.attacks.inversion.messages import Granted, InputSpace, SharedGradients
from ptaudit.model_input import call
from ptaudit.training.loss import cross_entropy

VOCABULARY, LENGTH = 40, 6


class Reader(nn.Module):
    """Token and position embeddings, one layer of attention, the mean over real tokens, class scores.

    Args:
        width: numbers of each vector.
        causal: whether a position attends to what stands before alone.
        positions: whether there is an embedding of positions.
    """

    def __init__(self, width=32, causal=False, positions=True):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(LENGTH, width) if positions else None
        self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.head, self.causal = nn.Linear(width, 3), causal

    def forward(self, ids, mask=None):
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        x = self.tokens(ids)
        if self.positions is not None:
            x = x + self.positions(torch.arange(ids.shape[1]).expand_as(ids))
        later = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        x = self.layer(x, src_mask=later, src_key_padding_mask=None if mask is None else ~real)
        return self.head((x * real[..., None]).sum(1) / real.sum(1, keepdim=True))


def reader(**settings):
    return seeded(lambda: Reader(**settings).eval())


def texts(targets, m, longest=LENGTH, shortest=1, seed=0):
    """Ids and which are real, `(B, m, LENGTH)` each, and labels `(B, m)`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (targets, m, LENGTH), generator=generator)
    length = torch.randint(shortest, longest + 1, (targets, m, 1), generator=generator)
    real = torch.arange(LENGTH) < length
    return torch.where(real, ids, 0), real, torch.randint(3, (targets, m), generator=generator)


def known_of(model, masked=True):
    """What is granted: the guess is token 0 at every position."""
    ids, real = torch.zeros(1, LENGTH, dtype=torch.long), torch.zeros(1, LENGTH, dtype=torch.bool)
    nothing, form = torch.zeros(()), {"ids": ids, "mask": real} if masked else ids
    space = InputSpace((LENGTH,), "tokens", nothing, nothing, nothing, nothing, 3, VOCABULARY, form=form)
    return Granted(model, cross_entropy, space, prior=ids[0])


def seen_of(known, ids, real, labels, **more):
    """The mean gradient of every batch, one round each."""
    model, every = known.model, []
    for some in zip(ids, real, labels):
        losses = cross_entropy(call(model, known.space.inputs(*some[:2])), some[2])
        every.append(torch.autograd.grad(losses.mean(), list(model.parameters())))
    paths = [path for path, _ in model.named_parameters()]
    shown = {path: torch.stack(grads)[:, None] for path, grads in zip(paths, zip(*every))}
    return SharedGradients(shown, ids.shape[1], **more)


def counts(ids, real):
    """How often each token is in a batch, one by one, `(B, V)`."""
    found = torch.zeros(len(ids), VOCABULARY, dtype=torch.long)
    for target, (some, which) in enumerate(zip(ids.flatten(1), real.flatten(1))):
        for token in some[which]:
            found[target, token] += 1
    return found
