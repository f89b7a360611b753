"""Small networks whose leaks are known: read by the token reader, judged by the games."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.context.epoch_context import view_tokens
from ptaudit.games.identity import measure as identity
from ptaudit.games.membership import measure as membership
from ptaudit.gradients.matrices import BatchSums
from ptaudit.gradients.projection import LayerSketch
from ptaudit.report.selftest import Answer
from ptaudit.selftest.bits import unclipped
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import Tokens
from ptaudit.stats.estimate import Estimate
from ptaudit.views import View
from ptaudit.views.joint import mixed
from ptaudit.views.observation import TokenObservation

DIM, SMALL = 64, 16
"""Numbers of a sketch, and of one that holds next to nothing of a batch."""

RECORDS, FEATURES, CLASSES = 512, 32, 4
UNITS = 16
"""Classes of the layer whose algebra leaks; the gradient of its outputs has one rank less."""


def exact_tokens() -> Answer:
    """Tokens of a small convolutional network against one-record autograd, then the same projection."""
    inputs, targets = _pictures(8)
    net = _seeded_net(
        nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    )
    reader = _reader(net, inputs, targets)
    tokens = reader.read(inputs, targets)
    worst = 0.0
    for row, layer in enumerate(tokens.layers):
        module = net.get_submodule(layer.name)
        truth = _one_by_one(net, module, inputs, targets)
        shapes = {name: p.shape for name, p in module.named_parameters()}
        projected = LayerSketch(layer.name, shapes, DIM, 0)(truth)
        worst = max(worst, float((tokens.values[row] - projected).norm() / projected.norm()))
    by_rule = len(tokens.layers) == 3 and all(layer.capture == "rule" for layer in tokens.layers)
    return Answer("3 layers, difference < 1e-4", f"{len(tokens.layers)} layers, {worst:.1e}", by_rule and worst < 1e-4)


class KnownGradients(nn.Module):
    """Three layers whose gradients are known: the record itself, its class, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Linear(3, 2, bias=False)
        self.leaky = nn.Linear(FEATURES, 2, bias=False)
        self.of_class = nn.Linear(CLASSES, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, FEATURES + CLASSES) -> (n, 2)."""
        out = self.leaky(x[:, :FEATURES]) + self.of_class(x[:, FEATURES:]) + self.constant(x.new_ones(len(x), 3))
        return torch.as_tensor(out)


def planted_leak() -> Answer:
    """The layer whose gradient is the record is named; that of the class tells the class, the constant one nothing."""
    tokens = _planted_tokens()
    alone, batch = (_bits(tokens, view) for view in (View("record", 1), View("batch", 8)))
    named = max(batch, key=lambda layer: batch[layer].value)
    class_bits = math.log2(CLASSES)
    passed = (
        named == "leaky"
        and batch["leaky"].lo > batch["of_class"].hi
        and abs(alone["of_class"].value - class_bits) < 0.1
        and alone["constant"].value == batch["constant"].value == 0.0
    )
    found = f"{named}; {alone['of_class'].value:.2f} and {batch['constant'].value:.2f} bits"
    return Answer(f"leaky; {class_bits:.2f} and 0.00 bits", found, passed)


def algebraic_leak() -> Answer:
    """The gradient of a small linear layer over a batch of 8 holds the span of its inputs, and so names every record.

    A sketch of it does not: the likelihood ratio of sketches alone finds a small part.
    """
    view = View("batch", 8)
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(RECORDS, FEATURES, generator=generator)
    targets = torch.randint(UNITS, (RECORDS,), generator=generator)
    net = _seeded_net(nn.Linear(FEATURES, UNITS))
    reader = _reader(net, inputs, targets, SMALL)
    values, groups = view_tokens(view, reader.read(inputs, targets), [0])
    kept = reader.gradients(inputs, targets)
    whole = Algebra(TokenObservation(values, sums=BatchSums(kept)), Candidates(kept))
    alone, both = (
        identity.measure(Known(values, view, algebra=algebra), groups, [None, None], Effort(128))[1]["bits"][1]
        for algebra in (None, whole)
    )
    passed = both.value > 0.9 * both.ceiling and alone.hi < 0.25 * both.ceiling
    found = f"{both.value:.2f} bits, sketch alone {alone.value:.2f}"
    return Answer(f"over {0.9 * both.ceiling:.2f} of {both.ceiling:.2f} bits", found, passed)


def private_toy() -> Answer:
    """Clipping and noise bound what the same leaky layer gives away: nothing is found above that bound."""
    sigma = 3.0
    found = _bits(_planted_tokens(), View("dp", 8, clip=1.0, noise_std=sigma))
    ceiling = max(estimate.ceiling for estimate in found.values())
    values = {layer: unclipped(estimate) for layer, estimate in found.items()}
    worst = max(values.values())
    known = ceiling <= 1.0 / (2.0 * math.log(2.0) * sigma**2) + 1e-9
    return Answer(f"at most {ceiling:.3f} bits", f"{worst:.3f} bits", known and -0.05 < worst <= ceiling)


def untrained() -> Answer:
    """A network that has not been trained cannot tell its members."""
    found = _aucs(steps=0)
    low, high = min(e.lo for e in found), max(e.hi for e in found)
    passed = all(e.lo - 0.03 <= 0.5 <= e.hi + 0.03 for e in found)
    return Answer("AUC 0.5", f"AUC in {low:.2f} to {high:.2f}", passed)


def memorised() -> Answer:
    """One that has memorised random labels is betrayed by the loss and by the gradient's norm."""
    found = _aucs(steps=120)
    worst = min(e.value for e in found)
    return Answer("AUC over 0.95", f"AUC {worst:.3f}", worst > 0.95)


def _planted_tokens() -> Tokens:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(RECORDS) % CLASSES
    records = torch.randn(RECORDS, FEATURES, generator=generator)
    inputs = torch.cat([records, F.one_hot(targets, CLASSES).float()], 1)
    net = KnownGradients()
    reader = TokenReader(net, _sum_loss, DIM)
    reader.prepare(inputs[:16], targets[:16])
    return reader.read(inputs, targets)


def _sum_loss(output: Tensor, target: Tensor) -> Tensor:
    """Its gradient with respect to the output is one everywhere: a linear layer's gradient is then its input."""
    return output.sum(1)


def _bits(tokens: Tokens, view: View) -> dict[str, Estimate]:
    """Identity bits of each layer, by the steps of an audit."""
    values, groups = view_tokens(view, tokens, range(len(tokens.layers)))
    sizes = [sum(layer.parameters for layer in tokens.layers), *(layer.parameters for layer in tokens.layers)]
    found = identity.measure(Known(values, view), groups, sizes, Effort(128))[1]["bits"]
    return dict(zip((layer.name for layer in tokens.layers), found[1:]))


def _aucs(steps: int) -> Sequence[Estimate]:
    """AUC of the loss and of the gradient's norm for a network fitted to random labels."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(RECORDS, FEATURES, generator=generator)
    targets = torch.randint(CLASSES, (RECORDS,), generator=generator)
    net = _seeded_net(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    half = RECORDS // 2
    _fit(net, inputs[:half], targets[:half], steps)
    reader = _reader(net, inputs, targets)
    inside, outside = (_side(reader.read(inputs[part], targets[part])) for part in (slice(half), slice(half, None)))
    joint = len(inside.tokens) - 1
    found = membership.measure(inside, outside).lines
    return [found[adversary, joint]["auc"] for adversary in ("loss", "gradient-norm")]


def _fit(net: nn.Module, inputs: Tensor, targets: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(net(inputs), targets).mean())
        optimizer.step()


def _side(tokens: Tokens) -> membership.RecordSignals:
    values = tokens.values.double()
    norm_sq = torch.cat([tokens.norm_sq, tokens.total_norm_sq[None]])
    return membership.RecordSignals(torch.cat([values, mixed(values)[None]]), norm_sq, tokens.loss)


def _pictures(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 2, 8, 8, generator=generator), torch.randint(CLASSES, (n,), generator=generator)


def _seeded_net(*modules: nn.Module) -> nn.Sequential:
    """The modules with weights that do not depend on, or touch, the global generator."""
    net = nn.Sequential(*modules)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.normal_(0.0, math.sqrt(2.0 / fan_in) if fan_in > 1 else 0.1, generator=generator)
    return net


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none")


def _reader(net: nn.Module, inputs: Tensor, targets: Tensor, dim: int = DIM) -> TokenReader:
    reader = TokenReader(net, _loss, dim, seed=0)
    reader.prepare(inputs[:16], targets[:16])
    return reader


def _one_by_one(net: nn.Module, module: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Gradients of a module's parameters, `(n, *shape)` by name: one backward pass per record."""
    named = dict(module.named_parameters())
    rows = [
        torch.autograd.grad(_loss(net(inputs[i : i + 1]), targets[i : i + 1]).sum(), list(named.values()))
        for i in range(len(targets))
    ]
    return {name: torch.stack([row[k] for row in rows]) for k, name in enumerate(named)}
