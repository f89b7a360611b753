"""What a record holds, told by the data source, and how near rebuilt records come."""

import numpy as np
import pandas as pd
import pytest
import torch

from ptaudit.data import Records, open_source
from ptaudit.data.contents import Picture, Table, Tokens, content_of
from ptaudit.errors import DataError
from ptaudit.spec.model import DataSpec


def records(inputs):
    n = len(inputs) if isinstance(inputs, torch.Tensor) else len(next(iter(inputs.values())))
    return Records(inputs, torch.zeros(n, dtype=torch.long), 2)


def test_pictures_score_exact_ones_at_the_top_and_the_mean_picture_at_the_prior():
    pictures = torch.rand(40, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    content = content_of(records(pictures))
    assert isinstance(content, Picture)
    assert content.shape == (2, 12, 12)
    assert content.data_range == 1.0
    y = content.targets(pictures)
    prior = content.prior(y)
    exact = content.scores(y, y, prior)
    assert set(exact) == set(content.metrics)
    assert exact["explained_variance"].mean() == pytest.approx(1.0)
    assert exact["ssim"].mean() == pytest.approx(1.0)
    mean = content.scores(torch.from_numpy(prior.mean).expand_as(y), y, prior)
    assert mean["explained_variance"].mean() == pytest.approx(0.0)
    assert np.abs(mean["psnr_gain_db"]).max() < 1e-9
    assert np.abs(mean["ssim_gain"]).max() < 1e-9
    assert content_of(records(pictures * 4.0 - 2.0)).data_range == pytest.approx(4.0, abs=0.05)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 200).round(3),
            "gain": np.where(rng.random(200) < 0.8, 0.0, rng.random(200) * 90 + 10),
            "job": rng.choice(["cook", "nurse", "pilot"], 200, p=[0.6, 0.3, 0.1]),
            "y": rng.choice(["no", "yes"], 200),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    return open_source(DataSpec(source=f"csv:{tmp_path}/t.csv", label="y")).records(np.arange(200))


def test_columns_of_a_table_are_its_fields(table):
    content = content_of(table)
    assert isinstance(content, Table)
    assert [(f.name, f.places.stop - f.places.start, f.number) for f in content.fields] == [
        ("age", 1, True), ("gain", 1, True), ("job", 4, False),
    ]  # fmt: skip
    y = content.targets(table.inputs)
    assert content.width == y.shape[1]
    prior = content.prior(y)
    exact = content.scores(y, y, prior)
    assert (exact["fields"] == 1.0).all()
    assert exact["explained_variance"].mean() == pytest.approx(1.0)
    guess = content.scores(torch.from_numpy(prior.guess).expand_as(y), y, prior)
    assert np.abs(guess["fields_gain"]).max() == 0.0
    by_field = content.recovered(torch.from_numpy(prior.guess).expand_as(y), y, prior).mean(0)
    jobs = y[:, 2:].mean(0).max().item()
    assert by_field[0] == pytest.approx(0.27, abs=0.06)  # a quarter of a normal distribution, at its densest place
    assert by_field[1] >= 0.75
    assert by_field[2] == pytest.approx(jobs)


def test_a_number_is_recovered_within_a_third_of_its_deviation(table):
    content = content_of(table)
    y = content.targets(table.inputs)
    prior = content.prior(y)
    for gap, found in ((0.31, 1.0), (0.33, 0.0)):
        moved = y.clone()
        moved[:, 0] += gap * prior.spread[0]
        assert content.recovered(moved, y, prior)[:, 0].mean() == found


def test_inputs_without_names_are_fields_of_one_input():
    generator = torch.Generator().manual_seed(2)
    rows = torch.cat(
        [torch.randn(60, 2, generator=generator), (torch.rand(60, 3, generator=generator) < 0.3).float()], 1
    )
    content = content_of(records(rows))
    assert [f.number for f in content.fields] == [True, True, False, False, False]
    y, prior = content.targets(rows), content.prior(rows)
    assert prior.guess[2:].tolist() == [0.0, 0.0, 0.0]
    flipped = y.clone()
    flipped[:, 3] = 1.0 - flipped[:, 3]
    assert content.recovered(flipped, y, prior).mean(0).tolist() == [1.0, 1.0, 1.0, 0.0, 1.0]


def test_tokens_are_the_set_of_those_that_are_real():
    ids = torch.tensor([[7, 3, 3, 0], [9, 7, 0, 0], [3, 9, 7, 50]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    given = {"ids": ids, "mask": mask}
    content = content_of(records(given))
    assert isinstance(content, Tokens)
    assert content.ids.tolist() == [3, 7, 9, 50]
    y = content.targets(given)
    assert y.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]]
    prior = content.prior(y)
    assert content.scores(y, y, prior)["tokens"].tolist() == [1.0, 1.0, 1.0]
    # Unigram: 7 in all, then 3 and 9 (the first of equals), then 50.
    assert content.scores(y, y, prior)["tokens_gain"].tolist() == [0.0, 0.5, 0.0]
    nothing = content.scores(torch.zeros_like(y), y, prior)
    assert nothing["tokens"].tolist() == [0.0, 0.0, 0.0]
    assert content_of(records((ids, mask)[0])).ids.tolist() == [0, 3, 7, 9, 50]


def test_inputs_of_no_kind_are_refused_with_what_would_do():
    with pytest.raises(DataError, match="can be rebuilt"):
        content_of(records({"left": torch.rand(4, 3), "right": torch.rand(4, 3)}))
