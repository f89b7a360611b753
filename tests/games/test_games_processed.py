"""What is made of a gradient without knowing the records tells no more than the gradient: signs, pruning, one layer."""

from dataclasses import dataclass

import pytest
import torch
from inference_truth import observed
from torch import nn

from ptaudit.games.attribute import latent as attribute
from ptaudit.games.property import measure as property
from ptaudit.gradients.matrices import BatchSums, Factors
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

N, CATEGORIES = 900, 5
ROWS, VIEW = [[0, 1, 2, 3], [0], [1]], View("v", 4)


@dataclass(frozen=True)
class Processed:
    """Whole gradients of a view after something that needs no record: its sketches are those of what is left."""

    inner: TokenObservation
    what: str
    random = False

    def read(self, members, generator):
        for piece in self.inner.read(members, generator):
            whole = torch.cat([matrix.flatten(1) for layer in piece for matrix in layer], 1)
            parts = torch.split(self.after(whole), [layer[0][0].numel() for layer in piece], 1)
            yield [[part.view_as(layer[0])] for part, layer in zip(parts, piece)]

    def after(self, whole):
        if self.what == "sign":
            return whole.sign()
        least = whole.abs().quantile(float(self.what), dim=1, keepdim=True)
        return torch.where(whole.abs() >= least, whole, 0.0)

    def observe(self, members, generator):
        layers = [
            torch.cat(same).flatten(1).double()
            for same in zip(*([x[0] for x in p] for p in self.read(members, generator)))
        ]
        rows = [layer @ mixing(layer.shape[1]) for layer in layers]
        return torch.stack([*rows, sum(rows), sum(rows)])


def mixing(width):
    return torch.randn(width, 12, generator=torch.Generator().manual_seed(width), dtype=torch.float64) / 12**0.5


@pytest.fixture(scope="module")
def network():
    """Categories of records, and the gradients of both layers of a small ReLU network on them."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(CATEGORIES, (N,), generator=generator)
    inputs = torch.cat([torch.eye(CATEGORIES)[kind], torch.randn(N, 3, generator=generator)], 1)
    labels = (inputs[:, 5] + (kind == 0) > 0).long()
    torch.manual_seed(1)
    first, last = nn.Linear(8, 12), nn.Linear(12, 2)
    hidden = first(inputs)
    outer = (torch.softmax(last(hidden.relu()), 1) - torch.eye(2)[labels]).detach()
    inner = (outer @ last.weight * (hidden > 0)).detach()
    one = torch.ones(N, 1)
    layers = [(inner, torch.cat([inputs, one], 1)), (outer, torch.cat([hidden.relu().detach(), one], 1))]
    kept = [Factors(left[:, None].contiguous(), right[:, None].contiguous()) for left, right in layers]
    flat = [torch.einsum("ni,nj->nij", *pair).flatten(1).double() for pair in layers]
    rows = [part @ mixing(part.shape[1]) for part in flat]
    return kind, TokenObservation(torch.stack([*rows, sum(rows), sum(rows)]), 0.0, BatchSums([[one] for one in kept]))


def played(game, kind, seen):
    secret = kind == 0 if game is property else (kind > 1).long()
    return game.measure(secret, observed(VIEW, seen, ROWS, batches=2048), ["combined"])["combined"]["bits"]


@pytest.mark.parametrize("game", [property, attribute])
@pytest.mark.parametrize("what", ["sign", pytest.param("0.9", marks=pytest.mark.slow), "0.99"])
def test_a_processed_view_tells_no_more_than_its_source(network, game, what):
    kind, seen = network
    source, less = played(game, kind, seen), played(game, kind, Processed(seen, what))
    for all_of_it, some in zip(source, less):
        apart = (some.draws - all_of_it.draws).std()  # both resample the same records
        assert some.value - all_of_it.value <= 1.645 * apart + 0.005


@pytest.mark.parametrize("game", [property, attribute])
def test_one_layer_tells_no_more_than_all(network, game):
    kind, seen = network
    every, *layers = played(game, kind, seen)
    for one in layers:
        assert one.value - every.value <= 1.645 * (one.draws - every.draws).std() + 0.005


def test_one_round_tells_no_more_than_several(network):
    kind, seen = network
    one, three = (
        attribute.measure((kind > 1).long(), observed(View("v", 4, rounds), seen, ROWS, batches=2048), ["combined"])
        for rounds in (1, 3)
    )
    few, many = (found["combined"]["bits"][0] for found in (one, three))
    assert few.value - many.value <= 1.645 * (few.draws.std() ** 2 + many.draws.std() ** 2) ** 0.5
    assert many.value > 1.2 * few.value
