"""A network of fully connected layers for tables.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/mlp.py:mlp, args: {features: 30, num_classes: 2, hidden: [64, 32]}}

`features` is the number of columns after preprocessing: a number counts once, a category as often as it has values, and
once more for values that no member has. If it is wrong, ptaudit says which number the data have.
"""

from collections.abc import Sequence

from torch import nn


def mlp(features: int, num_classes: int = 2, hidden: Sequence[int] = (64, 32)) -> nn.Module:
    """Linear layers with ReLU between them; takes (n, features), returns class scores (n, num_classes).

    Args:
        features: number of inputs.
        num_classes: number of classes; 1 for the losses `bce` and `mse`.
        hidden: widths of the layers between; empty for a linear model.
    """
    layers: list[nn.Module] = []
    width = features
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
