"""Wide residual networks for CIFAR (Zagoruyko and Komodakis 2016, arXiv 1605.07146), with BatchNorm or GroupNorm.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/wrn.py:wrn, args: {depth: 16, width: 4, norm: group}}

WRN-16-4 with GroupNorm is the network of the best private training on CIFAR-10 without extra data (De et al. 2022,
arXiv 2204.13650); WRN-28-2 is a usual target of membership inference.
"""

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 16


def make_norm(kind: str, width: int) -> nn.Module:
    """A normalisation of (n, width, s, s)."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(GROUPS, width)
    raise ValueError(f"norm must be batch or group, not {kind}")


class WideBlock(nn.Module):
    """Normalise, ReLU, convolve, twice; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = make_norm(norm, width_in), nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.norm2, self.conv2 = make_norm(norm, width), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.shortcut: nn.Module | None = None
        if stride != 1 or width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width_in, s, s) to (n, width, s / stride, s / stride)."""
        active = F.relu(self.norm1(x))
        out = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(active)))))
        return out + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """A stem of 16 channels, three groups of blocks with 16, 32 and 64 times `width` channels, a linear layer."""

    def __init__(self, depth: int, width: int, num_classes: int, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.group1 = self._group(blocks, 16, 16 * width, 1, norm, dropout)
        self.group2 = self._group(blocks, 16 * width, 32 * width, 2, norm, dropout)
        self.group3 = self._group(blocks, 32 * width, 64 * width, 2, norm, dropout)
        self.norm = make_norm(norm, 64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _group(blocks: int, width_in: int, width: int, stride: int, norm: str, dropout: float) -> nn.Sequential:
        first = WideBlock(width_in, width, stride, norm, dropout)
        return nn.Sequential(first, *(WideBlock(width, width, 1, norm, dropout) for _ in range(blocks - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of pictures (n, channels, s, s)."""
        x = self.group3(self.group2(self.group1(self.conv1(x))))
        return self.fc(F.relu(self.norm(x)).mean((2, 3)))


def wrn(
    depth: int = 16,
    width: int = 4,
    num_classes: int = 10,
    channels: int = 3,
    norm: str = "batch",
    dropout: float = 0.0,
) -> nn.Module:
    """WRN-depth-width: WRN-16-4 has 2.7 million parameters, WRN-28-10 36.5 million.

    Args:
        depth: convolutions on the longest path, 6 n + 4 for n blocks in each of the three groups.
        width: how many times wider than the original ResNet.
        num_classes: number of classes.
        channels: 1 for grey pictures, 3 for colour.
        norm: `batch` or `group`.
        dropout: between the two convolutions of a block; the paper uses 0.3 for its widest networks.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 10, 16, 22, 28, ..., not {depth}")
    return WideResNet(depth, width, num_classes, channels, norm, dropout)
