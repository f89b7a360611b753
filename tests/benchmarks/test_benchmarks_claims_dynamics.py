"""Claims about membership over time are decided by intervals alone: frames where the answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import claims_dynamics_verdicts as claims
from audit_case import write_spec
from claims_data import small_cifar
from claims_dynamics import pages_of, specs
from claims_gradients import tables
from claims_verdicts import FAILS, HOLDS, UNDECIDED

import ptaudit
from ptaudit.spec.load import load

ERRORS = [0.05, 0.15, 0.2, 0.4, 0.5, 0.7]


def row(data, metric, value, half=0.01, epoch=15, adversary="bavaria-offline", error=0.3, **more):
    draws = value + half / 2 * np.random.default_rng(0).standard_normal(1000)
    fixed = {"data": data, "metric": metric, "epoch": epoch, "adversary": adversary, "null": 0.0, "n": 600}
    ends = {"value": value, "lo": value - half, "hi": value + half, "draws": draws}
    return {**fixed, **ends, "held_out_error": error, "held_out": 300, **more}


def of_data(values, half=0.01):
    names = [f"d{place}" for place in range(len(values))]
    return pd.DataFrame([row(*one, half, error=e) for e, *one in zip(ERRORS, names, ["displacement"] * 6, values)])


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], HOLDS),
        ([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], FAILS),
        ([0.3, 0.1, 0.5, 0.2, 0.6, 0.4], UNDECIDED),
    ],
)
def test_the_order_of_data_sets(values, verdict):
    [finding] = claims.difficulty(of_data(values))
    assert finding.verdict == verdict


def test_an_order_of_few_data_sets_may_be_chance():
    """Of three one order in six is right, however sure each number is."""
    [finding] = claims.difficulty(of_data([0.1, 0.2, 0.3]))
    assert finding.verdict == UNDECIDED
    assert "0.167 by chance" in finding.figures


def test_numbers_that_cannot_be_told_apart_have_no_order():
    [finding] = claims.difficulty(of_data([0.30, 0.31, 0.32, 0.33, 0.34, 0.35], half=0.5))
    assert finding.verdict == UNDECIDED


@pytest.mark.parametrize(("found", "verdict"), [(0.5, HOLDS), (0.2, FAILS), (0.31, UNDECIDED)])
def test_a_wide_network_moves_three_times_as_far(found, verdict):
    frame = pd.DataFrame([row("d", "displacement", 0.1), row("d-wide", "displacement", found)])
    assert [one.verdict for one in claims.wide(frame)] == [verdict]


@pytest.mark.parametrize(
    ("found", "lower", "more"), [(0.2, HOLDS, FAILS), (0.4, FAILS, HOLDS), (0.3, *[UNDECIDED] * 2)]
)
def test_sam_against_the_same_data_without(found, lower, more):
    rows = [
        row(name, metric, value)
        for metric in ("peak_transition", "exposed")
        for name, value in (("d", 0.3), ("d-sam", found))
    ]
    assert [one.verdict for one in claims.sam_peak(pd.DataFrame(rows))] == [lower]
    assert [one.verdict for one in claims.sam_risk(pd.DataFrame(rows))] == [more]


@pytest.mark.parametrize(("found", "verdict"), [(0.8, HOLDS), (0.5, FAILS), (0.7, UNDECIDED), (np.nan, UNDECIDED)])
def test_who_ends_exposed_is_so_after_a_fifth_of_the_training(found, verdict):
    rows = [row("d", "already_exposed", value, epoch=epoch) for epoch, value in ((1, 0.0), (3, found), (5, 0.9))]
    [finding] = claims.early(pd.DataFrame([*rows, row("d", "exposed", 0.9)]))
    assert (finding.verdict, finding.about) == (verdict, "epoch 3")


@pytest.mark.parametrize(("found", "verdict"), [(0.3, HOLDS), (-0.3, FAILS), (0.0, UNDECIDED)])
def test_hard_records_are_at_risk(found, verdict):
    frame = pd.DataFrame([row("d", "rank_correlation", found, adversary="loss-without")])
    assert [one.verdict for one in claims.hard(frame)] == [verdict]


def test_what_was_not_run_is_not_on_the_page():
    pages = pages_of(of_data([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert set(pages) == {"verdicts", "runs", *claims.CLAIMS}
    assert pages["wide"].count("\n") == 1
    assert "| d5 | 0.700 | 0.600 [0.590, 0.610] (0.000) |" in pages["runs"]


@pytest.mark.parametrize("quick", [True, False])
def test_every_spec_is_valid(quick, tmp_path):
    for name in ("adult.csv.gz", "diabetes130.csv.gz", "fashion_mnist", "location30.npz", "cifar10_lossless4k.npz"):
        (tmp_path / name).touch()
    for name, spec in specs(tmp_path, quick).items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
        assert load(path).name == name


def test_small_pictures_are_means_of_four_pixels(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "c.npz", images=pictures, labels=np.array([3, 1], dtype=np.uint8))
    small, classes = small_cifar(str(tmp_path / "c.npz"))
    assert small.shape == (2, 16, 16, 3)
    assert small[1, 2, 3, 0] == round(pictures[1, 4:6, 6:8, 0].mean())
    assert classes.tolist() == [3, 1]


def test_rows_of_a_run_folder_come_with_their_draws(tmp_path):
    ptaudit.audit(
        write_spec(tmp_path, audit__games=["label"], audit__epochs=[1], train__epochs=1), out=tmp_path / "run"
    )
    frame, _ = tables(tmp_path)
    drawn = frame[frame.draws.notna()]
    # Values are clipped to their range, draws are not.
    within = drawn[(drawn.value > 0.0) & (drawn.value < drawn.ceiling)]
    assert len(within) > 10
    for row in within.itertuples():
        assert np.quantile(row.draws, 0.025) <= row.value <= np.quantile(row.draws, 0.975)
