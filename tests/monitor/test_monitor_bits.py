"""What a monitor finds: planted leaks, agreement with the whole game, noise, and what it cannot know."""

from __future__ import annotations

import time

import pytest
import torch
from loops import ALWAYS, data, net, plain, sgd
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import ptaudit
from ptaudit import Monitor


def watched(model, loader, loop=plain, **options):
    with Monitor(model, loader, options.pop("budget", ALWAYS), **options) as monitor:
        loop(model, loader)
    return monitor


@pytest.mark.parametrize(("giants", "least"), [(0, 0.6), (40, 0.3)])
def test_the_bits_agree_with_the_whole_game_on_the_same_tokens(giants, least):
    """The light adversary finds a little less; much less where a few records have gradients far larger than others."""
    loader = data(512)
    loader.dataset.tensors[0][:giants] *= 30
    monitor = watched(net(drop=None), loader, lambda model, loader: plain(model, loader, 3))
    tokens = monitor._live.window.read()
    monitor._live._play(1)
    for place, layer in enumerate(("0", "2")):
        mine = monitor.leakage[layer]
        whole = ptaudit.estimate.identity_bits(tokens[place], batch_size=8, candidates=64)
        assert mine.ceiling == whole.ceiling == 6.0
        assert whole.lo > 0.3
        assert mine.lo < whole.hi
        assert giants or whole.lo < mine.hi
        assert mine.value > least * whole.value


@pytest.mark.parametrize(("noise", "limited"), [(0.0, True), (0.3, False)])
def test_bits_of_sketches_say_so_where_no_noise_hides_the_rest(noise, limited):
    """What whole gradients would show is not in them; `saturated` ones are nearly all there is."""
    monitor = watched(net(drop=None), data(320), noise=noise)
    found = {bits.status for bits in monitor.leakage.values() if bits.value < 0.9 * bits.ceiling}
    assert found - {"saturated"} == ({"sketch-limited"} if limited else {"ok"})
    assert set(monitor.table.status) >= found


def test_a_layer_that_leaks_is_told_from_one_that_does_not():
    """Gradients of one record are like those of any other in a layer that all records feed with the same numbers."""

    class TrainingCanaries(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.leaky, self.quiet = nn.Linear(6, 16), nn.Linear(1, 3)

        def forward(self, x):
            ones = torch.ones(len(x), 1)
            return self.leaky(x).square().mean(1, keepdim=True) + 0.001 * self.quiet(ones)

    def loop(model, loader):
        for x, _ in [*loader, *loader]:
            model(x).sum(1).mean().backward()
            sgd(model, 0.0).step()

    leakage = watched(TrainingCanaries(), data(), loop).leakage
    assert leakage["leaky"].lo > 1.0
    assert leakage["quiet"].hi < 0.2
    assert leakage["*"].value > 0.8 * leakage["leaky"].value


def test_a_network_that_has_learned_its_records_gives_less_away_than_an_untrained_one():
    """Most records have no gradient any more; those that do are found, but the mean is over all."""
    x, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    loader = DataLoader(TensorDataset((x / 16).float()[:512], y[:512]), 64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def looking(model, loader):
        for inputs, targets in loader:
            F.cross_entropy(model(inputs), targets).backward()
            sgd(model, 0.0).step()

    before = watched(model, loader, looking).leakage["*"]
    plain(model, loader, 60)
    after = watched(model, loader, looking).leakage["*"]
    assert after.hi < before.lo


def test_noise_hides_and_the_bits_follow_it():
    found = {}
    for noise in (0.0, 0.01, 0.1, 10.0):
        found[noise] = watched(net(drop=None), data(), noise=noise).leakage["*"]
    values = [bits.value for bits in found.values()]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.0
    assert found[10.0].hi < 0.1


def test_noise_is_measured_in_units_of_the_gradient():
    """A loss that is summed has a gradient 32 times as large, so that the same noise hides 32 times less."""

    def summing(model, loader):
        for x, y in [*loader, *loader]:
            F.cross_entropy(model(x), y, reduction="sum").backward()
            sgd(model, 0.0).step()

    def averaging(model, loader):
        for x, y in [*loader, *loader]:
            F.cross_entropy(model(x), y).backward()
            sgd(model, 0.0).step()

    def bits(loop, **options):
        torch.manual_seed(0)
        return watched(net(drop=None), data(), loop, **options).leakage["*"].value

    mean, summed = bits(averaging, noise=0.01), bits(summing, noise=0.32, reduction="sum")
    assert mean == pytest.approx(summed, rel=1e-3)
    assert bits(averaging, noise=0.32) < 0.5 * mean


def test_the_table_has_every_round_with_its_noise():
    monitor = watched(net(), data(), lambda model, loader: plain(model, loader, 6), noise=0.001)
    table = monitor.table
    assert list(table.columns) == [
        *("step", "layer", "bits", "lo", "hi", "null", "ceiling", "n", "status", "overhead", "noise")
    ]
    assert table["step"].is_monotonic_increasing
    assert list(table["layer"][:6]) == ["*", "0", "3"] * 2
    assert (table["noise"] == 0.001).all()
    assert ((table["lo"] <= table["bits"]) & (table["bits"] <= table["hi"]) & (table["hi"] <= table["ceiling"])).all()
    last = table[table["step"] == table["step"].max()].set_index("layer")["bits"].to_dict()
    assert last == {layer: bits.value for layer, bits in monitor.leakage.items()}
    assert str(monitor).startswith("60 steps: bits: * ")
    assert "of 60 passes captured, overhead" in str(monitor)
    assert Monitor(net(), None).table.empty


def test_a_record_that_comes_again_is_one_record():
    """150 records in 400 rows: nothing in the loader says so, but their content does."""
    x, y = data(150).dataset.tensors
    loader = [(x[i], y[i]) for i in torch.randint(0, 150, (40, 32), generator=torch.Generator().manual_seed(0))]
    monitor = watched(net(), loader)
    assert set(monitor.leakage) == {"*", "0", "3"}
    for bits in monitor.leakage.values():
        assert bits.status == "inconclusive: needs 160 records for batches of 8, has 150 (256 advised)"


def test_too_few_records_are_known_before_anything_is_captured():
    monitor = watched(net(), data(100))
    assert monitor._live.captures == 0
    assert monitor.setup == 0.0
    assert set(monitor.table["status"]) == {"inconclusive: needs 160 records for batches of 8, the loader has 100"}
    assert len(monitor.table) == 3


def test_train_mode_batchnorm_is_inconclusive():
    found = []
    monitor = watched(
        net(drop=nn.BatchNorm1d(16)), data(), on_leakage=lambda step, layer, bits: found.append((layer, bits))
    )
    assert [layer for layer, _ in found] == ["*", "0", "2", "3"]
    assert not any(bits.conclusive for _, bits in found)
    assert monitor.leakage["*"].status.startswith("inconclusive: BatchNorm in training mode mixes")
    assert monitor.setup == 0.0


class SequenceFirst(nn.Module):
    """Turns its records into the second dimension: tokens by the first would add up and be wrong."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.place = nn.Embedding(6, 8)
        self.wide, self.head = nn.Linear(1, 8), nn.Linear(8, 3)

    def forward(self, x):
        steps = x.T.unsqueeze(-1)  # (time, records, 1)
        seen = self.wide(steps) + self.place(torch.arange(6))[:, None]
        return self.head(seen.relu().mean(0))


def test_layers_that_have_their_records_elsewhere_are_found_by_the_check():
    monitor = watched(SequenceFirst(), data(), layers=["wide", "place", "head"])
    assert monitor.setup > 0
    assert monitor.leakage["wide"].conclusive
    assert monitor.leakage["head"].conclusive
    assert monitor.leakage["place"].status.startswith("not captured: rule: ")
    infos = {info.name: info for info in monitor._live.reader.layers}
    assert infos["wide"].layout
    assert not infos["head"].layout


class ReturnsLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x, y):
        return F.cross_entropy(self.inner(x), y)


class ReturnsBoth(ReturnsLoss):
    def forward(self, x, y, scale=None):
        output = self.inner(x)
        return {"scores": output, "loss": F.cross_entropy(output, y)}


def test_a_model_must_show_its_predictions():
    def loop(model, loader):
        optimizer = sgd(model)
        for x, y in [*loader, *loader]:
            optimizer.zero_grad()
            found = model(x, y=y)
            (found["loss"] if isinstance(found, dict) else found).backward()
            optimizer.step()

    assert watched(ReturnsBoth(), data(), loop).leakage["inner.0"].conclusive
    monitor = watched(ReturnsLoss(), data(), loop)
    assert set(monitor.table["status"]) == {"inconclusive: the model's output has no row per record"}


def test_a_model_that_cannot_be_checked_trains_on():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            if len(x) != 32:
                raise KeyError("only whole batches")
            return self.inner(x)

    monitor = watched(Picky(), data())
    assert monitor.leakage["*"].status == "inconclusive: KeyError: 'only whole batches'"
    assert monitor._passes.steps == 20


def test_the_overhead_stays_within_its_budget():
    """On the clock of the monitor, and loosely on that of the test."""
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(6, 700), nn.ReLU(), nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 3))
    loader, seconds = data(2048, 128), {}
    plain(wide, loader, 1)
    for name in ("bare", "watched"):
        began = time.perf_counter()
        if name == "bare":
            plain(wide, loader, 12)
        else:
            monitor = watched(wide, loader, lambda model, loader: plain(model, loader, 12), budget=0.2)
        seconds[name] = time.perf_counter() - began
    assert 0.02 < monitor.overhead < 0.3  # the first game may go into debt
    assert monitor._live.captures > 1
    assert seconds["watched"] - monitor.setup < 1.8 * seconds["bare"]


def test_memory_is_flat_but_for_the_table():
    model, loader = net(), data()
    with Monitor(model, loader, ALWAYS) as monitor:
        plain(model, loader)
        values, games = monitor._live.window._values, len(monitor._history)
        plain(model, loader, 4)
        assert monitor._live.window._values is values
        assert len(monitor._live.window) == 256
        assert len(monitor._history) > games
        assert all(len(row) == 11 and not hasattr(row[2], "__len__") for row in monitor._history)
