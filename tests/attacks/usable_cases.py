"""Secrets whose information in tokens is known."""

import math

import numpy as np
import torch
from scipy.stats import norm

from ptaudit.attacks.usable import LabelledTokens, measure


def gaussian(n, k, seed):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coin(n, seed, classes=2):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def ask(tokens, secret, family="linear", groups=((0,),), record=None, seed=0, folds=None):
    rows = tokens if tokens.dim() == 3 else tokens[None]
    record = torch.arange(rows.shape[1]) if record is None else record
    return measure(LabelledTokens(rows, secret, record, folds), groups, family, seed)


def two_classes(n, k, distance, seed):
    """Unit Gaussian classes whose centres lie `distance` apart along a diagonal."""
    secret = coin(n, 9000 + seed)
    return gaussian(n, k, seed) + distance / math.sqrt(k) * secret[:, None], secret


def exact_bits(distance):
    """I(class; token) of the classes above, by integration along the axis between the centres."""
    z = np.linspace(-12, 12 + distance, 20_001)
    density = np.stack([norm.pdf(z), norm.pdf(z, distance)])
    return float(0.5 * (density * np.log2(density / density.mean(0))).sum() * (z[1] - z[0]))


def line(n, k, r, seed):
    """Tokens, and a number whose correlation with their first coordinate is r."""
    tokens = gaussian(n, k, seed)
    return tokens, r * tokens[:, 0] + math.sqrt(1 - r * r) * gaussian(n, 1, 4000 + seed)[:, 0]
