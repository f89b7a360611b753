"""Models, records and slow gradients that tests of replayed views and of defenses on views share."""

import copy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.defenses.dropout.settings import DropoutDefense
from ptaudit.defenses.label_dp import LabelDpDefense
from ptaudit.defenses.prune import PruneDefense
from ptaudit.defenses.sign import SignDefense
from ptaudit.gradients.projection import LayerSketch
from ptaudit.model_input import call
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.entry import parse_entry
from ptaudit.training.loss import make_loss
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation
from ptaudit.views.replayed import ReplayedObservation, batch_gradients

LOSS = make_loss("cross_entropy")
MODELS = Path(__file__).parents[2] / "sample_models"
N, DIM = 24, 36
SIGN = SignDefense(name="sign")
prune, dropout = partial(PruneDefense, name="prune"), partial(DropoutDefense, name="dropout")
label_dp = partial(LabelDpDefense, name="label_dp")


def sample(name, **args):
    torch.manual_seed(0)
    return parse_entry(f"{name}.py:{name}", MODELS).load()(**args)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(11, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, ids):
        return self.head(self.norm(self.embed(ids)).tanh().mean(1))


class Own(nn.Module):
    """Parameters that no rule knows, one of them used through a function only."""

    def __init__(self):
        super().__init__()
        self.gain, self.mix = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.randn(5, 5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(x * self.gain @ self.mix)) + F.linear(x, self.head.weight)


class Branching(Own):
    """Looks at a value, which no batch of batches has."""

    def forward(self, x):
        return super().forward(x) * (2.0 if float(x.abs().sum()) >= 0 else 1.0)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0].mean(1))


class Attention(nn.Module):
    """Two inputs, attention and dropout inside."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x, mask):
        return self.head(self.encoder(x, src_key_padding_mask=mask).mean(1))


def normed(track=True):
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=track), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )


def case(name):
    """Model, inputs, targets; three classes."""
    torch.manual_seed(1)
    y = torch.randint(3, (N,))
    if name == "mlp":
        return sample("mlp", features=7, num_classes=3, hidden=[6, 5]), torch.randn(N, 7), y
    if name == "lenet":
        return sample("lenet", num_classes=3, size=8), torch.randn(N, 1, 8, 8), y
    if name == "words":
        return Words(), torch.randint(11, (N, 4)), y
    if name in ("own", "branching"):
        return Own() if name == "own" else Branching(), torch.randn(N, 5), y
    if name == "recurrent":
        return Recurrent(), torch.randn(N, 6, 4), y
    if name == "attention":
        mask = torch.arange(5) >= torch.randint(2, 6, (N, 1))
        return Attention(), (torch.randn(N, 5, 8), mask), y
    return normed(), torch.randn(N, 5), y


NAMES = ["mlp", "lenet", "words", "own", "branching", "recurrent", "attention", "normed"]


def prepared(name):
    model, x, y = case(name)
    reader = TokenReader(model, LOSS, DIM, 3)
    reader.prepare(x, y)
    return model, x, y, reader


def observation_of(name, view, share=None, case=None):
    _, x, y, reader = case or prepared(name)
    tokens = reader.read(x, y)
    layers = tokens.values.double()
    joint = Joint.of(layers)
    batches = batch_gradients(reader.source, x, y, view, share)
    shared = {layer.name: () for layer in tokens.layers}
    return ReplayedObservation.of(reader, batches, view, joint, shared), TokenObservation(joint.rows(layers))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(games, m, seed=5):
    return torch.stack([torch.randperm(N, generator=seeded(seed + g))[:m] for g in range(games)])


def slow_gradient(model, inputs, targets):
    """Mean gradient of one batch over all parameters, by one plain backward pass of a copy."""
    model = copy.deepcopy(model).eval()
    LOSS(call(model, inputs), targets).mean().backward()
    return {name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in model.named_parameters()}


def flat(grads):
    return torch.cat([g.flatten() for g in grads.values()])


def unflat(whole, grads):
    parts = whole.split([g.numel() for g in grads.values()])
    return {name: part.view_as(g) for part, (name, g) in zip(parts, grads.items())}


def slow_tokens(model, grads):
    """Layers by the names of modules, sketched one by one: (L, k)."""
    found = []
    for path, module in model.named_modules():
        own = {name: p.shape for name, p in module.named_parameters(recurse=False)}
        if own:
            here = {name: grads[f"{path}.{name}" if path else name][None] for name in own}
            found.append(LayerSketch(path or "(root)", own, DIM, 3)(here)[0])
    return torch.stack(found).double()


def sketched(case, rows):
    """Flat gradients `(G, P)` sketched layer by layer, `(L, G, k)`."""
    parameters = dict(case[0].named_parameters())
    return torch.stack([slow_tokens(case[0], unflat(row, parameters)) for row in rows], 1)
