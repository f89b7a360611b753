"""Claims are decided by intervals alone: frames where the answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import claims_verdicts as claims
from claims_specs import specs
from claims_verdicts import FAILS, HOLDS, UNDECIDED

from ptaudit.spec.load import load


def row(view="batch-m1", value=0.5, half=0.1, **more):
    """A row of a table; the interval is clipped at 0 as bits are."""
    ends = {"lo": max(value - half, 0.0), "hi": value + half}
    fixed = {"data": "d", "epoch": 3, "layer": "*", "layer_index": 0, "layer_type": "joint", "view": view}
    game = {"game": "sex", "adversary": "linear", "metric": "bits", "value": value, "null": 0.0, "ceiling": 1.0}
    game |= {"knowledge": "adaptive", "knows": "none", "trained_with": "none"}
    return {**fixed, **game, **ends, "status": "ok", **more}


def frame(*rows):
    return pd.DataFrame(list(rows))


def only(findings):
    [finding] = findings
    return finding.verdict


@pytest.mark.parametrize(
    ("value", "half", "verdict"), [(0.2, 0.1, HOLDS), (0.02, 0.1, UNDECIDED), (0.001, 0.002, FAILS)]
)
def test_aggregation_is_decided_in_the_largest_batch_that_was_played(value, half, verdict):
    lost = row("batch-m512", float("nan"), status="inconclusive: needs 10240 records")
    few = frame(row(), row("batch-m8", 0.3), row("batch-m64", value, half), lost)
    assert only(claims.aggregation(few)) == verdict


def test_what_is_below_its_null_is_not_found():
    assert only(claims.aggregation(frame(row(), row("batch-m8", 0.2, null=0.15)))) == UNDECIDED


def test_users_are_swept_too():
    found = claims.aggregation(frame(row("batch-u1"), row("batch-u32", 0.4)))
    assert only(found) == HOLDS
    assert "users 32" in found[0].figures
    assert claims.batches(frame(row("batch-u1"), row("batch-u32", 0.4))) == []


@pytest.mark.parametrize(("more", "verdict"), [(0.9, HOLDS), (0.1, FAILS), (0.55, UNDECIDED)])
def test_rounds(more, verdict):
    assert only(claims.rounds(frame(row("rounds-r1"), row("rounds-r8", more), row("rounds-r2", 0.0)))) == verdict


@pytest.mark.parametrize(("more", "verdict"), [(0.9, FAILS), (0.1, HOLDS), (0.55, UNDECIDED)])
def test_larger_batches(more, verdict):
    assert only(claims.batches(frame(row("batch-m1"), row("batch-m512", more), row("batch-m8", 0.5)))) == verdict


def defended(title, static, adaptive, half=0.05):
    both = ((adaptive, "adaptive"), (static, "static"))
    return tuple(row("batch", found, half, trained_with=title, knowledge=knowledge) for found, knowledge in both)


@pytest.mark.parametrize(
    ("static", "adaptive", "verdict"),
    [
        (0.05, 0.5, HOLDS),  # nothing for who does not know of it, all for who does
        (0.05, 0.05, FAILS),  # it is safe
        (0.5, 0.5, FAILS),  # it does not even look safe
        (0.25, 0.5, UNDECIDED),
        (-1.0, 0.25, UNDECIDED),
    ],
)
def test_pruning_and_sign_under_both_adversaries(static, adaptive, verdict):
    both = [*defended("prune-0.9", static, adaptive), *defended("dp-1", 0.0, 0.0)]
    assert only(claims.look_safe(frame(row("batch", 0.5, 0.02), *both))) == verdict


def test_a_defense_of_nothing_is_undecided():
    assert only(claims.look_safe(frame(row("batch", 0.01), *defended("sign", 0.0, 0.0)))) == UNDECIDED


@pytest.mark.parametrize(
    ("noise", "pruned", "verdict"),
    [(0.05, 0.5, HOLDS), (0.5, 0.5, FAILS), (0.05, 0.05, FAILS), (0.25, 0.5, UNDECIDED), (0.05, 0.25, UNDECIDED)],
)
def test_privacy_is_what_holds(noise, pruned, verdict):
    rows = [*defended("dp-0.25", 0.5, 0.5), *defended("dp-4", 0.0, noise), *defended("prune-0.9", 0.0, pruned)]
    finding = claims.privacy(frame(row("batch", 0.5, 0.02), *rows, *defended("dropout-0.5", 0.0, 0.0)))
    assert only(finding) == verdict


def test_batch_sizes_are_judged_by_themselves():
    rows = [row("batch", 0.5, 0.02), *defended("dp-4", 0.0, 0.05), *defended("sign", 0.0, 0.5)]
    found = claims.privacy(frame(*rows, *(one | {"view": one["view"].replace("batch", "more")} for one in rows)))
    assert [(finding.about, finding.verdict) for finding in found] == [("sex, batch", HOLDS), ("sex, more", HOLDS)]


def test_dropout():
    base = row("batch", 0.5, 0.02)
    assert only(claims.dropout(frame(base, *defended("dropout-0.5", 0.0, 0.2)))) == HOLDS
    assert only(claims.dropout(frame(base, *defended("dropout-0.5", 0.0, 0.9)))) == FAILS


LAYERS = [("conv1", 0, "Conv2d"), ("conv2", 1, "Conv2d"), ("fc1", 2, "Linear"), ("fc2", 3, "Linear")]


def layered(values, **more):
    return frame(
        *(
            row("record", value, 0.05, layer=name, layer_index=index, layer_type=kind, **more)
            for (name, index, kind), value in zip(LAYERS, values)
        ),
        row("record", 9.0, **more),
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.1, 0.2, 0.9, 0.3), HOLDS), ((0.1, 0.2, 0.5, 0.9), FAILS), ((0.1, 0.2, 0.9, 0.87), UNDECIDED)],
)
def test_latent_information_is_looked_for_in_the_first_dense_layer(values, verdict):
    found = claims.latent(layered(values, game="usable-information"))
    assert only(found) == verdict
    assert found[0].about == "linear: `fc1`"


def test_original_information_is_looked_for_in_the_first_layer():
    kinds = {"game": "localisation", "metric": "input_sensitivity", "adversary": "hutchinson"}
    assert only(claims.original(layered((0.9, 0.2, 0.1, 0.1), **kinds))) == HOLDS
    assert only(claims.original(layered((0.1, 0.9, 0.1, 0.1), **kinds))) == FAILS


def test_networks_without_an_extractor_say_nothing_of_it():
    dense = layered((0.1, 0.2, 0.9, 0.3), game="usable-information").assign(layer_type="Linear")
    assert claims.latent(dense) == []


def test_the_difference_covers_as_often_as_it_says():
    """Against the normal case, where it is exact."""
    value, lo, hi = claims.difference((1.0, 0.7, 1.3), (0.2, -0.2, 0.6))
    assert (value, lo, hi) == pytest.approx((0.8, 0.3, 1.3))


def test_rows_of_one_training_are_compared_on_the_same_resamples():
    """Two layers that rise and fall together differ for certain, though their intervals overlap."""
    shared = np.random.default_rng(0).normal(0.5, 0.1, 1000)
    both = [row("rounds-r1", 0.5, 0.2, draws=shared), row("rounds-r8", 0.55, 0.2, draws=shared + 0.05)]
    assert only(claims.rounds(frame(*both))) == HOLDS
    alone = np.random.default_rng(1).permutation(shared) + 0.05
    assert only(claims.rounds(frame(both[0], both[1] | {"draws": alone}))) == UNDECIDED
    stuck = [both[0] | {"draws": np.full(1000, 0.5)}, both[1]]
    assert only(claims.rounds(frame(*stuck))) == UNDECIDED


def test_the_last_epoch_of_each_run_counts():
    rows = [row("batch-m1", epoch=0), row("batch-m8", 0.0, epoch=0), row("batch-m1"), row("batch-m8", 0.4)]
    assert only(claims.aggregation(frame(*rows))) == HOLDS


@pytest.mark.parametrize("quick", [True, False])
def test_every_spec_is_valid(quick, tmp_path):
    for name in ("adult.csv.gz", "diabetes130.csv.gz", "fashion_mnist"):
        (tmp_path / name).touch()
    for name, spec in specs(tmp_path, quick).items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
        assert load(path).name == name
