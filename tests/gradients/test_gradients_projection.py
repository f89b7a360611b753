"""Known answers of the random projections."""

import math

import pytest
import torch
from token_models import Readout
from token_reference import cross_entropy
from torch import nn

from ptaudit.gradients.projection import WIDEST_VECTOR, FoldedBlock, LayerSketch, generator_for, projection
from ptaudit.sketches.reader import TokenReader


def shapes(**sizes):
    return {name: torch.Size(size) for name, size in sizes.items()}


def sketch(seed, name="layer", dim=16, **sizes):
    return LayerSketch(name, shapes(**sizes), dim, seed)


def test_columns_are_orthonormal_where_they_fit():
    for dimension in (1, 5, 16):
        matrix = projection(16, dimension, generator_for(0, dimension))
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(dimension), atol=1e-5, rtol=0)


def test_entries_have_variance_one_over_size():
    matrix = projection(16, 5000, generator_for(1))
    assert matrix.shape == (16, 5000)
    assert abs(float(matrix.var()) * 16 - 1) < 5 * math.sqrt(2 / matrix.numel())


@pytest.mark.parametrize("dimension", [1, 3, 16])
def test_orthonormal_columns_have_no_preferred_direction(dimension):
    """A QR whose signs are not made unique has a first row of one sign, and its tokens biased cross terms."""
    draws = torch.stack([projection(16, dimension, generator_for(seed)) for seed in range(600)])
    assert float(draws.mean(0).abs().max()) < 4.5 * 0.25 / math.sqrt(600)


def test_small_layers_are_kept_exactly():
    """A matrix that fits on both sides, and a vector that fits, keep all inner products."""
    generator = torch.Generator().manual_seed(0)
    for sizes in ({"weight": (4, 3), "bias": (4,)}, {"weight": (7,), "bias": (7,)}):
        grads = {name: torch.randn(5, *size, generator=generator) for name, size in sizes.items()}
        flat = torch.cat([g.flatten(1) for g in grads.values()], dim=1)
        tokens = sketch(0, **sizes)(grads)
        torch.testing.assert_close(tokens @ tokens.T, flat @ flat.T, atol=1e-4, rtol=1e-4)


LAYERS = {
    "matrix": {"weight": (30, 20)},
    "matrix with bias": {"weight": (30, 20), "bias": (30,)},
    "convolution": {"weight": (12, 5, 3, 3), "bias": (12,)},
    "few rows": {"weight": (2, 40), "bias": (2,)},
    "vector": {"weight": (40,), "bias": (40,)},
    "several blocks": {"in_proj_weight": (24, 8), "in_proj_bias": (24,), "gain": (5,), "scale": ()},
    "position embedding": {"position": (1, 10, 12), "token": (1, 1, 12)},
    "folded vector": {"weight": (WIDEST_VECTOR + 3,)},
}


@pytest.mark.parametrize("name", LAYERS)
def test_inner_products_and_norms_are_unbiased(name):
    """The mean over seeds of <t_i, t_j> is <g_i, g_j> within 4.5 standard errors, whatever the layer's shape."""
    generator, seeds = torch.Generator().manual_seed(7), 150 if name == "folded vector" else 600
    base = {key: torch.randn(1, *size, generator=generator) for key, size in LAYERS[name].items()}
    grads = {key: torch.cat([g, g + torch.randn(g.shape, generator=generator), -g]) for key, g in base.items()}
    flat = torch.cat([g.reshape(3, -1) for g in grads.values()], dim=1)
    draws = torch.stack(
        [tokens @ tokens.T for seed in range(seeds) if (tokens := sketch(seed, **LAYERS[name])(grads)) is not None]
    )
    error = (draws.mean(0) - flat @ flat.T).abs()
    allowed = 4.5 * draws.std(0) / math.sqrt(seeds) + 1e-4 * flat.square().sum(1).max()
    assert bool((error <= allowed).all()), (error, allowed)
    assert float(draws[:, 0, 0].std() / flat[0].square().sum()) < 1  # and the check is not empty


def test_a_layers_projection_is_its_own():
    one, same = sketch(0, "a", weight=(9, 9)), sketch(0, "a", weight=(9, 9))
    assert torch.equal(one.matrix().left, same.matrix().left)
    for other in (sketch(1, "a", weight=(9, 9)), sketch(0, "b", weight=(9, 9))):
        assert not torch.allclose(one.matrix().left, other.matrix().left)
    assert not torch.allclose(one.matrix().left, one.matrix().right)


def test_projections_do_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sketch(0, weight=(9, 9), gain=(5,))
    assert torch.equal(torch.rand(3), expected)


def test_long_vectors_are_folded():
    block = sketch(0, weight=(WIDEST_VECTOR + 3,)).blocks[0]
    assert isinstance(block, FoldedBlock)
    assert block.left.numel() + block.right.numel() < 10 * math.isqrt(WIDEST_VECTOR)


@pytest.mark.parametrize("dim", [0, 15, 200])
def test_dim_must_be_a_square(dim):
    with pytest.raises(ValueError, match="perfect square"):
        sketch(0, dim=dim, weight=(3, 3))


def test_token_norm_does_not_depend_on_the_shape():
    """Mean of |token|^2 / |gradient|^2 over seeds is 1 for layers from 30 to 12,000 parameters, read by rules."""
    torch.manual_seed(0)
    for layer, shape in (
        (nn.Linear(5, 5), (5,)),
        (nn.Linear(120, 100), (120,)),
        (nn.Conv2d(3, 16, 3), (3, 6, 6)),
        (nn.Conv2d(32, 8, 5, stride=2), (32, 9, 9)),
    ):
        model, inputs = nn.Sequential(layer, Readout()), torch.randn(4, *shape)
        ratios = []
        for seed in range(60):
            reader = TokenReader(model, cross_entropy, dim=64, seed=seed)
            reader.prepare(inputs, torch.tensor([0, 1, 2, 0]))
            tokens = reader.read(inputs, torch.tensor([0, 1, 2, 0]))
            ratios.append((tokens.values[0].square().sum(1) / tokens.norm_sq[0]).mean())
        ratio = torch.stack(ratios)
        assert abs(float(ratio.mean()) - 1) < 4.5 * float(ratio.std()) / math.sqrt(60) + 1e-4


def test_a_separable_projection_is_unbiased_and_dense_as_its_factors_say():
    shapes = {"weight": torch.Size((12, 9, 3, 3)), "bias": torch.Size((12,))}
    generator = torch.Generator().manual_seed(0)
    grads = {name: torch.randn(2, *shape, generator=generator) for name, shape in shapes.items()}
    flat = torch.cat([g.flatten(1) for g in grads.values()], dim=1)
    sketches = [LayerSketch("layer", shapes, 16, seed, separable=True) for seed in range(1500)]
    tokens = torch.stack([one(grads) for one in sketches])
    found = tokens @ tokens.mT / (flat.norm(dim=1)[:, None] * flat.norm(dim=1))
    truth = flat @ flat.T / (flat.norm(dim=1)[:, None] * flat.norm(dim=1))
    assert bool(((found.mean(0) - truth).abs() < 4.5 * found.std(0) / len(sketches) ** 0.5).all())
    block = sketches[0].matrix()
    channels, positions = block.factors
    torch.testing.assert_close(block.right.view(4, 9, 9), channels[:, :, None] * positions[:, None, :])
    assert LayerSketch("layer", shapes, 16, 0).matrix().factors is None
