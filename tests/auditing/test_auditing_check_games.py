"""What `check` says of the newer games: their seconds, and the records that they need."""

from __future__ import annotations

import json

import pytest
from audit_case import call, write_spec
from inference_case import spec

from ptaudit.auditing import check

BATCH_16 = [{"name": "batch-16", "batch_size": 16}]


@pytest.mark.parametrize("encoder", ["sketch", "autoencoder"])
def test_the_seconds_of_the_games_are_about_those_of_the_run(tmp_path, encoder):
    """Within a factor of five, on a machine that does other things too; of a few hundredths it was once."""
    games = ["mutual-information", "usable-information"]
    changes = {"data__limit": None, "train__epochs": 1, "audit__epochs": [1], "audit__views": BATCH_16}
    path = write_spec(tmp_path, audit__games=games, audit__tokens={"dim": 16, "encoder": encoder}, **changes)
    report = check(path)
    assert report.audited == 899
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    spent = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))["games"]
    assert spent / 5 < report.estimate_seconds["games"] < 5 * spent


def test_a_spec_without_views(tmp_path):
    report = check(write_spec(tmp_path, audit__views=[], audit__games=["uniqueness", "membership"]))
    assert report.estimate_seconds["games"] > 0
    assert not any(warning.startswith("View") for warning in report.warnings)


@pytest.mark.parametrize("missing", [{"batch_size": 64}, {"batch_size": 1, "layers": ["3"]}])
def test_views_that_the_sample_is_too_small_for_and_partial_ones(tmp_path, missing):
    games = ["identity", {"name": "mutual-information", "estimator": "gaussian"}, "usable-information"]
    report = check(write_spec(tmp_path, audit__views=[{"name": "it", **missing}], audit__games=games))
    assert report.estimate_seconds["games"] > 0


def record_warnings(tmp_path, games, batch_size, encoder="autoencoder"):
    """Of 160 audited records: what is advised, and what is needed."""
    views = [{"name": "it", "batch_size": batch_size}]
    tokens = {"dim": 16, "encoder": encoder}
    report = check(write_spec(tmp_path, audit__games=games, audit__views=views, audit__tokens=tokens))
    needed = [f"{limit.game}: {limit.why_not}" for limit in report.limits if limit.why_not]
    return [warning for warning in report.warnings if warning.startswith("View")] + needed


CHEAP = {"name": "mutual-information", "estimator": "gaussian"}
HALF = "(half of them train the encoder)"
NEEDED = (
    "mutual-information: needs 100 records for batches of 5, has 80 (160 advised); the other half trains the encoder"
)


@pytest.mark.parametrize(
    ("games", "batch_size", "encoder", "expected"),
    [
        ([CHEAP], 5, "sketch", []),
        ([CHEAP], 5, "autoencoder", [NEEDED]),
        ([CHEAP], 3, "autoencoder", [f"View it has 160 audited records; 192 are advised {HALF}."]),
        (["identity", CHEAP], 5, "autoencoder", [NEEDED]),
        (["uniqueness"], 16, "sketch", []),
    ],
)  # fmt: skip
def test_an_encoder_takes_half_of_the_records(tmp_path, games, batch_size, encoder, expected):
    assert record_warnings(tmp_path, games, batch_size, encoder) == expected


def test_more_records_to_localise_in_than_the_sample_has(tmp_path):
    games = [{"name": "localisation", "secret": "label", "records": 20, "probes": 2}]
    report = check(write_spec(tmp_path, data__limit=None, audit__views=[], audit__games=games))
    assert report.audited > 256
    assert report.estimate_seconds["games"] > 0


def test_gates_on_what_a_defense_shows_are_held_against_its_ceiling(tmp_path):
    """Clipping and noise let through what they let through on a view of their own."""
    noisy = {"name": "dp", "clip": 1.0, "noise_multiplier": 100.0}
    gates = [
        {
            "id": "arm",
            "metric": "identity.bits",
            "view": "batch-2",
            "trained_with": "dp-100",
            "over": "joint",
            "max": 5,
        },
        {"id": "own", "metric": "identity.bits", "view": "own", "over": "joint", "max": 5},
        {"id": "sign", "metric": "label.bits", "view": "batch-2", "trained_with": "sign", "max": 4},
        {"id": "on-model", "metric": "membership.bits", "view": "model", "trained_with": "sign", "max": 1},
        {"id": "sharp", "metric": "identity.bits", "view": "batch-2", "trained_with": "sign", "max": 5},
    ]
    views = [{"name": "batch-2", "batch_size": 2}, {"name": "own", "batch_size": 2, "defense": noisy}]
    games = ["identity", "label", "membership"]
    path = write_spec(tmp_path, audit__views=views, audit__games=games, defenses=[noisy, {"name": "sign"}], gates=gates)
    never = [warning for warning in check(path).warnings if "can never fail" in warning]
    assert [warning.split()[1] for warning in never] == ["arm", "own", "sign", "on-model"]
    gates[1]["needs"] = gates[2]["needs"] = "mechanism"
    lasting = [warning for warning in check(write_spec(tmp_path, gates=gates, audit__views=views, audit__games=games,
               defenses=[noisy, {"name": "sign"}])).warnings if "can never pass" in warning]  # fmt: skip
    assert [warning.split()[1] for warning in lasting] == ["sign"]
    assert never[0].split("ceiling")[1] == never[1].split("ceiling")[1]


def test_an_attribute_that_is_an_input_where_the_sample_is_too_small(tmp_path):
    """It is timed on the sample several times over, with what is known of each of these records."""
    game = {"name": "attribute", "attribute": "colour"}
    audit = {"records": 60, "views": [{"name": "b2", "batch_size": 2}], "games": [game]}
    report = check(spec(tmp_path, audit=audit))
    assert report.audited == 60
    assert report.estimate_seconds["games"] > 0


def test_a_rare_level_of_an_input_is_no_matter_of_the_sample_that_is_timed(tmp_path):
    """Few records have it, and none of the first that are timed: what is learned of these is not for all of them."""
    rows = [f"{(37 * i) % 101},{'rare' if i % 150 == 149 else 'common'},{i % 2}" for i in range(900)]
    (tmp_path / "t.csv").write_text("\n".join(["a,flag,y", *rows]) + "\n")
    model = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    changes = {
        "data": {"source": "csv:t.csv", "label": "y", "attributes": ["flag"]},
        "audit__records": 400,
        "audit__views": [{"name": "pair", "batch_size": 2}],
        "audit__games": ["attribute"],
    }
    path = write_spec(tmp_path, **changes)
    (tmp_path / "models.py").write_text(model)
    report = check(path)
    assert report.estimate_seconds["games"] > 0
    assert (
        call(
            "run", path, "--out", tmp_path / "run", "-q", "--set", "train.epochs=1", "--set", "audit.epochs=[1]"
        ).exit_code
        == 0
    )
