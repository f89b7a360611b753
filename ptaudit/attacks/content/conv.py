"""A small convolutional decoder for pictures: features to a coarse picture, and two convolutions at its places."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptaudit.attacks.content.family import Family, Task, best_of
from ptaudit.attacks.usable.mlp import DECAY
from ptaudit.training.seeding import seeded

STOPS = (20, 50, 100)
"""Steps of training after which the network is a setting."""

BATCH, RATE = 32, 5e-3

CHANNELS, HIDDEN, FINER = 16, 32, 4
"""Of the coarse picture and of what is made of it; pixels a side that become of each of its places."""


class Upsampling(nn.Module):
    """From features `(n, d)` to pictures `(n, C, H, W)`: two convolutions of a coarse picture, whose channels become
    finer pixels (Shi et al., "Real-time single image super-resolution", arXiv 1609.05158)."""

    def __init__(self, features: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.coarse = CHANNELS, -(-shape[1] // FINER), -(-shape[2] // FINER)
        self.spread = nn.Linear(features, self.coarse[0] * self.coarse[1] * self.coarse[2])
        self.mix = nn.Conv2d(CHANNELS, HIDDEN, 3, padding=1)
        self.out = nn.Conv2d(HIDDEN, shape[0] * FINER**2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        hidden = self.spread(features).relu().reshape(-1, *self.coarse)
        found: Tensor = nn.functional.pixel_shuffle(self.out(self.mix(hidden).relu()), FINER)
        return found[:, :, : self.shape[1], : self.shape[2]]


def network(task: Task) -> Tensor:
    """See `family.Decoder`. It learns the difference from the mean picture, in units of its root mean square."""
    versions = [_trained(task, target) for target in task.targets]
    return best_of((torch.stack(same) for same in zip(*versions)), task.truth)


def _trained(task: Task, target: Tensor) -> list[Tensor]:
    """What is rebuilt of the unseen rows at every stop, `(u, D)` each."""
    known = task.known
    mean = target.mean(0)
    scale = (target - mean).square().mean().sqrt().clamp_min(1e-30)
    aim = ((target - mean) / scale).reshape(-1, *task.shape)
    order = torch.Generator().manual_seed(task.seed)
    with seeded(task.seed), torch.enable_grad():
        net = Upsampling(known.shape[1], task.shape).to(known.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
        found, left = [], torch.empty(0, dtype=torch.long)
        for step in range(1, STOPS[-1] + 1):
            if len(left) == 0:
                left = torch.randperm(len(known), generator=order).to(known.device)
            rows, left = left[:BATCH], left[BATCH:]
            optimizer.zero_grad()
            loss = (net(known[rows]) - aim[rows]).square().mean()
            loss.backward()
            optimizer.step()
            if step in STOPS:
                with torch.no_grad():
                    found.append(net(task.unseen).flatten(1) * scale + mean)
    return found


FAMILY = Family(network, screened=True)
