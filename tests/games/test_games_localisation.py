"""The localisation game: planted layers are found, its numbers are those of the formulas, and silence has a reason."""

from __future__ import annotations

import csv
import math

import pytest
import torch
import yaml
from scipy import integrate, stats
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.games.localisation.measure import METRICS, distances, sensitivities
from ptaudit.gradients.sensitivity import Norms
from ptaudit.spec.registry import GAMES
from ptaudit.stats.subspace import LEAST_RECORDS
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find


def norms(squares, rows, columns=4, doubts=None):
    return Norms(squares, rows, columns, False, doubts or ("",) * len(rows))


def test_metrics_and_adversaries_are_those_of_the_catalog():
    assert tuple(METRICS) == GAMES["localisation"].metrics
    assert tuple(dict.fromkeys(METRICS.values())) == GAMES["localisation"].players


def test_sensitivity_is_the_root_mean_square_of_the_entries():
    squares = torch.rand(2, 300, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    joint, one, two = sensitivities(norms(squares, (10, 30)), 0)
    assert one.value == pytest.approx(math.sqrt(float(squares[0].mean()) / 40))
    assert two.value == pytest.approx(math.sqrt(float(squares[1].mean()) / 120))
    # Jointly: the norms of both layers, over the entries of both.
    assert joint.value == pytest.approx(math.sqrt(float(squares.mean((1, 2)).sum()) / 160))
    for estimate in (joint, one, two):
        assert estimate.lo < estimate.value < estimate.hi
        assert (estimate.null, estimate.n, len(estimate.draws)) == (0.0, 300, 1000)


def test_intervals_of_sensitivity_cover_over_probes_and_records():
    hits = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        # Records of very different norm (mean e^0.5), each by two probes of its own with one degree of freedom.
        true = torch.randn(200, generator=generator, dtype=torch.float64).exp()
        probes = torch.randn(1, 200, 2, generator=generator, dtype=torch.float64).square() * true[:, None]
        found = sensitivities(norms(probes, (1,), 1), seed)[1]
        hits += found.lo <= math.exp(0.25) <= found.hi
    assert hits >= 89


def test_a_doubtful_layer_is_inconclusive_and_so_is_the_whole():
    joint, one, two = sensitivities(norms(torch.ones(2, 9, 2).double(), (3, 3), doubts=("", "hidden")), 0)
    assert one.conclusive
    assert joint.status == two.status == "inconclusive: hidden"
    assert math.isnan(joint.value)


def gaussian(shift, n=800, share=0.5, k=4, seed=0):
    """A quiet layer and one whose first coordinate is shifted in one group; jointly as they are."""
    generator = torch.Generator().manual_seed(seed)
    secret = (torch.rand(n, generator=generator) < share).long()
    tokens = torch.randn(2, n, k, generator=generator, dtype=torch.float64)
    tokens[1, :, 0] += shift * secret
    return torch.cat([tokens.sum(0)[None], tokens]), secret


def js_of(shift):
    def density(x):
        one, two = stats.norm.pdf(x), stats.norm.pdf(x - shift)
        mid = (one + two) / 2
        return (one * math.log2(one / mid) + two * math.log2(two / mid)) / 2

    return math.sqrt(integrate.quad(density, -8, 8 + shift)[0])


@pytest.mark.parametrize(("shift", "share"), [(1.0, 0.5), (2.0, 0.15)])
def test_js_distance_of_shifted_groups_is_that_of_the_integral_or_a_little_less(shift, share):
    joint, quiet, loud = distances(*gaussian(shift, 1200, share), ("a", "b"), 0)["js_distance"]
    assert loud.value == pytest.approx(js_of(shift), abs=0.08)
    assert loud.lo <= js_of(shift)
    assert loud.null < 0.1
    assert quiet.lo == 0.0
    assert quiet.value < 0.1
    # Who sees all layers may look at the loud one alone; the sum of both would show less.
    assert joint.value == pytest.approx(loud.value, abs=0.05)


def test_js_distance_is_one_for_groups_that_share_nothing():
    assert distances(*gaussian(30.0), ("a", "b"), 0)["js_distance"][2].value > 0.99


def test_js_distance_sees_groups_that_differ_in_scatter_alone():
    tokens, secret = gaussian(0.0, 600)
    tokens[2] *= 1.0 + 3.0 * secret[:, None]
    _, quiet, loud = distances(tokens, secret, ("a", "b"), 0)["js_distance"]
    assert loud.lo > 0.4 > quiet.value


def test_equal_groups_raise_no_alarm():
    """Of 24 distances that are 0, the interval of nearly all holds 0; about half of the subspaces' are above null."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(24, 240, 6, generator=generator, dtype=torch.float64) * torch.tensor([5.0, 4, 1, 1, 1, 1])
    found = distances(tokens, torch.randint(2, (240,), generator=generator), ("a", "b"), 0)
    assert sum(estimate.lo > 0 for estimate in found["js_distance"]) <= 2
    within = [estimate.lo <= estimate.null <= estimate.hi for estimate in found["subspace_distance"]]
    assert sum(within) >= 19
    assert 5 <= sum(estimate.value > estimate.null for estimate in found["subspace_distance"]) <= 19


def test_small_groups_are_left_out_and_named():
    tokens, secret = gaussian(1.0, 300)
    secret[: LEAST_RECORDS - 1] = 2
    found = distances(tokens, secret, ("a", "b", "c"), 0)
    for estimate in (found["js_distance"][2], found["subspace_distance"][2]):
        assert estimate.conclusive
        assert estimate.n == 300 - LEAST_RECORDS + 1
        assert estimate.status == f"partial: without `c` ({LEAST_RECORDS - 1}): fewer than {LEAST_RECORDS} records"
    lost = distances(tokens, torch.zeros(300, dtype=torch.long), ("a", "b"), 0)
    assert lost["js_distance"][0].status == "inconclusive: needs two groups of 40 records, has `a` 300, `b` 0"


def test_a_layer_that_is_not_finite_spoils_itself_and_the_joint_row_only():
    tokens, secret = gaussian(2.0, 300)
    tokens[1, 3] = math.nan
    tokens[0, 3] = math.nan
    for estimates in distances(tokens, secret, ("a", "b"), 0).values():
        assert [estimate.conclusive for estimate in estimates] == [False, False, True]


TABLE = """\
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.front, self.side = nn.Linear(features, 8), nn.Linear(features - 3, 8)
        self.head, self.spare = nn.Linear(16, 2), nn.Linear(3, 3)

    def forward(self, x):
        # The last three inputs are the coded attribute: `side` never sees it, but its gradient passes the head.
        return self.head(torch.cat([self.front(x).tanh(), self.side(x[:, :-3]).tanh()], 1))

def net(features):
    return Net(features)

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))

def records():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(240, 4, generator=generator)
    return x, x.sum(1), {"half": (x[:, 0] > 0).long().numpy()}
"""


def run_of(folder, **changes):
    (folder / "net.py").write_text(TABLE, encoding="utf-8")
    spec = {
        "version": 1,
        "name": "places",
        "train": {"epochs": 1, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}, "loss": "cross_entropy"},
        "audit": {"epochs": [1], "views": [{"name": "record", "batch_size": 1}], "games": changes.pop("games")},
    }
    spec["train"]["loss"] = changes.pop("loss", "cross_entropy")
    (folder / "spec.yaml").write_text(yaml.safe_dump({**spec, **changes}), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(folder / "spec.yaml"), "--out", str(folder / "run"), "-q"])
    assert result.exit_code == 0, result.output
    return read_run(folder / "run").rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    generator = torch.Generator().manual_seed(0)
    table = [["a", "b", "kind", "label"]]
    for _ in range(400):
        a, b = torch.randn(2, generator=generator).tolist()
        kind = int(torch.randint(2, (1,), generator=generator))
        table.append([f"{a:.4f}", f"{b:.4f}", "xy"[kind], int(a + kind > 0.5)])
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    return run_of(
        folder,
        model={"entry": "net.py:net", "args": {"features": 5}},
        data={"source": "csv:table.csv", "label": "label", "attributes": ["kind"]},
        games=[
            {"name": "localisation", "records": 60},
            {"name": "localisation", "id": "by-label", "secret": "label", "records": 60},
        ],
    )


def test_a_run_has_every_metric_for_every_layer_and_all_jointly(rows):
    for title in ("localisation", "by-label"):
        for metric, adversary in METRICS.items():
            there = find(rows, game=title, metric=metric, view="model", adversary=adversary)
            assert [row.layer for row in there] == ["*", "front", "side", "head", "spare"]
            assert there[-1].status == "not captured: unused: receives no gradient"
        assert len(find(rows, game=title)) == 20


def test_sensitivity_by_the_attribute_and_by_the_label(rows):
    for title in ("localisation", "by-label"):
        for layer in ("*", "front", "side", "head"):
            (row,) = find(rows, game=title, metric="sensitivity", layer=layer)
            assert row.measured
            assert 0 < row.lo <= row.value <= row.hi
            assert row.n == 60
    of_label = {row.layer: row.value for row in find(rows, game="by-label", metric="sensitivity") if row.measured}
    assert max(of_label, key=of_label.get) == "head"


def test_what_is_no_input_has_no_derivative_and_groups_all_the_same(tmp_path):
    rows = run_of(
        tmp_path,
        model={"entry": "net.py:linear"},
        data={"source": "net.py:records", "attributes": ["half"]},
        loss="mse",
        games=["localisation"],
    )
    found = {row.metric: row for row in rows if row.layer == "1"}
    latent = found["sensitivity"].status
    assert latent == "inconclusive: `half` is no input with few values: there is nothing to differentiate by"
    assert found["js_distance"].lo > 0.2
    assert found["input_sensitivity"].measured


def test_a_layer_that_never_sees_the_attribute_is_the_least_sensitive(rows):
    of_kind = {row.layer: row.value for row in find(rows, game="localisation", metric="sensitivity") if row.measured}
    assert min(of_kind, key=of_kind.get) == "side"
