"""What is found in sums of kept gradients is found in the true gradient of the batch, one float32 backward pass."""

import math
from pathlib import Path

import pytest
import torch
from attack_cases import generator
from network_games import cross_entropy
from torch import nn

from ptaudit.attacks.evidence import Candidates, Evidence, statistics_of
from ptaudit.attacks.stacking import fit_stack
from ptaudit.gradients.keep import as_kept, kept_sketch
from ptaudit.gradients.matrices import BatchSums
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.entry import parse_entry

MODELS = Path(__file__).parents[2] / "sample_models"
N, K = 256, 32


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(2, width)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


def resnet():
    stem = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.GroupNorm(2, 16), nn.ReLU()
    return nn.Sequential(*stem, Block(16), nn.AvgPool2d(2), Block(16), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(64, 10))  # fmt: skip


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(300, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, ids):
        return self.head(self.encoder(self.embed(ids)).mean(1))


def sample(name, **args):
    return parse_entry(f"{name}.py:{name}", MODELS).load()(**args)


def case(name):
    torch.manual_seed(0)
    y = torch.randint(0, 10, (N,))
    if name == "mlp":
        return sample("mlp", features=30, num_classes=10, hidden=[32, 16]), torch.randn(N, 30), y
    if name == "lenet":
        return sample("lenet", num_classes=10, channels=1, size=16), torch.randn(N, 1, 16, 16), y
    if name == "resnet":
        return resnet(), torch.randn(N, 1, 8, 8), y
    return Encoder(), torch.randint(0, 300, (N, 6)), y


class Backward:
    """The true gradient of every batch, in the form in which those of records are kept."""

    def __init__(self, model, x, y, reader, kept):
        self.model, self.x, self.y = model, x, y
        layers = {layer.name: layer for layer in reader.source.layers}
        chosen = [layers[info.name] for info in reader.layers if info.capture != "none"]
        self.forms = [(kept_sketch(layer, reader.seed, torch.device("cpu")), layer) for layer in chosen]
        self.kept = kept

    def read(self, members):
        for batch in members:
            self.model.zero_grad(set_to_none=True)
            cross_entropy(self.model(self.x[batch]), self.y[batch]).mean().backward()
            grads = {name: len(batch) * p.grad[None] for name, p in self.model.named_parameters()}
            yield [
                as_kept(form, list(layer.parameters), kept, {n: grads[layer.path(n)] for n in layer.parameters})
                for (form, layer), kept in zip(self.forms, self.kept)
            ]


def drawn(games, m, seed):
    g = generator(seed)
    secret = torch.arange(games) % K
    others = torch.stack([K + torch.randperm(N - K, generator=g)[: m - 1] for _ in range(games)])
    return torch.cat([secret[:, None], others], 1), secret


@pytest.mark.parametrize(("name", "m", "least"), [
    ("mlp", 8, 0.9), ("transformer", 8, 0.5),
    pytest.param("lenet", 8, 0.9, marks=pytest.mark.slow), pytest.param("resnet", 4, 0.2, marks=pytest.mark.slow),
])  # fmt: skip
def test_success_on_true_batches_is_success_on_sums(name, m, least):
    """Densities and weights come from sums; 96 other games are answered on both, with the same names and bits."""
    model, x, y = case(name)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for start in range(0, N, 32):
        optimizer.zero_grad()
        cross_entropy(model(x[start : start + 32]), y[start : start + 32]).mean().backward()
        optimizer.step()
    model.eval()
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(x, y)
    reader.read(x, y)
    kept = reader.gradients(x, y)
    assert all(kept)
    own, sums, candidates = Candidates(kept), BatchSums(kept), torch.arange(K)

    def on_sums(members):
        return statistics_of(lambda some: sums.read(some, generator()), members, candidates, own)

    found, secrets = zip(*((on_sums(members), secret) for members, secret in (drawn(512, m, 1), drawn(512, m, 2))))
    evidence = Evidence.fit(found[0], secrets[0])
    prior = torch.full((512, K), 1.0 / K, dtype=torch.float64)
    stack = fit_stack(evidence.scores(found[1]), secrets[1], prior, 1.0 / 513)
    members, secret = drawn(96, m, 3)
    truly = statistics_of(Backward(model, x, y, reader, kept).read, members, candidates, own)
    answers = [stack.log_posterior(evidence.scores(seen), prior[:96]) for seen in (on_sums(members), truly)]
    bits = [answer.gather(1, secret[:, None]).squeeze(1) / math.log(2.0) + math.log2(K) for answer in answers]
    right = [answer.argmax(1) == secret for answer in answers]
    assert float(right[0].float().mean()) > least
    assert float((right[0] == right[1]).float().mean()) > 0.95
    assert float(bits[1].mean()) == pytest.approx(float(bits[0].mean()), abs=0.05 * math.log2(K))
