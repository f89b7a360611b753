"""The identity game: nulls, planted leaks, heavy tails, statuses, groups."""

import math

import pytest
import torch
from identity_truth import gaussian, log_normal, student

from ptaudit.attacks import observed_density
from ptaudit.attacks.known import Known
from ptaudit.attacks.likelihood_ratio import fit_likelihood_ratio
from ptaudit.attacks.observed_density import Effort
from ptaudit.estimate import identity_bits
from ptaudit.games.common.crossfit import quarters
from ptaudit.games.identity import family as identity_family
from ptaudit.games.identity import measure as identity
from ptaudit.views import View, draw_games, observe, sums


def measured(tokens, view, groups, parameters=None, candidates=256, seed=0):
    return identity.measure(Known(tokens, view), groups, parameters or [None] * len(groups), Effort(candidates), seed)


# Nulls


@pytest.mark.parametrize("tokens", [gaussian, student, log_normal])
@pytest.mark.parametrize(("m", "s"), [(1, 2.0), (2, 0.0), (8, 0.0)])
def test_shuffled_secrets_give_nothing(tokens, m, s):
    """The adversary of the null is calibrated on shuffled games, with another member's place as the secret."""
    view = View("v", m, noise_std=s)
    scores = identity.play(Known(tokens(512, 16, 41)[None], view), [[0]], Effort(128), seed=2)
    null = scores.values[2, 0]
    error = float(null.std()) / math.sqrt(len(null))
    assert abs(float(null.mean())) <= max(2.0 * error, 0.005)


@pytest.mark.parametrize(("m", "s"), [(2, 0.0), (8, 0.0), (1, 1.0)])
def test_secrets_shuffled_before_the_game_give_nothing(m, s, monkeypatch):
    """Views that hold another record than the secret: on folds and in reported games alike."""

    def unrelated(candidates, pool, games, noise, generator):
        return observe(candidates.roll(7, 1), pool, games, noise, generator)

    honest = identity_bits(gaussian(512, 16, 42), m, noise=s, seed=3)
    monkeypatch.setattr(observed_density, "observe", unrelated)
    shuffled = identity_bits(gaussian(512, 16, 42), m, noise=s, seed=3)
    assert honest.lo > 0.5
    assert shuffled.value <= 0.005
    assert shuffled.lo <= 0.0


def test_a_view_without_the_target_gives_nothing(monkeypatch):
    """The planted game: sums of m other records, the target not among them."""

    def without(candidates, pool, games, noise, generator):
        return [sums(pool, others) for others in games.others]

    monkeypatch.setattr(observed_density, "observe", without)
    found = identity_bits(gaussian(512, 64, 43), 4, seed=0)
    assert found.lo <= 0.0
    assert found.value <= 0.005


# Heavy tails


def with_giants(n, k, seed):
    tokens = gaussian(n, k, seed)
    tokens[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:5]] *= 1000.0
    return tokens


@pytest.mark.parametrize("tokens", [student, with_giants, log_normal, lambda n, k, seed: student(n, k, seed, 1)])
@pytest.mark.parametrize(("m", "s"), [(1, 3.0), (2, 0.0), (8, 0.0), (16, 5.0)])
def test_heavy_tails_stay_between_zero_and_the_ceiling(tokens, m, s):
    for seed in range(2):
        found = identity_bits(tokens(max(32 * m, 128), 16, 50 + seed), m, noise=s, seed=seed)
        assert found.conclusive
        assert 0.0 <= found.lo <= found.value <= found.hi <= found.ceiling
        assert found.draws.mean() > -0.05


def test_five_giants_do_not_hide_that_the_others_leak():
    plain = identity_bits(gaussian(512, 16, 51), 2, seed=0)
    giants = identity_bits(with_giants(512, 16, 51), 2, seed=0)
    assert giants.value > 0.8 * plain.value


# Batches of one without noise


def test_a_lone_record_is_named_exactly():
    found = identity_bits(gaussian(256, 16, 60), 1, seed=0)
    assert found.value == found.ceiling == found.hi == 6.0
    assert found.lo == pytest.approx(6.0 * (1.0 - 3.0 / found.n))


def test_equal_tokens_of_lone_records_cannot_be_told_apart():
    """Posterior uniform over the equal ones: log2 K minus the mean log2 of the count of equals, in each set of K."""
    tokens = gaussian(64, 8, 61).repeat_interleave(4, 0)
    seed, k = 5, 64
    expected = []
    for part in quarters(256, torch.Generator().manual_seed(seed)):
        kind = (part // 4).tolist()
        expected += [math.log2(k) - math.log2(kind.count(one)) for one in kind]
    found = identity_bits(tokens, 1, seed=seed)
    assert found.value == pytest.approx(sum(expected) / 256)
    assert found.lo < found.value < found.hi


def test_joint_duplicates_are_those_of_every_row():
    """A row that repeats records does not hide them from an adversary who sees another row too."""
    distinct, repeated = gaussian(128, 8, 62), gaussian(2, 8, 62).repeat(64, 1)
    name, found = measured(torch.stack([distinct, repeated]), View("v"), [[1], [0, 1]])
    assert name == "exact"
    assert found["bits"][0].value < 1.5
    assert found["bits"][1].value == 5.0


# Ceilings and statuses


def test_ceiling_is_log2_of_the_candidates_used():
    tokens = gaussian(256, 16, 63)
    assert identity_bits(tokens, 2).ceiling == 6.0
    assert identity_bits(tokens, 2, candidates=10).ceiling == math.log2(10)


def test_dp_ceiling_is_the_capacity_of_the_noisy_channel():
    view = View("dp", 4, rounds=2, clip=2.0, noise_std=3.0)
    tokens = gaussian(256, 16, 64)[None]
    _, found = measured(tokens / tokens.norm(dim=-1, keepdim=True), view, [[0], [0], [0]], [50, 1_000_000, None])
    sigma_sq = 2.25
    expected = [2 * d / 2 * math.log2(1 + 1 / (d * sigma_sq)) for d in (50, 1_000_000)] + [1 / (sigma_sq * math.log(2))]
    assert [e.ceiling for e in found["bits"]] == pytest.approx(expected)
    assert all(e.hi <= e.ceiling for e in found["bits"])


def test_within_a_bit_of_the_ceiling_is_saturated():
    assert identity_bits(gaussian(256, 64, 65), 2).status == "saturated"


def test_status_says_when_a_larger_token_may_do_better():
    tokens = gaussian(512, 64, 66)[None]
    _, found = measured(tokens, View("v", 16), [[0], [0], [0]], [None, 10_000, 64])
    assert [e.status for e in found["bits"]] == ["dim-limited", "dim-limited", "ok"]


def test_a_smaller_sub_token_that_wins_is_not_dim_limited():
    """Only 16 of 256 coordinates say something; all others are the same small Gaussian noise of the record."""
    tokens = torch.zeros(512, 256, dtype=torch.float64)
    tokens[:, torch.linspace(0, 255, 16).round().long()] = gaussian(512, 16, 67)
    found = identity_bits(tokens + 0.01 * gaussian(512, 256, 68), 16)
    reference = identity_bits(gaussian(512, 16, 67), 16)
    assert found.value > 0.8 * reference.value


@pytest.mark.parametrize(
    ("records", "m", "needed", "advised"), [(100, 8, "160", "256"), (6, 1, "20", "32"), (39, 2, "40", "64")]
)
def test_too_few_records_are_inconclusive_with_the_number_needed(records, m, needed, advised):
    found = identity_bits(gaussian(records, 8, 69), m, noise=1.0)
    assert not found.conclusive
    assert math.isnan(found.value)
    assert found.status.startswith("inconclusive: ")
    assert {needed, advised, str(records)} <= set(found.status.replace("(", "").split())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("m", [1, 4])
def test_tokens_that_are_not_finite_are_inconclusive(bad, m):
    tokens = gaussian(256, 8, 70)
    tokens[17, 3] = bad
    found = identity_bits(tokens, m)
    assert not found.conclusive
    assert "not finite" in found.status


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6 + 1 / 3, 1e-8 / 3])
@pytest.mark.parametrize(("m", "s"), [(1, 0.0), (1, 1.0), (4, 0.0), (4, 1.0)])
def test_tokens_that_are_all_equal_give_nothing(value, m, s):
    """Also where their mean is only nearly equal to them, for rounding."""
    found = identity_bits(torch.full((256, 16), value, dtype=torch.float64), m, noise=s)
    assert found.conclusive
    assert (found.value, found.lo, found.hi) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0, 1 / 3])
@pytest.mark.parametrize(("m", "s"), [(1, 1.0), (2, 0.0), (4, 1.0)])
def test_one_constant_row_among_others_gives_nothing_and_leaves_them_alone(value, m, s):
    """A layer that receives the same gradient from every record, beside layers that differ."""
    rows = torch.stack([gaussian(256, 64, 80), torch.full((256, 64), value), student(256, 64, 81)])
    view, groups = View("v", m, noise_std=s), [[0], [1], [2], [0, 1, 2]]
    _, found = measured(rows, view, groups)
    bits = found["bits"]
    assert all(e.conclusive for e in bits)
    assert (bits[1].value, bits[1].lo, bits[1].hi) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert found["accuracy"][1].value == pytest.approx(1 / 64, abs=0.01)
    assert min(bits[0].value, bits[2].value) > 1.0
    assert bits[3].value >= 0.95 * max(bits[0].value, bits[2].value)


@pytest.mark.parametrize(("rounds", "needed", "advised"), [(1, 80, 128), (3, 240, 384)])
def test_every_round_needs_records_of_its_own(rounds, needed, advised):
    few, enough = (identity_bits(gaussian(n, 8, 69), 4, rounds=rounds) for n in (needed - 1, needed))
    in_rounds = " in 3 rounds" if rounds == 3 else ""
    why = f"needs {needed} records for batches of 4{in_rounds}, has {needed - 1} ({advised} advised)"
    assert few.status == f"inconclusive: {why}"
    assert enough.conclusive


# Rows, groups, accuracy


def test_the_joint_group_takes_the_leaky_row():
    """One leaky layer among quiet ones (all records alike): the joint row says what it says."""
    quiet = torch.zeros(2, 256, 16, dtype=torch.float64)
    tokens = torch.cat([quiet, gaussian(256, 16, 71)[None], quiet])
    _, found = measured(tokens, View("v", 4), [[i] for i in range(5)] + [[0, 1, 2, 3, 4]])
    bits = [e.value for e in found["bits"]]
    assert bits[:2] + bits[3:5] == pytest.approx([0.0] * 4, abs=1e-6)
    assert bits[5] == bits[2] > 2.0


def test_rows_do_not_depend_on_their_neighbours():
    first, second = gaussian(256, 16, 72), student(256, 16, 73)
    together = measured(torch.stack([first, second]), View("v", 1, noise_std=2.0), [[0], [1]])[1]["bits"]
    alone = measured(first[None], View("v", 4), [[0]])[1]["bits"]
    beside = measured(torch.stack([first, first]), View("v", 4), [[0], [1]])[1]["bits"]
    assert together[0].value != together[1].value
    assert beside[0].value == pytest.approx(alone[0].value, abs=1e-9)


def test_accuracy_is_that_of_the_best_guess():
    """At 2 of 10 candidates the best guess is right where the nearest candidate is the target."""
    tokens = gaussian(1024, 16, 74)
    accuracy = measured(tokens[None], View("v", 1, noise_std=3.0), [[0]], candidates=10)[1]["accuracy"][0]
    known = gaussian(4000 * 10, 16, 75).view(4000, 10, 16)
    seen = known[:, 0] + 3.0 * gaussian(4000, 16, 76)
    right = (torch.cdist(seen[:, None], known)[:, 0].argmin(1) == 0).double().mean()
    assert accuracy.lo - 0.01 <= float(right) <= accuracy.hi + 0.01
    assert accuracy.null == pytest.approx(0.1)
    assert accuracy.ceiling == 1.0


def test_the_same_seed_gives_the_same_numbers():
    tokens = gaussian(256, 16, 77)
    one, same, other = (identity_bits(tokens, 4, noise=1.0, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert (one.draws == same.draws).all()
    assert one.value != other.value


def test_the_scale_of_tokens_and_noise_cancels():
    tokens = gaussian(256, 16, 78)
    one, scaled = identity_bits(tokens, 4, noise=1.0), identity_bits(1e-6 * tokens, 4, noise=1e-6)
    assert one.value == pytest.approx(scaled.value, rel=1e-3)


def test_the_adversary_is_fitted_and_judged_on_different_records(monkeypatch):
    """Records of the games never overlap those of the fit, nor targets those that hide them."""
    seen, shown = [], identity_family.IdentityGames.shown
    n, k = 320, 4
    tokens = gaussian(n, k, 79)[None]

    def index_of(rows):
        return {int((tokens[0] == row).all(1).nonzero()) for row in rows[0]}

    def watched_fit(known, *rest):
        seen.append({"known": index_of(known.tokens)})
        return fit_likelihood_ratio(known, *rest)

    def watched_shown(table, targets, fillers, *rest):
        seen.append({"candidates": set(targets.tolist()), "pool": set(fillers.tolist())})
        return shown(table, targets, fillers, *rest)

    monkeypatch.setattr(identity_family, "fit_likelihood_ratio", watched_fit)
    monkeypatch.setattr(identity_family.IdentityGames, "shown", watched_shown)
    identity_bits(tokens[0], 4, seed=0)
    known, targets = set(), set()
    for call in seen:
        if "known" in call:
            known = call["known"]
            continue
        targets |= call["candidates"]
        assert not known & call["candidates"]
        assert not known & call["pool"]
        assert not call["candidates"] & call["pool"]
    assert targets == set(range(n))


def test_every_candidate_is_equally_often_the_secret():
    games = draw_games(5, 50, 3, View("v", 3, 2), torch.Generator().manual_seed(0))
    assert torch.bincount(games.secret).tolist() == [3] * 5
    assert games.others.shape == (2, 15, 2)


def spread(n, k):
    """Normal tokens whose directions differ in spread, so that a density has to be learned."""
    return (gaussian(n, k, 1) * torch.linspace(-2.0, 1.0, k, dtype=torch.float64).exp())[None]


def test_a_line_that_more_records_would_raise_is_data_limited():
    """What half of the records lose is found where 64 directions are to be learned from few, not from many of 8."""
    few, many = (measured(spread(n, k), View("v", 8), [[0]], [k], 64)[1]["bits"][0] for n, k in ((400, 64), (4000, 8)))
    assert few.status == "data-limited"
    assert many.status == "ok"


def test_what_half_of_the_records_lose_is_what_the_other_half_gain():
    """The gain is the difference to the game with half as many records of the adversary's own, but for the draws."""
    tokens = spread(1600, 64)
    gain = float(identity.play(Known(tokens, View("v", 8)), [[0]], Effort(64), 0).values[3].mean())
    known = float(identity.play(Known(tokens, View("v", 8)), [[0]], Effort(64), 0).values[0].mean())
    less = float(identity.play(Known(tokens[:, :800], View("v", 8)), [[0]], Effort(64), 0).values[0].mean())
    assert gain == pytest.approx(known - less, abs=0.15)
    assert gain > 0.1
