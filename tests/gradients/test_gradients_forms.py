"""What kept gradients can do: norms, clipping, joining, projections, and what they cost."""

from dataclasses import fields

import pytest
import token_models
import torch
from gradient_reference import batch_gradient, drawn, kept_of
from torch import Tensor, nn

from ptaudit.gradients import Dense, Factors, UsedRows
from ptaudit.gradients.keep import FACTORS, PROJECTED, WHOLE, KeptSketch
from ptaudit.gradients.matrices import BatchSums, joined


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(form, n=7, seed=0):
    """Random gradients of one form and the explicit matrices that they stand for, `(n, rows, columns)`."""
    g = generator(seed)
    if form is Factors:
        left, right = torch.randn(n, 3, 5, generator=g), torch.randn(n, 3, 6, generator=g)
        return Factors(left, right), left.mT @ right
    if form is Dense:
        values = torch.randn(n, 5, 6, generator=g)
        return Dense(values), values
    index, grads = torch.randint(0, 9, (n, 4), generator=g), torch.randn(n, 4, 6, generator=g)
    index[0], index[1, :2] = 3, 5
    return UsedRows(index, grads, 9), torch.zeros(n, 9, 6).scatter_add_(1, index[..., None].expand(-1, -1, 6), grads)


FORMS = pytest.mark.parametrize("form", [Factors, Dense, UsedRows])


@FORMS
def test_sums_norms_and_scaling(form):
    one, explicit = made(form)
    members = drawn(6, 3, 7)
    torch.testing.assert_close(one.sums(members), explicit[members].sum(1))
    assert one.shape == tuple(explicit.shape[1:])
    assert one.whole
    torch.testing.assert_close(one.norms(), torch.linalg.matrix_norm(explicit))
    factor = torch.rand(7, dtype=torch.float64)
    scaled = one.scaled(factor)
    torch.testing.assert_close(scaled.sums(members), (explicit * factor.float()[:, None, None])[members].sum(1))
    torch.testing.assert_close(scaled.norms(), one.norms() * factor.float())


@FORMS
def test_a_record_that_is_there_twice_counts_twice(form):
    one, explicit = made(form)
    torch.testing.assert_close(one.sums(torch.tensor([[2, 2, 5]])), (2 * explicit[2] + explicit[5])[None])


def test_rows_of_an_embedding_are_those_of_the_record():
    """At the first position of an entry all of its gradient, at later ones nothing."""
    one, explicit = made(UsedRows)
    records = torch.tensor([0, 1, 6])
    index, rows = one.rows_of(records)
    assert torch.equal(index, one.index[records])
    for place, record in enumerate(records):
        seen = set()
        for entry, row in zip(index[place].tolist(), rows[place]):
            torch.testing.assert_close(row, torch.zeros(6) if entry in seen else explicit[record, entry])
            seen.add(entry)


@FORMS
def test_joined_sets_follow_each_other(form):
    (one, a), (two, b) = made(form), made(form, 4, seed=1)
    (both,) = joined([[one], [two]])
    assert isinstance(both, form)
    members = torch.tensor([[0, 7], [6, 10], [3, 4]])
    torch.testing.assert_close(both.sums(members), torch.cat([a, b])[members].sum(1))


def test_sets_in_different_forms_are_not_joined():
    factors, dense = made(Factors)[0], made(Dense)[0]
    assert joined([[factors], [dense]]) == []
    assert joined([[dense], [Dense(torch.zeros(3, 5, 7))]]) == []
    assert joined([[dense], []]) == []


# Batches


def test_batches_are_read_in_order_and_in_bounded_pieces():
    forms = [made(form) for form in (Factors, Dense, UsedRows)]
    sums = BatchSums([[one] for one, _ in forms], cells=1000)
    members = drawn(20, 3, 7)
    pieces = list(sums.read(members, generator()))
    assert len(pieces) > 4
    for layer, (_, explicit) in enumerate(forms):
        torch.testing.assert_close(torch.cat([piece[layer][0] for piece in pieces]), explicit[members].sum(1))


def test_noise_is_on_every_parameter_of_the_sum():
    """Of the given size, independent, also where no record has a gradient; and drawn anew for every batch."""
    zeros = [[Dense(torch.zeros(4, 30, 40))], [UsedRows(torch.zeros(4, 2).long(), torch.zeros(4, 2, 8), 50)]]
    members = torch.zeros(50, 2).long()
    pieces = list(BatchSums(zeros, noise_std=3.0).read(members, generator()))
    for layer in range(2):
        seen = torch.cat([piece[layer][0] for piece in pieces])
        assert float(seen.std()) == pytest.approx(3.0, rel=0.02)
        assert abs(float(seen.mean())) < 5 * 3.0 / seen.numel() ** 0.5
        assert not torch.equal(seen[0], seen[1])


def test_clipped_batches_are_sums_of_clipped_records():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(70, 80), nn.Tanh(), nn.Linear(80, 3))
    x, y = torch.randn(8, 70), torch.arange(8) % 3
    kept, tokens, _ = kept_of(model, x, y)
    norms = tokens.total_norm_sq.sqrt()
    clip = float(norms.median())
    factor = (clip / norms).clamp(max=1.0)
    members = drawn(3, 4, 8)
    (seen,) = BatchSums(list(kept.values())).clipped(factor).read(members, generator())
    for game, batch in enumerate(members):
        expected = 0
        for record in batch:
            grads = batch_gradient(model, x, y, record[None])
            whole = torch.cat([g.flatten() for g in grads.values()])
            expected = expected + grads["0.weight"] * min(1.0, clip / float(whole.norm()))
        torch.testing.assert_close(seen[0][0][game, :, :-1], expected, rtol=1e-4, atol=1e-7)
    assert float(factor.min()) < 1.0


def test_some_layers_of_batches():
    forms = [made(form)[0] for form in (Factors, Dense, UsedRows)]
    members = drawn(2, 2, 7)
    (some,) = BatchSums([[one] for one in forms]).only([2, 0]).read(members, generator())
    torch.testing.assert_close(some[0][0], forms[2].sums(members))
    torch.testing.assert_close(some[1][0], forms[0].sums(members))


# Projections


def wide_convolution():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU(), token_models.Readout())
    with torch.no_grad():
        model[0].bias[:20] = -1e3  # units that are silent in every record
    return model, torch.randn(8, 64, 5, 5), torch.arange(8) % 3


def test_a_projected_layer_keeps_rows_and_their_zeros():
    """Rows are not mixed: a silent unit leaves a row of exact zeros, and every row is the projection of its own."""
    model, x, y = wide_convolution()
    kept, _, _ = kept_of(model, x, y)
    (one,) = kept["0"]
    assert isinstance(one, Dense)
    assert not one.whole
    assert one.shape == (64, PROJECTED // 64)
    members = drawn(4, 5, 8)
    seen = one.sums(members)
    right = kept_block(model, 3).right
    corner = kept_block(model, 3).corner
    for game, batch in enumerate(members):
        grads = batch_gradient(model, x, y, batch)
        silent = (grads["0.weight"] == 0).flatten(1).all(1)
        assert int(silent.sum()) >= 20
        assert torch.equal((seen[game] == 0).all(1), silent)
        expected = grads["0.weight"].flatten(1) @ right.T + grads["0.bias"][:, None] * corner
        torch.testing.assert_close(seen[game], expected, rtol=1e-3, atol=1e-5)


def kept_block(model, seed):
    layer = model[0]
    (block,) = KeptSketch("0", {"weight": layer.weight.shape, "bias": layer.bias.shape}, seed).blocks
    return block


def test_norms_of_a_projected_layer_hold_in_expectation():
    """Over projections the mean squared norm is that of the gradient: 40 seeds, mean of 8 records."""
    model, x, y = wide_convolution()
    grads = [batch_gradient(model, x, y, torch.tensor([i])) for i in range(8)]
    whole = torch.stack([torch.cat([g["0.weight"].flatten(1), g["0.bias"][:, None]], 1) for g in grads])
    ratios = []
    for seed in range(40):
        block = kept_block(model, seed)
        ratios.append((whole @ torch.cat([block.right, block.corner[:, None]], 1).T).square().sum((1, 2)))
    ratio = torch.stack(ratios) / whole.square().sum((1, 2))
    error = float(ratio.mean(1).std()) / 40**0.5
    assert error < 0.05
    assert abs(float(ratio.mean()) - 1.0) < 3.5 * error


def test_a_layer_with_very_many_rows_is_projected_on_both_sides():
    shapes = {"weight": torch.Size([2000, 600]), "bias": torch.Size([2000])}
    (block,) = KeptSketch("wide", shapes, 0).blocks
    assert len(block.left) * len(block.right) <= PROJECTED
    assert len(block.left) > 1 < len(block.right)


# Memory


def numbers(parts):
    """Numbers kept of each record, counted in the tensors themselves."""
    tensors = [getattr(one, f.name) for one in parts for f in fields(one) if isinstance(getattr(one, f.name), Tensor)]
    return sum(tensor[0].numel() for tensor in tensors), {len(tensor) for tensor in tensors}


LAYERS = {
    "small": (nn.Linear(50, 60), (50,)),
    "wide": (nn.Linear(3000, 1000), (3000,)),
    "wide, positions": (nn.Linear(3000, 1000), (7, 3000)),
    "wide, many positions": (nn.Linear(300, 200), (260, 300)),
    "conv": (nn.Conv2d(64, 64, 3, padding=1), (64, 4, 4)),
    "wide conv": (nn.Conv2d(256, 512, 3, padding=1), (256, 2, 2)),
    "norm": (nn.LayerNorm(5000), (5000,)),
    "lstm": (token_models.Recurrent().lstm, (4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_kept_are_bounded_and_linear_in_records(name):
    """At most the factors, the 4,096 numbers of a small layer or 1,024 of a projected one, whatever the records."""
    layer, shape = LAYERS[name]
    torch.manual_seed(0)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = layer, token_models.Readout()

        def forward(self, x):
            found = self.layer(x)
            return self.out(found[0] if isinstance(found, tuple) else found)

    counts = []
    for n in (3, 6):
        kept, _, _ = kept_of(Whole(), torch.randn(n, *shape), torch.arange(n) % 3, chunk=2)
        count, lengths = numbers(kept["layer"])
        assert lengths == {n}
        assert isinstance(kept["layer"][0], Factors) or count <= max(WHOLE, PROJECTED)
        counts.append(count)
    assert counts[0] == counts[1] <= FACTORS
    assert counts[0] <= 2 * sum(p.numel() for p in layer.parameters())


def test_an_embedding_costs_what_its_records_use():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(50_000, 16), token_models.Readout()

        def forward(self, ids):
            return self.out(self.embed(ids))

    kept, _, _ = kept_of(Words(), torch.randint(0, 50_000, (4, 9)), torch.arange(4) % 3)
    assert numbers(kept["embed"])[0] == 9 * (16 + 1)
