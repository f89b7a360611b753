"""Sums of kept gradients against plain autograd on batches, for every form and every awkward model of the tokens."""

import awkward_models
import pytest
import token_models
import torch
from gradient_reference import assert_sums_truly, cross_entropy, drawn, kept_of
from test_gradients_awkward import MODELS as AWKWARD
from test_gradients_models import STRUCTURES
from torch import nn

from ptaudit.gradients import Dense, Factors, UsedRows
from ptaudit.gradients.layers import find_layers
from ptaudit.model_input import mapped

N = 6


def check(model, inputs, targets, forms=None, m=3, chunk=256):
    """Compare everything, in chunks too; every layer that is captured must be there in the expected form."""
    n = len(targets)
    kept, tokens, _ = kept_of(model, inputs, targets, chunk=chunk)
    missing = [name for name, parts in kept.items() if not parts]
    assert not missing, missing
    members = drawn(4, min(m, n), n)
    compared = assert_sums_truly(model, inputs, targets, kept, members)
    assert compared == [info.name for info in tokens.layers]
    for name, form in (forms or {}).items():
        assert [type(one) for one in kept[name]] == [form], name
    for row, info in enumerate(tokens.layers):
        if all(one.whole for one in kept[info.name]):
            norm_sq = torch.stack([one.norms().square() for one in kept[info.name]]).sum(0)
            torch.testing.assert_close(norm_sq, tokens.norm_sq[row], rtol=1e-4, atol=1e-9)
    return kept


def classes(n, k=3):
    return torch.arange(n) % k


FORMS = {
    "linear": (nn.Sequential(nn.Linear(70, 80), nn.Tanh(), nn.Linear(80, 3)), (70,), {"0": Factors, "2": Factors}),
    "linear, no bias": (nn.Sequential(nn.Linear(70, 80, bias=False), token_models.Readout()), (70,), {"0": Factors}),
    "a wide layer with a few positions": (
        nn.Sequential(nn.Linear(70, 80), token_models.Readout()), (5, 70), {"0": Factors},
    ),
    "a narrow layer with many positions": (
        nn.Sequential(nn.Linear(6, 5), token_models.Readout()), (9, 6), {"0": Dense},
    ),
    "conv 1d": (nn.Sequential(nn.Conv1d(4, 6, 3, stride=2, padding=1), token_models.Readout()), (4, 11), {"0": Dense}),
    "conv 2d, groups and stride": (
        nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, groups=2), token_models.Readout()), (4, 7, 7), {"0": Dense},
    ),
    "conv 2d, no bias, dilation": (
        nn.Sequential(nn.Conv2d(2, 5, 3, dilation=2, bias=False), token_models.Readout()), (2, 7, 7), {"0": Dense},
    ),
    "conv 2d, few positions": (
        nn.Sequential(nn.Conv2d(8, 6, 3), token_models.Readout()), (8, 4, 4), {"0": Dense},
    ),
    "depthwise": (
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), token_models.Readout()), (4, 5, 5), {"0": Dense},
    ),
    "GroupNorm": (nn.Sequential(nn.GroupNorm(2, 4), token_models.Readout()), (4, 5, 5), {"0": Dense}),
    "LayerNorm": (nn.Sequential(nn.LayerNorm(6), token_models.Readout()), (3, 6), {"0": Dense}),
    "LayerNorm of many": (nn.Sequential(nn.LayerNorm([3, 6]), token_models.Readout()), (3, 6), {}),
    "bias alone": (nn.Sequential(nn.Linear(6, 5), token_models.Readout()), (6,), {"0": Dense}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms(name):
    model, shape, forms = FORMS[name]
    torch.manual_seed(0)
    if name == "bias alone":
        model[0].weight.requires_grad_(False)
    check(model, torch.randn(N, *shape), classes(N), forms)


@pytest.mark.parametrize(("channels", "out"), [(4, 6), (4, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(channels, out, groups):
    """Its bias has as many entries as its weight has rows only where channels in and out are as many."""
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1, groups=groups)
    check(nn.Sequential(up, token_models.Readout()), torch.randn(N, channels, 4, 4), classes(N))


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_of_the_tokens(name):
    make, shape, captures = STRUCTURES[name]
    torch.manual_seed(0)
    model = make().train()
    if name == "zero-initialised branch":
        nn.init.normal_(model.norm.weight)
    kept = check(model, torch.randn(N, *shape), classes(N))
    assert list(kept) == [layer for layer, how in captures.items() if how != "none"]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_models_of_the_tokens(name):
    make, inputs, _ = AWKWARD[name]
    torch.manual_seed(2)
    model = make().train()
    check(model, inputs, classes(N, 7 if isinstance(model, awkward_models.LanguageModel) else 3))


def test_padded_sequences():
    """Positions behind the mask get no gradient in attention; the linear layers get theirs."""
    torch.manual_seed(0)
    padding = torch.arange(5) >= torch.tensor([5, 3, 4, 2, 5, 3])[:, None]
    kept = check(awkward_models.Sequences(), (torch.randn(N, 5, 8), padding), classes(N))
    assert {"encoder.layers.0.self_attn", "encoder.layers.0.self_attn.out_proj"} <= kept.keys()


def test_attention_with_other_widths_of_keys_and_values():
    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, kdim=6, vdim=5, add_bias_kv=True, batch_first=True)
            self.out = token_models.Readout()

        def forward(self, q, k, v):
            return self.out(self.attend(q, k, v, need_weights=False)[0])

    torch.manual_seed(0)
    inputs = torch.randn(N, 3, 8), torch.randn(N, 4, 6), torch.randn(N, 4, 5)
    check(Cross(), inputs, classes(N))


# Embeddings


class Words(nn.Module):
    def __init__(self, entries, width=8, padding_idx=None):
        super().__init__()
        self.embed, self.out = nn.Embedding(entries, width, padding_idx=padding_idx), token_models.Readout()

    def forward(self, ids):
        return self.out(torch.tanh(self.embed(ids)))


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize(("entries", "form"), [(30, Dense), (600, UsedRows)])
def test_embeddings(entries, form, padding_idx):
    """Small tables are kept whole, of large ones the rows in use; entries repeat within records and batches."""
    torch.manual_seed(0)
    ids = torch.tensor([[0, 1, 2, 2], [3, 3, 3, 5], [2, 2, 2, 2], [7, 0, 9, 2], [29, 1, 1, 29], [4, 5, 6, 7]])
    kept = check(Words(entries, padding_idx=padding_idx), ids, classes(N), {"embed": form})
    assert kept["embed"][0].whole
    row = kept["embed"][0].sums(torch.tensor([[2]]))[0, 2]
    assert bool(row.any()) == (padding_idx is None)


def test_a_large_table_used_twice():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(600, 8), token_models.Readout()

        def forward(self, ids):
            return self.out(torch.cat([self.embed(ids), self.embed(ids.flip(1)[:, :2]).sin()], 1))

    torch.manual_seed(0)
    check(Pair(), torch.randint(0, 600, (N, 5)), classes(N), {"embed": UsedRows})


def test_a_large_table_that_is_the_output_head_too():
    """Looked up and multiplied: rows in use are not all of its gradient."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(600, 8), nn.Linear(8, 8), nn.Linear(8, 600)
            self.head.weight = self.embed.weight

        def forward(self, ids):
            return self.head(torch.tanh(self.mix(self.embed(ids).mean(1))))

    torch.manual_seed(0)
    model = Tied()
    ids, targets = torch.randint(0, 600, (N, 4)), torch.randint(0, 600, (N,))
    kept, _, _ = kept_of(model, ids, targets)
    assert not isinstance(kept["embed"][0], UsedRows)
    exact = {name: parts for name, parts in kept.items() if all(one.whole for one in parts)}
    assert assert_sums_truly(model, ids, targets, exact, drawn(4, 3, N)) == ["mix", "head"]


# Which records reach a layer


def test_layers_that_some_records_reach():
    """Experts: the others of a chunk have a gradient of 0 there, and so has a whole chunk that none of them reaches."""
    torch.manual_seed(0)
    model = awkward_models.Experts()
    inputs = torch.cat([4 * torch.eye(3).repeat_interleave(8, 0), 0.1 * torch.randn(24, 3)], 1)
    kept = check(model, inputs, classes(24), m=5, chunk=8)
    for expert in range(3):
        used = torch.stack([one.norms() for one in kept[f"experts.{expert}"]]).amax(0) > 0
        assert used.view(3, 8).all(1).tolist() == [expert == k for k in range(3)]
        assert int(used.sum()) == 8


class Rare(nn.Module):
    """A layer by rule that only chunks with a large record reach."""

    def __init__(self):
        super().__init__()
        self.body, self.rare = nn.Linear(70, 70), nn.Linear(70, 70)
        self.out = token_models.Readout()

    def forward(self, x):
        h = self.body(x)
        return self.out(h + self.rare(h) if bool((x > 50).any()) else h)


@pytest.mark.parametrize("first", [True, False])
def test_a_layer_that_one_chunk_does_not_reach(first):
    """Its gradient is 0 there: the place of the chunk is filled, also if it comes first."""
    torch.manual_seed(0)
    model = Rare()
    x = torch.randn(8, 70)
    x[:, 0] = 99.0
    kept, _, reader = kept_of(model, x, classes(8))
    assert isinstance(kept["rare"][0], Factors)
    x[slice(0, 4) if first else slice(4, 8), 0] = 0.0
    found = reader.gradients(x, classes(8), chunk=4)
    norms = found[1][0].norms()
    assert (norms[:4] == 0).all() == first
    assert (norms[4:] == 0).all() != first
    assert all(len(layer[0].norms()) == 8 for layer in found)


def test_unused_layers_are_not_there():
    torch.manual_seed(0)
    kept = check(token_models.Heads(), torch.randn(N, 6), classes(N))
    assert list(kept) == ["body", "head"]


def test_batch_norm_in_eval_mode():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2.0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), token_models.Readout()).train()
    check(model, torch.randn(N, 2, 5, 5), classes(N), {"1": Dense})


# Chunks


@pytest.mark.parametrize("chunk", [1, 4, 7])
@pytest.mark.parametrize("name", ["words", "wide", "conv", "lstm"])
def test_chunks_are_one_chunk(name, chunk):
    torch.manual_seed(0)
    model, inputs = {
        "words": lambda: (Words(600), torch.randint(0, 600, (10, 4))),
        "wide": lambda: (nn.Sequential(nn.Linear(70, 80), token_models.Readout()), torch.randn(10, 3, 70)),
        "conv": lambda: (nn.Sequential(nn.Conv2d(2, 3, 3), token_models.Readout()), torch.randn(10, 2, 5, 5)),
        "lstm": lambda: (token_models.Recurrent(), torch.randn(10, 4, 5)),
    }[name]()
    whole, _, reader = kept_of(model, inputs, classes(10))
    members = drawn(5, 4, 10)
    for one, two in zip(whole.values(), reader.gradients(inputs, classes(10), chunk)):
        for a, b in zip(one, two):
            assert type(a) is type(b)
            torch.testing.assert_close(a.sums(members), b.sums(members), rtol=1e-4, atol=1e-6)


def test_records_of_half_precision_are_kept_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(70, 80), nn.Tanh(), nn.Linear(80, 3)).bfloat16()
    kept, _, _ = kept_of(model, torch.randn(N, 70).bfloat16(), classes(N))
    for layer in find_layers(model):
        assert kept[layer.name][0].sums(torch.tensor([[0, 1]])).dtype == torch.float32


def test_inputs_that_are_mappings():
    torch.manual_seed(0)
    make, inputs, _ = AWKWARD["ids and mask by name, an object back"]
    model = make()
    kept, _, reader = kept_of(model, inputs, classes(N))
    some = torch.tensor([4, 1])
    few = reader.gradients(mapped(lambda leaf: leaf[some], inputs), classes(N)[some])
    for one, two in zip(kept.values(), few):
        for a, b in zip(one, two):
            torch.testing.assert_close(a.sums(some[None]), b.sums(torch.tensor([[0, 1]])), rtol=1e-4, atol=1e-7)


def test_a_reader_for_some_layers_keeps_those():
    from ptaudit.sketches.reader import TokenReader

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(N, 6)
    reader = TokenReader(model, cross_entropy, dim=16, layers=["2"])
    reader.prepare(x, classes(N))
    reader.read(x, classes(N))
    found = reader.gradients(x, classes(N))
    assert len(found) == 1
    assert found[0][0].shape == (3, 6)


def test_a_layer_whose_rule_fails_later_is_not_kept_as_nothing():
    """Its gradient is not known there, and must not be taken for 0."""
    torch.manual_seed(0)
    model = awkward_models.Experts()
    inputs = torch.cat([4 * torch.eye(3)[[0] * 8], 0.1 * torch.randn(8, 3)], 1)
    kept, _, reader = kept_of(model, inputs, classes(8))
    assert kept["experts.0"]
    inputs[5, :3] = inputs[5, [1, 0, 2]]
    found = reader.gradients(inputs, classes(8), chunk=4)
    assert [bool(layer) for layer in found] == [name != "experts.0" for name in kept]
