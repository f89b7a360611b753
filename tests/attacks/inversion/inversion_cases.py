"""Small models, pictures of no one, and their gradients by plain autograd."""

from __future__ import annotations

import torch
from torch import nn

from ptaudit.attacks.inversion.messages import Granted, InputSpace, SharedGradients
from ptaudit.stats.fidelity import assignment
from ptaudit.training.loss import cross_entropy


def pictures(n, side=12, seed=0):
    """Smooth pictures in [0, 1]: a few bright spots each."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.rand(n, 3, 2, generator=generator) * side
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).float()
    distance = (grid[None, None] - at[:, :, None, None]).square().sum(-1)
    return (-distance / (side / 4) ** 2).exp().sum(1).clamp(0, 1)[:, None]


def classes(n, count=5, seed=1):
    return torch.randint(count, (n,), generator=torch.Generator().manual_seed(seed))


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def dense(side=12, hidden=64, count=5):
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(side**2, hidden), nn.ReLU(), nn.Linear(hidden, count)))


def sigmoid_lenet(side=12, count=5):
    """The network of Zhu et al., arXiv 1906.08935: strides for pooling, sigmoids, weights uniform in [-0.5, 0.5]."""

    def build():
        convolutions = [
            part
            for channels, stride in ((1, 2), (12, 2), (12, 1))
            for part in (nn.Conv2d(channels, 12, 5, padding=2, stride=stride), nn.Sigmoid())
        ]
        model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(12 * (side // 4) ** 2, count))
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5)
        return model

    return seeded(build)


def granted(model, like, count=5, **more):
    """What is granted who has seen other pictures `like`."""
    sides = (0, 2, 3)
    mean, std = like.mean(sides, keepdim=True)[0], like.std(sides, keepdim=True)[0]
    bounds = torch.tensor(0.0), torch.tensor(1.0)
    space = InputSpace(tuple(like.shape[1:]), "picture", *bounds, mean, std, count)
    return Granted(model, cross_entropy, space, prior=like.mean(0), **more)


def gradient(model, x, y):
    """Mean gradient of a batch by path."""
    found = torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters()))
    return {path: g for (path, _), g in zip(model.named_parameters(), found)}


def update(model, x, y, steps, lr):
    """Mean of the gradients along local steps; the model is moved and put back."""
    before = {path: p.detach().clone() for path, p in model.named_parameters()}
    for _ in range(steps):
        slope = gradient(model, x, y)
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                parameter -= lr * slope[path]
    after = {path: p.detach().clone() for path, p in model.named_parameters()}
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            parameter.copy_(before[path])
    return {path: (after[path] - before[path]) / (-lr * steps) for path in before}


def shared(rounds, batch_size, **more):
    """From gradients by path, `[target][round]`."""
    paths = rounds[0][0]
    stacked = {path: torch.stack([torch.stack([one[path] for one in target]) for target in rounds]) for path in paths}
    return SharedGradients(stacked, batch_size, **more)


def seen_of(model, x, y, of=gradient):
    """One round of each target, from records `(B, m, ...)`."""
    return shared([[of(model, some, labels)] for some, labels in zip(x, y)], x.shape[1])


def psnr(rebuilt, true):
    """Of the records of each target `(B, m, ...)`, assigned to the true ones, in dB `(B, m)`."""
    found = []
    for said, own in zip(rebuilt, true):
        error = (said - own[assignment(said.numpy(), own.numpy())]).square().flatten(1).mean(1)
        found.append(-10.0 * error.clamp_min(1e-12).log10())
    return torch.stack(found)
