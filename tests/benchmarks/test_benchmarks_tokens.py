"""The direct attack and the rank correlations of the benchmark of tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import tokens

from ptaudit.views import View


def test_the_attack_names_records_that_stand_apart_and_guesses_where_all_are_alike():
    apart = torch.nn.functional.one_hot(torch.arange(512)).double()
    alike = torch.ones(512, 512, dtype=torch.float64)
    won = tokens.reidentified(torch.stack([apart, alike]), View("four", 4), seed=0).mean(1)
    assert won[0] == 1.0
    assert won[1] == pytest.approx(1 / tokens.K)


def test_the_attack_wins_less_in_larger_batches():
    values = torch.randn(1, 1024, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    few, many = (float(tokens.reidentified(values, View("m", m), seed=0).mean()) for m in (4, 64))
    assert few > 0.9
    assert 1.5 / tokens.K < many < 0.6 * few


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(tokens, "DRAWS", 100)


def cells(sign):
    rows = []
    for layer in range(6):
        for m in (4, 16):
            attack = layer + 1.0 / m
            values = dict.fromkeys(tokens.GAMES, sign * attack) | {"attack": attack}
            for measure, value in values.items():
                rows.append(
                    {"network": "n", "epoch": 0, "m": m, "layer": str(layer), "measure": measure, "value": value}
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_ranks_that_agree_and_that_are_the_other_way_round(sign):
    ranks = tokens.correlations(cells(sign))
    assert set(ranks.network) == {"n", "all", "all, m = 4", "all, m = 16"}
    assert ranks.rho.tolist() == pytest.approx([sign] * len(ranks))
    assert (ranks.lo <= ranks.rho + 1e-12).all()
    assert (ranks.rho <= ranks.hi + 1e-12).all()


def test_what_is_the_same_everywhere_has_no_rank():
    flat = cells(1.0)
    flat.loc[flat.measure == "identity", "value"] = 0.0
    ranks = tokens.correlations(flat).set_index(["network", "measure"])
    assert ranks.rho.isna()["all", "identity"]
    assert not ranks.rho.isna()["all", "usable-information"]
