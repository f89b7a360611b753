"""Numbers about a batch's gradient that classifiers can use: sizes of rows and columns, zeros, signs, spectra."""

from __future__ import annotations

import numpy as np
from redteam_decode import Inputs, counts
from redteam_gradients import Block
from redteam_world import Array
from torch import Tensor

EPSILON = 1e-8
"""What is added to sizes before the logarithm, as a share of the largest of the layer."""

SPECTRUM, NARROW = 8, 130
"""Leading singular values, of layers whose smaller side is at most so wide."""

SMALL = 700
"""Layers with at most so many numbers are also given as they are."""


def features(blocks: list[Block], batch: list[Tensor], inputs: Inputs | None = None) -> Array:
    """All numbers of one batch, one vector; with counts of records that can be read off, where inputs are binary."""
    found = [_of_layer(block, matrix.numpy()) for block, matrix in zip(blocks, batch)]
    if inputs is not None:
        found.append(counts(batch[0].double().numpy(), inputs).astype(np.float32))
    return np.concatenate(found)


def _of_layer(block: Block, G: Array) -> Array:
    rows, columns = np.sqrt((G**2).sum(1, dtype=np.float64)), np.sqrt((G**2).sum(0, dtype=np.float64))
    top = max(float(rows.max()), 1e-30)
    found = [np.log10(rows + EPSILON * top), np.log10(columns + EPSILON * top), rows == 0.0, columns == 0.0]
    found += [np.log10([top]), _spectrum(G, rows, columns)]
    found += _sides_of_zero(G, top)
    if block.bias is not None:
        bias = G[:, block.bias].astype(np.float64)
        found += [np.sign(bias), np.log10(np.abs(bias) + EPSILON * top), bias]
        # Ratios of a column's sums to the bias's: what share of the errors went through an input.
        total = np.abs(bias).sum() + EPSILON * top
        found.append((np.sign(bias)[:, None] * G).sum(0) / total)
        # And unit by unit: shares among the records that a unit was used by.
        one = np.clip(G / np.where(bias == 0.0, 1e-30, bias)[:, None], -1.0, 2.0)[bias != 0.0]
        found += [np.median(one, 0), one.mean(0), (one == 0.0).mean(0)] if len(one) else [np.zeros(3 * G.shape[1])]
    if G.size <= SMALL:
        found.append(G.ravel().astype(np.float64))
    return np.concatenate(found).astype(np.float32)


def _sides_of_zero(G: Array, top: float) -> list[Array]:
    """Sizes of what is below 0 and above 0 in every row, and the share of either.

    Where inputs are never negative, a row of the last layer is below 0 only where a record of its class was active.
    """
    below, above = (np.sqrt((np.maximum(part, 0.0) ** 2).sum(1, dtype=np.float64)) for part in (-G, G))
    sizes = [np.log10(part + EPSILON * top) for part in (below, above)]
    return [*sizes, sizes[0] - sizes[1], (G < 0.0).mean(1), (G > 0.0).mean(1)]


def _spectrum(G: Array, rows: Array, columns: Array) -> Array:
    if min(G.shape) > NARROW:
        return np.zeros(0)
    G = G.astype(np.float64)
    values = np.linalg.eigvalsh(G @ G.T if G.shape[0] <= G.shape[1] else G.T @ G)[::-1][:SPECTRUM]
    top = max(float(values[0]), 1e-60)
    return 0.5 * np.log10(np.maximum(values, 0.0) + 1e-14 * top)
