"""What canaries are made of, how far they get, and what they must not be."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from canary_cases import FIELDS, records_of, table, trained
from scipy import stats
from torch import nn

from ptaudit.canaries import Canaries, GradientSensitivity, HypothesisPair, ask, make
from ptaudit.canaries.space import space_of
from ptaudit.data import Records
from ptaudit.spec.canaries import KINDS
from ptaudit.training.loss import cross_entropy, mse


def lower_end(difference: np.ndarray) -> float:
    """Of the 95 % interval of the mean, over records."""
    return difference.mean() - stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)


def check_order(made: dict[str, Canaries]) -> None:
    """Crafted ones are beyond mislabelled ones, and these beyond natural ones: records in pairs, with intervals."""
    assert lower_end(made["mislabelled"].distance - made["natural"].distance) > 0
    check_crafted(made)


def check_crafted(made: dict[str, Canaries]) -> None:
    """Crafted ones are beyond what they were made from."""
    natural, mislabelled, crafted = (made[kind].distance for kind in KINDS)
    assert (crafted >= np.maximum(natural, mislabelled)).all()
    assert lower_end(crafted - np.maximum(natural, mislabelled)) > 0


def check_space(records: Records, made: Canaries, question: HypothesisPair) -> None:
    """Numbers are within what was observed, fields have one of their values, the secret is as it was."""
    inputs, source = made.inputs, records.inputs[made.source]
    assert (inputs >= records.inputs.amin(0)).all()
    assert (inputs <= records.inputs.amax(0)).all()
    assert torch.equal(inputs[:, list(question.places)], source[:, list(question.places)])
    for field in records.fields.values():
        block = inputs[:, field.start : field.start + field.levels.shape[1]]
        kept = (block == source[:, field.start : field.start + field.levels.shape[1]]).all(-1)  # perhaps missing
        assert ((block[:, None] == field.levels[None]).all(-1).any(1) | kept).all(), field.name
    for variant in question.variants(inputs):
        outside = [i for i in range(inputs.shape[1]) if i not in question.places]
        assert torch.equal(variant[:, outside], inputs[:, outside])


@pytest.mark.parametrize("about", ["attribute", "membership"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_crafted_beat_mislabelled_beat_natural_ones(tmp_path: Path, about: str, clip: float | None) -> None:
    records, split = records_of(tmp_path, table(1200))
    assert set(records.fields) == set(FIELDS)
    question = ask(about, records, "sex")
    sensitivity = GradientSensitivity(trained(records, split.members), cross_entropy, question, clip)
    made = make(KINDS, records, split.held_out[:40], sensitivity)
    if about == "membership" and clip:  # no gradient is longer than that
        assert np.allclose(made["crafted"].distance, clip)
        assert lower_end(made["mislabelled"].distance - made["natural"].distance) > 0
    else:
        check_order(made)
    check_space(records, made["crafted"], question)
    for canaries in made.values():
        np.testing.assert_allclose(
            sensitivity.distances(canaries.inputs, canaries.targets), canaries.distance, rtol=1e-4
        )
    assert (made["mislabelled"].targets == 1 - made["natural"].targets).all()
    again = make(KINDS, records, split.held_out[:40], sensitivity)
    assert all(torch.equal(again[kind].inputs, made[kind].inputs) for kind in KINDS)


def test_crafted_beat_mislabelled_beat_natural_ones_on_adult(real_data: Path) -> None:
    import pandas as pd

    from ptaudit.data import open_source
    from ptaudit.data.split import make_split
    from ptaudit.spec.model import DataSpec

    where = real_data / "adult.csv.gz"
    assert "sex" in pd.read_csv(where, nrows=1)
    spec = DataSpec(source=f"csv:{where}", label="income", drop=["fnlwgt", "education", "split"], limit=4000)
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    records = source.records(split.members)
    question = ask("attribute", records, "sex")
    made = make(
        KINDS,
        records,
        split.held_out[:24],
        GradientSensitivity(trained(records, split.members), cross_entropy, question),
    )
    check_order(made)
    check_space(records, made["crafted"], question)


def test_coordinate_search_finds_what_brute_force_finds(tmp_path: Path) -> None:
    """On a table of fields only, every record that there can be is tried."""
    frame = table(400)[["sex", "work", "level", "rich"]]
    records, split = records_of(tmp_path, frame)
    question = ask("attribute", records, "sex")
    sensitivity = GradientSensitivity(trained(records, split.members, hidden=8), cross_entropy, question, 1.0)
    made = make(["crafted"], records, split.held_out[:24], sensitivity)["crafted"]
    work, level = records.fields["work"], records.fields["level"]
    everything = []
    for a, b, label in itertools.product(range(len(work.levels)), range(len(level.levels)), range(2)):
        x = records.inputs[split.held_out[:1]].clone()
        x[:, work.start : work.start + work.levels.shape[1]] = work.levels[a]
        x[:, level.start : level.start + 1] = level.levels[b]
        everything.append(float(sensitivity.distances(x, torch.tensor([label]))))
    best = max(everything)
    assert made.distance.max() == pytest.approx(best, rel=1e-4)
    assert (made.distance <= best * (1 + 1e-4)).all()
    assert (made.distance > 0.8 * best).all()
    assert best > 1.2 * np.median(everything)  # else any search would do
    for field in (work, level):  # no single change takes any of them further
        for code in field.levels:
            x = made.inputs.clone()
            x[:, field.start : field.start + field.levels.shape[1]] = code
            assert (sensitivity.distances(x, made.targets).numpy() <= made.distance * (1 + 1e-4)).all()
    assert (sensitivity.distances(made.inputs, 1 - made.targets).numpy() <= made.distance * (1 + 1e-4)).all()


def test_mislabelled_ones_have_the_label_with_the_largest_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(60, 5, generator=draw), torch.randint(4, (60,), generator=draw)
    model = nn.Linear(5, 4)
    made = make(
        ["mislabelled"],
        Records(inputs, targets, 4),
        np.arange(20),
        GradientSensitivity(model, cross_entropy, HypothesisPair()),
    )
    scores = model(inputs[:20]).detach()
    scores[torch.arange(20), targets[:20]] = torch.inf
    assert torch.equal(made["mislabelled"].targets, scores.argmin(1))


def test_targets_that_are_numbers_move_to_the_far_end() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(60, 5, generator=draw), torch.randn(60, generator=draw)
    made = make(
        KINDS,
        Records(inputs, targets, None),
        np.arange(20),
        GradientSensitivity(nn.Linear(5, 1), mse, HypothesisPair()),
    )
    assert set(made["mislabelled"].targets.tolist()) <= {float(targets.min()), float(targets.max())}
    check_order(made)


def test_pictures_stay_within_their_range() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = torch.rand(40, 1, 6, 6, generator=draw), torch.randint(3, (40,), generator=draw)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    made = make(
        KINDS, Records(inputs, targets, 3), np.arange(10), GradientSensitivity(model, cross_entropy, HypothesisPair())
    )
    crafted = made["crafted"].inputs
    assert inputs.min() <= crafted.min()
    assert crafted.max() <= inputs.max()
    check_crafted(made)


def test_columns_of_two_values_keep_to_them_where_there_are_no_fields() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = (torch.rand(50, 12, generator=draw) > 0.5).float(), torch.randint(2, (50,), generator=draw)
    made = make(
        KINDS,
        Records(inputs, targets, 2),
        np.arange(16),
        GradientSensitivity(nn.Linear(12, 2), cross_entropy, HypothesisPair()),
    )
    assert set(made["crafted"].inputs.flatten().tolist()) == {0.0, 1.0}
    check_crafted(made)


def test_categories_that_are_no_field_are_not_mixed(tmp_path: Path) -> None:
    towns = np.array([f"town{i:02}" for i in range(40)])
    frame = table(600).assign(town=towns[np.arange(600) % 40])
    records, split = records_of(tmp_path, frame)
    assert "town" not in records.fields
    space = space_of(records, HypothesisPair())
    width = records.inputs.shape[1]
    free = {i for i in range(width) if space.free[i]}
    assert len(free) == 2  # age and hours
    sensitivity = GradientSensitivity(trained(records, split.members, steps=20), cross_entropy, HypothesisPair())
    made = make(["crafted"], records, split.held_out[:8], sensitivity)["crafted"]
    numbers = {place for field in space.fields for place in range(field.start, field.start + field.codes.shape[1])}
    kept = [i for i in range(width) if i not in free | numbers]
    assert len(kept) >= 40
    assert torch.equal(made.inputs[:, kept], records.inputs[split.held_out[:8]][:, kept])


def test_why_there_are_none() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    words = Records(torch.randint(9, (30, 3)), torch.randint(2, (30,)), 2)
    made = make(KINDS, words, np.arange(8), GradientSensitivity(model, cross_entropy, HypothesisPair()))
    assert isinstance(made["mislabelled"], Canaries)
    assert made["crafted"] == "inputs that are one tensor of numbers are needed"
    labels = Records(torch.randn(30, 4), torch.rand(30, 2).round(), None)
    made = make(KINDS, labels, np.arange(8), GradientSensitivity(nn.Linear(4, 2), mse, HypothesisPair()))
    assert made["mislabelled"] == "records with one label each are needed"
    assert (made["crafted"].distance > made["natural"].distance).all()
    assert torch.equal(made["crafted"].targets, labels.targets[:8])
