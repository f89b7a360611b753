"""ResNet-18 (He et al. 2016) for pictures of 32 pixels a side, with GroupNorm (Wu and He 2018) instead of BatchNorm.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/resnet18.py:resnet18_gn, args: {num_classes: 10, channels: 3}}

The stem is a 3x3 convolution without pooling, as usual for CIFAR. BatchNorm mixes the records of a batch, so that one
record has no gradient of its own; GroupNorm does not, which is why private training uses it too.
"""

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 32


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a stride or a change of width puts a 1x1 convolution on the shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride=stride, bias=False), nn.GroupNorm(GROUPS, width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width_in, s, s) to (n, width, s / stride, s / stride)."""
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Four stages of two basic blocks, 64 to 512 channels."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, 64)
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of pictures (n, channels, 32, 32)."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def _stage(width_in: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(width_in, width, stride), BasicBlock(width, width, 1))


def resnet18_gn(num_classes: int = 10, channels: int = 3) -> nn.Module:
    """ResNet-18 with GroupNorm.

    Args:
        num_classes: number of classes.
        channels: 1 for grey pictures, 3 for colour.
    """
    return ResNet18(num_classes, channels)
