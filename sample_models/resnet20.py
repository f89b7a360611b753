"""ResNet-20 for CIFAR (He et al. 2015, arXiv 1512.03385, section 4.2), with BatchNorm as published or GroupNorm.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/resnet20.py:resnet20, args: {num_classes: 10, norm: group}}

With `norm: batch` the records of a training batch meet in every layer: a record has a gradient of its own only while
the statistics are frozen, which is how ptaudit reads it. With `norm: group` (Wu and He 2018) records never meet, in
training neither, so that what ptaudit reads is what the training did.
"""

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 8


def make_norm(kind: str, width: int) -> nn.Module:
    """A normalisation of (n, width, s, s)."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(GROUPS, width)
    raise ValueError(f"norm must be batch or group, not {kind}")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters (the paper's option A)."""

    def __init__(self, width_in: int, width: int, norm: str) -> None:
        super().__init__()
        self.stride = width // width_in  # every doubling of the width halves the picture
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = make_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width_in, s, s) to (n, width, s / stride, s / stride)."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            new = out.shape[1] - x.shape[1]
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, new // 2, new - new // 2))
        return F.relu(out + x)


class ResNet20(nn.Module):
    """A 3x3 stem, three stages of three blocks (16, 32 and 64 channels), the mean over positions, a linear layer."""

    def __init__(self, num_classes: int, channels: int, norm: str) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False), make_norm(norm, 16)
        self.stage1 = nn.Sequential(*(BasicBlock(16, 16, norm) for _ in range(3)))
        self.stage2 = nn.Sequential(BasicBlock(16, 32, norm), *(BasicBlock(32, 32, norm) for _ in range(2)))
        self.stage3 = nn.Sequential(BasicBlock(32, 64, norm), *(BasicBlock(64, 64, norm) for _ in range(2)))
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of pictures (n, channels, s, s)."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(x.mean((2, 3)))


def resnet20(num_classes: int = 10, channels: int = 3, norm: str = "batch") -> nn.Module:
    """ResNet-20: 0.27 million parameters.

    Args:
        num_classes: number of classes.
        channels: 1 for grey pictures, 3 for colour.
        norm: `batch` or `group`.
    """
    return ResNet20(num_classes, channels, norm)
