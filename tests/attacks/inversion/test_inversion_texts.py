"""Texts from gradients: exact where the rank allows, said where it does not, nothing from those of others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from text_cases import LENGTH, VOCABULARY, Reader, counts, known_of, reader, seen_of, texts
from torch import nn

from ptaudit.attacks.inversion.messages import Budget, SharedGradients
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.attacks.inversion.text_layers import embedding_layer, position_layer, token_layers
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.views.view import Update


def rebuilt(name, seen, known, **budget):
    return ATTACKS[name].rebuild(seen, known, Budget(**budget), torch.Generator().manual_seed(0))


def said(found):
    """The rebuilt texts of each target, as a set of lists of tokens."""
    ids, real = found.records["ids"], found.records["mask"].bool()
    return [{tuple(one[which].tolist()) for one, which in zip(*both)} for both in zip(ids, real)]


def true(ids, real):
    return [{tuple(one[which].tolist()) for one, which in zip(*both)} for both in zip(ids, real)]


def test_tokens_of_one_text_are_counted_exactly():
    known, (ids, real, labels) = known_of(reader()), texts(6, 1, shortest=4)
    ids[:, :, 1] = ids[:, :, 0]  # one that occurs twice
    found = rebuilt("bag-of-words", seen_of(known, ids, real, labels), known)
    assert found.records is None
    assert torch.equal(found.tokens, counts(ids, real))
    assert found.tokens.max() >= 2


def test_without_positions_and_of_batches_the_tokens_in_use_are_told():
    for known, m in ((known_of(reader(positions=False)), 1), (known_of(reader()), 4)):
        ids, real, labels = texts(4, m)
        found = rebuilt("bag-of-words", seen_of(known, ids, real, labels), known)
        assert torch.equal(found.tokens, counts(ids, real).clamp_max(1))


def test_noise_hides_rows_and_makes_few_of_them_up():
    known, (ids, real, labels) = known_of(reader()), texts(20, 1)
    seen, generator = seen_of(known, ids, real, labels), torch.Generator().manual_seed(0)
    for noise, told in ((1e-4, True), (1e3, False)):
        noisy = {path: g + noise * torch.randn(g.shape, generator=generator) for path, g in seen.gradients.items()}
        for std in (noise, None):
            found = rebuilt("bag-of-words", replace(seen, gradients=noisy, noise_std=std), known).tokens
            hits = (found * counts(ids, real).clamp_max(1)).sum()
            assert (hits > 0.9 * counts(ids, real).clamp_max(1).sum()) == told
            assert (found.sum() - hits) <= 4 if std else (found.sum() - hits) <= 20


@pytest.mark.parametrize("masked", [True, False])
def test_one_text_is_rebuilt_exactly(masked):
    known, (ids, real, labels) = known_of(reader(), masked), texts(6, 1, shortest=1 if masked else LENGTH)
    found = rebuilt("dager", seen_of(known, ids, real, labels), known)
    if masked:
        assert said(found) == true(ids, real)
    else:
        assert torch.equal(found.records, ids)
    assert torch.equal(found.labels, labels)
    assert not found.unsolved.any()


@pytest.mark.parametrize(("causal", "m"), [(True, 3), (False, 3), (False, 4)])
def test_several_texts_are_taken_apart_exactly_where_the_rank_allows(causal, m):
    known, (ids, real, labels) = known_of(reader(causal=causal)), texts(3, m, shortest=3)
    ids[:, 1, 0] = ids[:, 0, 0]  # two that begin alike
    found = rebuilt("dager", seen_of(known, ids, real, labels), known)
    assert said(found) == true(ids, real)
    assert not found.unsolved.any()
    assert found.objective.tolist() == [0.0] * 3


def test_without_the_embedding_in_view_every_token_is_tried():
    known, (ids, real, labels) = known_of(reader()), texts(3, 2)
    seen = seen_of(known, ids, real, labels)
    rest = {path: g for path, g in seen.gradients.items() if not path.startswith(("tokens", "positions"))}
    assert said(rebuilt("dager", replace(seen, gradients=rest), known)) == true(ids, real)
    assert "no embedding" in ATTACKS["bag-of-words"].why_not(replace(seen, gradients=rest), known)


def test_more_tokens_than_directions_are_said_to_be_too_many():
    known, (ids, real, labels) = known_of(reader(width=8)), texts(2, 4, shortest=5)
    found = rebuilt("dager", seen_of(known, ids, real, labels), known)
    assert found.unsolved.all()
    assert "8 directions" in found.why_unsolved or "7 directions" in found.why_unsolved
    # In their place is what is guessed without a gradient.
    assert (found.records["ids"] == 0).all()
    assert found.records["mask"].all()


def test_the_gradient_of_another_text_tells_nothing_of_this_one():
    known, (ids, real, labels) = known_of(reader()), texts(6, 1)
    found = rebuilt("dager", seen_of(known, ids.roll(1, 0), real.roll(1, 0), labels), known)
    right = (found.records["ids"] == ids) & real & found.records["mask"]
    assert right.sum() <= 0.1 * real.sum()


def test_entries_that_are_mixed_up_prove_no_text():
    known, (ids, real, labels) = known_of(reader()), texts(4, 1)
    seen, generator = seen_of(known, ids, real, labels), torch.Generator().manual_seed(0)
    mixed = {path: _shuffled(g, generator) for path, g in seen.gradients.items()}
    assert rebuilt("dager", replace(seen, gradients=mixed), known).unsolved.all()


def _shuffled(grads, generator):
    order = torch.randperm(grads[0].numel(), generator=generator)
    return grads.flatten(1)[:, order].view(grads.shape)


def test_where_it_cannot_work_is_said():
    known, (ids, real, labels) = known_of(reader()), texts(2, 2)
    seen = seen_of(known, ids, real, labels)
    first = {path: g for path, g in seen.gradients.items() if "self_attn.in_proj" in path}
    for wrong, why in (
        (replace(seen, noise_std=0.1), "noise has every direction"),
        (replace(seen, gradients=first), "a second layer"),
        (replace(seen, gradients={"head.weight": seen.gradients["head.weight"]}), "single tokens"),
        (replace(seen, update=Update(3, 0.1)), "not from updates"),
        (SharedGradients({p: g.repeat(1, 2, *[1] * (g.dim() - 2)) for p, g in seen.gradients.items()}, 2), "rounds"),
    ):
        assert why in ATTACKS["dager"].why_not(wrong, known)
    assert ATTACKS["bag-of-words"].why_not(replace(seen, update=Update(3, 0.1)), known) == ""


@pytest.mark.parametrize("name", ["bag-of-words", "dager"])
def test_seconds_that_are_over_are_told(name):
    known, (ids, real, labels) = known_of(reader()), texts(2, 1)
    assert rebuilt(name, seen_of(known, ids, real, labels), known, seconds=1e-9).ran_out


def test_layers_are_found_by_what_they_are_given():
    class Separate(nn.Module):
        """Queries and keys are layers of their own, and positions come first."""

        def __init__(self):
            super().__init__()
            self.where, self.what = nn.Embedding(LENGTH, 8), nn.Embedding(VOCABULARY, 8)
            self.query, self.key, self.mix = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, ids, mask=None):
            x = (self.where(torch.arange(LENGTH)) + self.what(ids)).transpose(0, 1)
            scores = torch.einsum("pne,qne->npq", self.query(x), self.key(x)).softmax(2)
            return self.mix(torch.einsum("npq,qne->pne", scores, x)).mean(0)

    known = known_of(Separate())
    assert (embedding_layer(known), position_layer(known)) == ("what", "where")
    first, second = token_layers(known, [path for path, _ in known.model.named_parameters()])
    assert (first.weights, first.reads, first.records_first) == (("query.weight", "key.weight"), "own", False)
    assert (second.weights, second.reads) == (("mix.weight",), "all")
    with frozen_state(known := known_of(Reader(causal=True)).model, torch.device("cpu")):
        layers = token_layers(known_of(known), [path for path, _ in known.named_parameters()])
    assert [layer.reads for layer in layers] == ["own", "before", "before"]
