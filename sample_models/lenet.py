"""A small convolutional network after LeNet-5 (LeCun et al. 1998), for pictures of 8, 28 or 32 pixels a side.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/lenet.py:lenet, args: {num_classes: 10, channels: 1, size: 28}}

What ptaudit asks of a model: a function that returns a `torch.nn.Module`, built from the keyword arguments of the spec,
whose inputs and outputs count the records in their first dimension. The names of its parts (`conv1`, `fc3`) are the
names of the layers in the leakage tables.
"""

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """Two convolutions, three fully connected layers, ReLU and max-pooling; takes (n, channels, size, size)."""

    def __init__(self, num_classes: int, channels: int, size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5, padding=2)
        self.fc1 = nn.Linear(16 * (size // 4) ** 2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        for layer in self.children():  # He et al. 2015; PyTorch's default is too small for five layers without norms
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of pictures (n, channels, size, size)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def lenet(num_classes: int = 10, channels: int = 1, size: int = 28) -> nn.Module:
    """A LeNet-like network.

    Args:
        num_classes: number of classes.
        channels: 1 for grey pictures, 3 for colour.
        size: pixels a side, a multiple of 4 (8 for scikit-learn's digits, 28 for MNIST, 32 for CIFAR).
    """
    if size < 4 or size % 4:
        raise ValueError(f"size must be a multiple of 4, not {size}")
    return LeNet(num_classes, channels, size)
