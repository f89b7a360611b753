"""The identity game on gradients of small networks, as an audit plays it, and the exact posterior of finite ones."""

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.games.identity import measure as identity
from ptaudit.gradients.matrices import BatchSums
from ptaudit.sketches.reader import TokenReader
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View


def cross_entropy(output, target):
    return F.cross_entropy(output.float(), target, reduction="none")


@dataclass(frozen=True)
class Read:
    """Gradients of records: sketches `(L, N, k)`, matrices, and norms of the whole `(N,)`."""

    values: torch.Tensor
    kept: list
    norms: torch.Tensor

    def at(self, index):
        """The same for some records, in any order and number."""
        kept = [[_taken(one, index) for one in layer] for layer in self.kept]
        return Read(self.values[:, index], kept, self.norms[index])

    def only(self, layers):
        return Read(self.values[layers], [self.kept[i] for i in layers], self.norms)


def _taken(one, index):
    from dataclasses import fields

    tensors = [f.name for f in fields(one) if isinstance(getattr(one, f.name), torch.Tensor)]
    return replace(one, **{name: getattr(one, name)[index] for name in tensors})


def read(model, inputs, targets, dim=64, loss=cross_entropy):
    reader = TokenReader(model, loss, dim=dim, seed=0)
    reader.prepare(inputs, targets)
    tokens = reader.read(inputs, targets)
    return Read(tokens.values.double(), reader.gradients(inputs, targets), tokens.total_norm_sq.double().sqrt())


def measured(records, m, noise=0.0, clip=None, seed=0, candidates=256, rounds=1, algebra=True, observation=None):
    """Bits of all layers jointly, then of each, as an audit gives them."""
    view = View("v", m, rounds=rounds, clip=clip, noise_std=noise)
    factor = torch.ones_like(records.norms) if clip is None else clip / records.norms.clamp_min(clip)
    values = records.values * factor[None, :, None]
    kept = [[one.scaled(factor) for one in layer] for layer in records.kept]
    tokens = Joint.of(values, noise > 0.0).rows(values)
    layers = len(values)
    groups = [list(range(len(tokens))), *([i] for i in range(layers))]
    own = Candidates(kept, noise)
    shown = TokenObservation(tokens, noise, BatchSums(kept, noise)) if observation is None else observation
    who = Known(tokens, view, observation, observation, Algebra(shown, own) if algebra else None)
    _, found = identity.measure(who, groups, [None] * len(groups), Effort(candidates), seed)
    return found["bits"]


# Finite populations


def tabular(levels, classes, seed=0, hidden=16):
    """A small ReLU network and all its types of records: every combination of categories, and every label."""
    torch.manual_seed(seed)
    codes = torch.tensor(list(itertools.product(*map(range, levels))))
    one_hot = torch.cat([F.one_hot(codes[:, i], k) for i, k in enumerate(levels)], 1).float()
    x = one_hot.repeat_interleave(classes, 0)
    y = torch.arange(classes).repeat(len(codes))
    model = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, classes))
    return model, x, y


def explicit(records):
    """Whole gradients `(N, d)` float64."""
    n = records.values.shape[1]
    parts = [one.sums(torch.arange(n)[:, None]).double().flatten(1) for layer in records.kept for one in layer]
    return torch.cat(parts, 1)


def exact_bits(types, chance, candidates, m, noise, games=400, seed=1):
    """Bits of the exact posterior: candidates and others drawn from the types, all multisets of others enumerated.

    Args:
        types: whole gradients of all types, `(A, d)`.
        chance: of each type, `(A,)`.
        candidates: K.
        m: records in a batch.
        noise: standard deviation on every parameter; 0 where the multiset of types is seen, which is to be checked.
        games: number of games.
        seed: of the draws.
    """
    g = torch.Generator().manual_seed(seed)
    kinds = len(types)
    known = torch.multinomial(chance, games * candidates, True, generator=g).view(games, candidates)
    others = torch.multinomial(chance, games * (m - 1), True, generator=g).view(games, m - 1)
    if noise == 0.0:
        batch = torch.cat([known[:, :1], others], 1)
        count = torch.zeros(games, kinds).scatter_add_(1, batch, torch.ones(games, m)).double()
        weight = (count / chance).gather(1, known)
        own = weight[:, 0] / weight.sum(1)
        return math.log2(candidates) + float(own.log2().mean())
    # What is seen, as coordinates in the span of all types: noise of the same size on each.
    _, values, turn = torch.linalg.svd(types, full_matrices=False)
    flat = types @ turn[values > 1e-9 * values[0]].T
    sets = torch.tensor(list(itertools.combinations_with_replacement(range(kinds), m - 1)))
    times = torch.zeros(len(sets), kinds, dtype=torch.float64)
    times.scatter_add_(1, sets, torch.ones_like(sets, dtype=torch.float64))
    weight = math.lgamma(m) - torch.lgamma(times + 1).sum(1) + times @ chance.log()
    hidden = times @ flat
    seen = flat[known[:, 0]] + flat[others].sum(1) + noise * torch.randn(games, flat.shape[1], generator=g)
    total = 0.0
    for one, mine in zip(seen, known):
        left = one - flat  # (A, r) without a candidate of each type
        distance = torch.cdist(left, hidden).square() / (2.0 * noise**2)
        likelihood = torch.logsumexp(weight - distance, 1)[mine]
        total += float(torch.log_softmax(likelihood, 0)[0])
    return math.log2(candidates) + total / games / math.log(2.0)
