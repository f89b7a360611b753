"""The parts of usable information: folds, paths against their peers, batches against single layers, bad input."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from usable_cases import ask, coin, exact_bits, gaussian, two_classes

from ptaudit.attacks.registry import OF_TOKENS
from ptaudit.attacks.usable import knn, linear, mlp
from ptaudit.attacks.usable.family import Family, compressed, direction, mapped, plain
from ptaudit.attacks.usable.folds import FOLDS, cross_predictions, split

# The folds


def test_folds_are_of_records_and_deal_classes_evenly():
    record = torch.tensor([7, 3, 9, 4]).repeat(30) * 100 + torch.arange(120) // 8
    strata = record % 2
    folds = split(record, strata, torch.Generator().manual_seed(0))
    for one in torch.unique(record):
        assert len(torch.unique(folds.fold[record == one])) == 1
    count = torch.bincount(folds.of_record)
    assert count.max() - count.min() <= 1
    values = torch.arange(120.0)
    by_hand = [values[record == one].mean() for one in torch.unique(record)]
    assert torch.allclose(folds.record_means(values), torch.stack(by_hand))


def test_no_predictor_saw_the_row_it_answers_nor_the_fold_it_is_chosen_on():
    """Predict the mean of the known secrets: it tells which folds were known."""
    seen = []

    def spy(known, secrets, unseen, generator):
        seen.append(known.shape[1])
        return secrets.mean(1)[:, None, None, None].expand(1, 1, len(known), unseen.shape[1], 1)

    record = torch.arange(40)
    folds = split(record, None, torch.Generator().manual_seed(1))
    secret = (10.0**folds.fold)[None, :, None]
    found = cross_predictions(
        gaussian(40, 2, 26)[None], secret, folds, Family((plain,), spy, spy, 1).predictor(False, 0)
    )[0, 0, 0, :, :, 0]
    assert seen == [20] * 6
    for row in range(40):
        for other in range(FOLDS):
            away = {int(folds.fold[row]), other}
            if len(away) == 2:
                known = [10.0**f for f in range(FOLDS) if f not in away]
                assert found[row, other] == pytest.approx(np.mean(known))


def test_folds_of_the_callers_are_kept():
    tokens, secret = two_classes(500, 4, 2.0, 27)
    own = torch.arange(500) % 5
    found = ask(tokens, secret, folds=own)["bits"][0]
    assert found.lo <= exact_bits(2.0) <= found.hi
    leak = gaussian(5, 4, 28)[own] * 30.0  # the fold is written in the token, and decides the secret
    planted = (own % 2).long()
    assert ask(leak + gaussian(500, 4, 29), planted)["bits"][0].value > 0.9
    assert ask(leak + gaussian(500, 4, 29), planted, folds=own)["bits"][0].value < 0.3


# Against peers, and batched against alone


def test_the_path_is_that_of_scikit_learn():
    n = 400
    secret = coin(2 * n, 30, 3)
    tokens = gaussian(2 * n, 12, 31) + 1.5 * gaussian(3, 12, 32)[secret]
    one, two = mapped(plain, tokens[None, :n].float(), tokens[None, n:].float())
    truth = torch.nn.functional.one_hot(secret, 3).float()
    answers = linear.logistic_path(one, truth[None, :n], two, effort=50)[0, :, 0]
    for penalty, answer in zip(linear.PENALTIES[:5], answers):  # weaker ones converge slowly
        peer = LogisticRegression(C=1 / (penalty * n), max_iter=5000, tol=1e-8).fit(one[0].numpy(), secret[:n].numpy())
        log_p = peer.predict_log_proba(two[0].numpy())
        cross_entropy = [-(a * truth[n:]).sum(-1).mean() for a in (answer, torch.tensor(log_p))]
        assert cross_entropy[0] == pytest.approx(float(cross_entropy[1]), rel=0.01)
    number = tokens[:, :2].float()
    means = linear.ridge_path(one, number[None, :n], two)[0, :, 0]
    for penalty, mean in zip(linear.PENALTIES, means):
        peer = Ridge(alpha=penalty * n).fit(one[0].numpy(), number[:n].numpy())
        assert np.allclose(mean, peer.predict(two[0].numpy()), atol=1e-3)


def test_nearest_neighbours_are_those_counted_one_by_one():
    known, unseen = gaussian(60, 3, 33).float(), gaussian(7, 3, 34).float()
    truth = torch.nn.functional.one_hot(coin(60, 35, 3), 3).float()
    answers = knn.frequency_path(known[None], truth[None], unseen[None]).exp()[0, :, 0]
    assert answers.shape[0] == len(knn.NEIGHBOURS)
    for k, answer in zip((60, 32, 16, 8, 4, 2), answers):
        near = torch.cdist(unseen, known).argsort(1)[:, :k]
        prior = (truth.sum(0) + 1) / 63
        assert torch.allclose(answer, (truth[near].sum(1) + prior) / (k + 1), atol=1e-5)


@pytest.mark.parametrize("family", OF_TOKENS)
def test_a_layer_among_others_gives_what_it_gives_alone(family):
    rows = torch.stack([two_classes(240, 6, d, 36)[0] for d in (0.0, 1.0, 3.0)])
    secret = two_classes(240, 6, 1.0, 36)[1]
    together = ask(rows, secret, family, groups=[[0], [1], [2]])["bits"]
    assert together[0].value < together[2].value
    assert ask(rows[2], secret, family)["bits"][0].value == pytest.approx(together[2].value, abs=2e-3)


def test_the_adversary_of_a_group_takes_the_leaky_layer():
    tokens, secret = two_classes(600, 6, 3.0, 37)
    rows = torch.stack([gaussian(600, 6, 38), tokens, gaussian(600, 6, 39)])
    found = ask(rows, secret, groups=[[0], [1], [2], [0, 1, 2]])["bits"]
    assert found[0].value < 0.05
    assert found[2].value < 0.05
    assert (found[3].value, found[3].lo, found[3].hi) == (found[1].value, found[1].lo, found[1].hi)


def test_looks_lose_no_more_than_they_say():
    tokens = gaussian(500, 4, 40)[None].float() * gaussian(500, 1, 41)[None].float().exp()
    for feature_map in (plain, direction, compressed):
        one, two = mapped(feature_map, tokens, tokens[:, :3])
        assert torch.allclose(one.mean(1), torch.zeros(4), atol=1e-5)
        assert torch.allclose(one.square().mean(1), torch.ones(4), atol=1e-4)
        assert torch.allclose(one[:, :3], two, atol=1e-4)
    typical = torch.ones(1, 1, 1)
    longer = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert torch.equal(direction(longer, typical)[0, 0], direction(longer, typical)[0, 1])
    assert (compressed(longer, typical)[0, 1] > 1.3 * compressed(longer, typical)[0, 0]).all()
    assert torch.allclose(plain(longer, typical), longer)
    assert torch.linalg.vector_norm(plain(1e6 * longer, typical), dim=-1).max() == pytest.approx(10.0)


@pytest.mark.parametrize("family", OF_TOKENS)
def test_the_same_seed_gives_the_same_numbers_and_leaves_global_ones_alone(family):
    tokens, secret = two_classes(200, 4, 2.0, 42)
    state = torch.get_rng_state()
    one = ask(tokens, secret, family, seed=1)["bits"][0]
    with torch.no_grad():
        same = ask(tokens, secret, family, seed=1)["bits"][0]
    assert one == same
    assert (one.draws == same.draws).all()
    assert ask(tokens, secret, family, seed=2)["bits"][0].value != one.value
    assert torch.equal(torch.get_rng_state(), state)


def test_many_layers_are_played_in_parts(monkeypatch):
    tokens = torch.stack([two_classes(200, 4, 2.0, 43)[0]] * 3)
    secret = two_classes(200, 4, 2.0, 43)[1]
    whole = ask(tokens, secret, groups=[[0], [2]])["bits"]
    monkeypatch.setattr("ptaudit.attacks.usable.information._CELLS", 1)
    assert ask(tokens, secret, groups=[[0], [2]])["bits"][1].value == pytest.approx(whole[1].value, abs=1e-4)


# Bad input


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (torch.ones(200, dtype=torch.long), "same for all records"),
        (torch.full((200, 2), 0.5), "same for all records"),
        (torch.tensor([4] * 5 + [2] * 195), "class 4 has 5 records, needs 8"),
        (torch.arange(200.0).where(torch.arange(200) != 3, torch.nan), "not finite"),
    ],
)
def test_secrets_that_cannot_be_measured_are_inconclusive(secret, reason):
    found = ask(gaussian(200, 4, 44), secret, groups=[[0], [0]])
    assert set(found) == ({"bits"} if secret.is_floating_point() else {"bits", "accuracy"})
    for estimates in found.values():
        assert len(estimates) == 2
        assert all(not e.conclusive and reason in e.status for e in estimates)


def test_too_few_records_are_inconclusive_with_the_number_needed():
    record = torch.arange(400) // 10
    found = ask(gaussian(400, 4, 45), coin(400, 46), record=record)["bits"][0]
    assert found.status == "inconclusive: needs 80 records, has 40"


def test_folds_that_are_too_few_or_too_small_are_inconclusive():
    tokens, secret = gaussian(200, 4, 47), coin(200, 48)
    assert "needs 3 folds" in ask(tokens, secret, folds=torch.arange(200) % 2)["bits"][0].status
    small = torch.where(torch.arange(200) < 3, 3, torch.arange(200) % 3)
    assert "has 3 in one" in ask(tokens, secret, folds=small)["bits"][0].status


def test_a_layer_that_is_not_finite_spoils_only_its_own_groups():
    tokens, secret = two_classes(200, 4, 3.0, 49)
    bad = tokens.clone()
    bad[5, 1] = math.inf
    found = ask(torch.stack([tokens, bad]), secret, groups=[[0], [1], [0, 1]])["bits"]
    assert found[0].value == pytest.approx(ask(tokens, secret)["bits"][0].value, abs=1e-4)
    assert all("not finite" in e.status for e in found[1:])


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="linear, mlp, knn"):
        ask(gaussian(100, 2, 50), coin(100, 51), "forest")


def test_every_family_has_as_many_points_as_it_says():
    tokens, truth = gaussian(100, 3, 52).float()[None], torch.nn.functional.one_hot(coin(100, 53)).float()[None]
    for module in (linear, mlp, knn):
        for path in (module.FAMILY.classes, module.FAMILY.numbers):
            found = path(tokens, truth, tokens[:, :5], torch.Generator().manual_seed(0))
            assert found.shape == (1, module.FAMILY.points, 1, 5, 2)
