"""The small convolutional network that many MNIST tutorials train: two 3x3 convolutions, two linear layers."""

from __future__ import annotations

from torch import nn


def cnn(num_classes: int = 10, channels: int = 1, size: int = 28) -> nn.Module:
    """Two convolutions (32 and 64 channels), max-pooling, a hidden layer of 128.

    Args:
        num_classes: classes.
        channels: channels of the images.
        size: height and width of the images, at least 6.
    """
    side = (size - 4) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * side * side, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )
