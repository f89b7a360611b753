"""The independent attacker on cases whose answer is enumerated, and on shuffled secrets."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import redteam
import redteam_identity as identity
import redteam_secrets as secrets
from redteam_attack import Effort, attack
from redteam_cases import CASES, QUICK
from redteam_classify import fit as fit_classifiers
from redteam_decode import Inputs, decode
from redteam_gradients import Eye, blocks_of
from redteam_posterior import fit_posterior
from redteam_score import Score, score
from redteam_specs import NEEDS, specs
from redteam_world import World

from ptaudit.spec.load import load


def world(records=400, inputs=24, seed=0):
    """A small ReLU network on one-hot inputs (four fields of five) and four numbers."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(5, (records, 4), generator=generator)
    hot = nn.functional.one_hot(codes, 5).flatten(1).float()
    x = torch.cat([hot, torch.randn(records, inputs - 20, generator=generator)], 1)
    y = torch.randint(2, (records,), generator=generator)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    index = np.random.default_rng(seed).permutation(records)
    loss = nn.CrossEntropyLoss(reduction="none")
    fields = {"first": (codes[:, 0].numpy(), 0, torch.eye(5))}
    columns = {"first": codes[:, 0].numpy()}
    return World(model.eval(), loss, x, y, index[: records - 40], index[records - 40 :], columns, fields)


def eye_of(made, **more):
    return Eye(made, blocks_of(made.model), **more)


def test_sums_of_single_gradients_are_the_gradient_of_the_batch():
    eye, rng = eye_of(world()), np.random.default_rng(0)
    index = eye.world.members[:6]
    for one, many in zip(eye.batch(index, rng), eye.alone(index)):
        assert torch.allclose(one, many.sum(0), atol=1e-5)
    a, d = eye.sides(index)["0"]
    assert np.allclose(d.T @ a, eye.batch(index, rng)[0].numpy(), atol=1e-5)


def test_clipping_bounds_every_record():
    eye = eye_of(world(), clip=0.01)
    norms = torch.stack([m.flatten(1).square().sum(1) for m in eye.alone(eye.world.members[:8])]).sum(0).sqrt()
    assert (norms < 0.0101).all()


def candidates_game(shuffled):
    """Evidence about 20 candidates of batches of 4, where all are told apart: log2 20 bits."""
    eye, rng = eye_of(world()), np.random.default_rng(1)
    parts = np.split(eye.world.members[:320], 4)
    tables = [identity.Table(one, other, 20) for one, other in ((parts[0], parts[1]), (parts[1], parts[0]))]
    played = [identity.play(eye, table, 4, None, (120, rng)) for table in (*tables, identity.Table(*parts[2:], 20))]
    if shuffled:
        played = [dataclasses.replace(one, secret=rng.permutation(one.secret)) for one in played]
    posterior = fit_posterior(*played[:2])
    return score(posterior(played[2]), played[2].prior, np.eye(20)[played[2].secret], played[2].unit)


def test_records_of_small_batches_are_named():
    assert candidates_game(shuffled=False).value > 0.95 * np.log2(20)


def test_shuffled_candidates_give_nothing():
    found = candidates_game(shuffled=True)
    assert found.value == pytest.approx(0.0, abs=0.1)
    assert found.lo < 0.05


def batch_game(shuffled):
    """Does one of 4 records have the first value of the first field? Its column of the gradient is 0 where none has."""
    eye, rng = eye_of(world()), np.random.default_rng(2)
    has = eye.world.columns["first"] == 0
    draw = secrets.of_property(has, 4)
    games = [draw(part, count, rng) for part, count in zip(np.split(eye.world.members[:360], 3), (300, 200, 300))]
    if shuffled:
        order = [rng.permutation(len(one.secret)) for one in games]
        games = [dataclasses.replace(g, secret=g.secret[o], share=g.share[o]) for g, o in zip(games, order)]
    fit, calibrate, shown = (secrets.seen(eye, one, np.full(2, 0.5), rng) for one in games)
    answer, _ = fit_classifiers(fit, calibrate)
    return score(answer(shown.x), np.full((300, 2), 0.5), np.eye(2)[games[2].secret], games[2].unit)


def test_a_property_that_is_a_column_of_zeros_is_seen():
    assert batch_game(shuffled=False).value > 0.95


def test_shuffled_properties_give_nothing():
    found = batch_game(shuffled=True)
    assert found.value == pytest.approx(0.0, abs=0.05)


def test_records_of_a_small_batch_are_read_off_the_gradient():
    """All of them, by enumeration of one-hot inputs."""
    made = world()
    eye, rng = eye_of(made), np.random.default_rng(3)
    inputs = Inputs(np.arange(20), [np.arange(5 * i, 5 * i + 5) for i in range(4)], {})
    for _ in range(5):
        index = rng.choice(made.members, 4, replace=False)
        found = decode(eye.batch(index, rng)[0].double().numpy(), inputs)
        truth = {tuple(row) for row in made.inputs[torch.from_numpy(index)][:, :20].int().tolist()}
        assert truth <= {tuple(row) for row in np.round(found[:, :20]).astype(int).tolist()}


@pytest.mark.parametrize("ratios", [(0.2, 0.8), (0.5, 0.5)])
def test_posteriors_of_shares_are_enumerated(ratios):
    """The exact posterior of a batch of 3 by counting; equal shares tell nothing."""
    draw = secrets.of_distribution(np.arange(100) % 2 == 0, 3, ratios)
    games = draw(np.arange(100), 200, np.random.default_rng(0))
    holding = (games.members % 2 == 0).sum(1)
    given = np.array([[r**h * (1 - r) ** (3 - h) for r in ratios] for h in holding])
    assert np.allclose(games.share, given / given.sum(1, keepdims=True))


def test_the_truth_with_certainty_is_worth_the_prior():
    truth, prior = np.eye(4)[np.arange(40) % 4], np.full((40, 4), 0.25)
    found = score(0.999 * truth + 0.00025, prior, truth, np.arange(40))
    assert found.value == pytest.approx(2.0, abs=0.01)
    assert found.lo == pytest.approx(2.0 * (1 - 3 / 40), abs=0.01)
    assert score(prior, prior, truth, np.arange(40)).value == 0.0


@pytest.mark.parametrize(
    ("reported", "attacker", "verdict"),
    [
        ((7.5, 7.3, 7.6), (7.5, 7.4, 7.6), redteam.OK),
        ((0.3, 0.0, 0.7), (7.2, 6.9, 7.4), redteam.BEATEN),
        ((7.0, 6.9, 7.1), (7.2, 7.1, 7.3), redteam.BEATEN),  # 97 %, but above the interval
        ((7.79, 7.78, 7.791), (7.8, 7.7, 7.8), redteam.OK),  # both at the ceiling
        ((0.05, 0.04, 0.06), (0.06, 0.04, 0.08), redteam.OK),  # small: the difference decides
        ((0.00, 0.00, 0.001), (0.07, 0.06, 0.08), redteam.BEATEN),
        ((float("nan"),) * 3, (7.2, 6.9, 7.4), redteam.BEATEN),
        ((0.40, 0.39, 0.401), (0.44, 0.43, 0.45), redteam.BEATEN),
    ],
)
def test_verdicts(reported, attacker, verdict):
    assert redteam.verdict((*reported, 7.8), Score(*attacker, 7.8)) == verdict


def test_who_knows_more_beforehand_has_less_to_find():
    assert redteam.verdict((0.40, 0.39, 0.401, 0.401), Score(0.44, 0.43, 0.45, 0.45)) == redteam.OK


def test_the_strongest_adversary_who_knows_as_much_counts():
    row = {"layer": "*", "game": "identity", "view": "plain-8", "epoch": 8, "metric": "bits", "knowledge": "adaptive"}
    row |= {"knows": "none", "trained_with": "none", "value": 1.0, "lo": 0.9, "hi": 1.1, "ceiling": 7.8}
    row["adversary"] = "one"
    more = {"value": 2.0, "adversary": "two"}
    rows = [row, row | more, row | more | {"value": 9.0, "knows": "others"}, row | more | {"value": 9.0, "layer": "fc"}]
    assert redteam.strongest(pd.DataFrame(rows), CASES[0]) == ((2.0, 0.9, 1.1, 7.8), "two")


def test_cases_name_what_their_specs_have(tmp_path):
    for name in {name for needs in NEEDS.values() for name in needs}:
        (tmp_path / name).touch()
    made = specs(tmp_path)
    for name, spec in made.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
        assert load(path).name == name
    for case in (*CASES, *QUICK):
        audit = made[case.spec]["audit"]
        games = [game if isinstance(game, str) else game.get("id", game["name"]) for game in audit["games"]]
        assert case.game in games
        assert case.view in [view["name"] for view in audit["views"]]
        assert case.epoch in audit["epochs"]
    assert len({case.name for case in CASES}) == len(CASES) >= 14


def test_a_case_is_played_from_beginning_to_end():
    games = [{"name": "identity", "candidates": 16}, {"name": "attribute", "attribute": "first", "form": "input"}]
    audit = {"games": games, "views": [{"name": "batch-4", "batch_size": 4}]}
    found = [
        attack(world(), {"audit": audit}, name, "batch-4", (Effort(80, 160, 100), 0))
        for name in ("identity", "attribute")
    ]
    assert found[0].value > 3.5
    assert found[1].value > 0.9 * found[1].ceiling > 1.5
