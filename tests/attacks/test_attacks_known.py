"""Known answers with the structure of gradients: a ReLU network, one-hot records, populations that are enumerated."""

import functools
import math

import pytest
import torch
from network_games import Read, exact_bits, explicit, measured, read, tabular

from ptaudit.gradients import Dense, Factors
from ptaudit.gradients.matrices import BatchSums
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation

N = 1024


@functools.cache
def population(levels, classes, hidden=16):
    """Gradients of all types of records."""
    return read(*tabular(levels, classes, hidden=hidden))


def sample(levels, classes, skew=0.5, n=N, seed=5):
    """Records drawn from the types, whose chances differ; the chances."""
    types = population(levels, classes)
    generator = torch.Generator().manual_seed(seed)
    kinds = types.values.shape[1]
    chance = torch.softmax(skew * torch.randn(kinds, generator=generator, dtype=torch.float64), 0)
    return types.at(torch.multinomial(chance, n, True, generator=generator)), chance


LARGE = (8, 8, 4, 4)
"""2,048 types of records with two labels."""


def test_the_enumerated_posterior_is_that_of_the_types_seen():
    """Where noise is small, the enumeration is the closed form: a type's share of the batch over its chance."""
    types = population((3, 2, 2), 2)
    chance = torch.softmax(torch.randn(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0)
    noise = 1e-3 * float(types.norms.median())
    quiet, noisy = (exact_bits(explicit(types), chance, 64, 3, std) for std in (0.0, noise))
    assert noisy == pytest.approx(quiet, abs=1e-6)
    loud = exact_bits(explicit(types), chance, 64, 3, 300 * noise)
    assert 0.05 < loud < 0.8 * quiet


@pytest.mark.parametrize("m", [pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow), 8])
def test_nearly_all_that_the_exact_posterior_finds(m):
    """Without noise, and with that of a ten-thousandth of a record: 95 % of what the types in a batch tell."""
    records, chance = sample(LARGE, 2)
    exact = exact_bits(chance[:, None], chance, 256, m, 0.0, games=4000)
    for noise in (0.0, 1e-4 * float(records.norms.median())):
        joint, first, _ = measured(records, m, noise)
        assert joint.value >= 0.95 * exact, (joint, exact)
        assert first.value >= 0.95 * exact
        assert joint.lo <= exact + 0.05 * exact
        assert abs(joint.null) < 0.03


def test_nearly_all_that_the_exact_posterior_finds_under_noise():
    """Every possible other record is enumerated: 512 types, noise of a hundredth of a record."""
    records, chance = sample((8, 8, 4), 2)
    types = population((8, 8, 4), 2)
    noise = 0.01 * float(records.norms.median())
    exact = exact_bits(explicit(types), chance, 256, 2, noise)
    found = measured(records, 2, noise)[0]
    assert found.value >= 0.95 * exact
    assert found.lo <= 1.03 * exact


@pytest.mark.parametrize("m", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_few_types_that_repeat(m):
    """64 types: what is left is how often each type is there over its chance, of which the family knows a part."""
    records, chance = sample((4, 4, 2), 2)
    exact = exact_bits(chance[:, None], chance, 256, m, 0.0, games=4000)
    assert 0.9 * exact <= measured(records, m)[0].value <= 1.05 * exact


@pytest.mark.parametrize("m", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_a_vanishing_noise_reaches_the_clipped_noiseless_view(m):
    records, _ = sample(LARGE, 2)
    clip = float(records.norms.median())
    quiet = measured(records, m, 0.0, clip)
    found = [measured(records, m, sigma * clip, clip) for sigma in (1e-6, 1e-3, 0.1)]
    for line in (0, 1):
        small, middle, large = (one[line].value for one in found)
        assert small == pytest.approx(quiet[line].value, abs=0.1)
        assert large < middle - 1.0 < small


def test_without_algebra_next_to_nothing_of_it_is_found():
    """What the test above can tell: sketches alone fail it."""
    records, chance = sample(LARGE, 2)
    exact = exact_bits(chance[:, None], chance, 256, 8, 0.0, games=4000)
    assert measured(records, 8, algebra=False)[0].value < 0.7 * exact


@pytest.mark.parametrize(
    ("m", "noise"),
    [(8, 0.0), pytest.param(16, 0.0, marks=pytest.mark.slow), pytest.param(8, 3e-3, marks=pytest.mark.slow)],
)
def test_a_layer_that_is_there_ten_times_changes_nothing(m, noise):
    """At m = 16 there are as many terms as units, and the span says little: uncertain scores must not add up."""
    records, _ = sample(LARGE, 2, n=512)
    noise *= float(records.norms.median())
    many = records.only([0] * 10 + [1])
    few = measured(records, m, noise)[0]
    assert measured(many, m, noise)[0].value == pytest.approx(few.value, abs=0.05)
    assert few.value > 0.3


# Nothing to find


class Fresh:
    """An observation of batches whose first record, the target, is another one than the game says: nothing to find."""

    random = False

    def __init__(self, records, noise=0.0):
        tokens = Joint.of(records.values).rows(records.values)
        self._observation = TokenObservation(tokens, noise, BatchSums(records.kept, noise))

    def _swapped(self, members):
        """The records of an audit are the first half; a stranger of the second comes in, another one for each batch."""
        half = self._observation.tokens.shape[1] // 2
        stranger = (members * torch.arange(31, 31 + members.shape[1])).sum(1) % half
        return torch.cat([half + stranger[:, None], members[:, 1:]], 1)

    def observe(self, members, generator):
        return self._observation.observe(self._swapped(members), generator)

    def read(self, members, generator):
        return self._observation.read(self._swapped(members), generator)


@pytest.mark.parametrize("m", [2, 8])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_target_replaced_by_a_fresh_record_gives_nothing(seed, m):
    """In the adversary's own games and in the reported ones, to sketches and to matrices."""
    records, _ = sample(LARGE, 2, n=1024, seed=10 + seed)
    asked = records.at(torch.arange(512))
    for found in measured(asked, m, seed=seed, observation=Fresh(records), candidates=128):
        assert found.lo <= 0.01
        assert found.value < 0.06


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("m", [2, 8])
def test_shuffled_secrets_give_nothing(seed, m):
    records, _ = sample(LARGE, 2, n=512, seed=20 + seed)
    for found in measured(records, m, seed=seed):
        assert -0.05 < found.null < 0.02


@pytest.mark.parametrize("m", [4, 8])
def test_records_that_are_all_alike_give_nothing(m):
    records = population(LARGE, 2).at(torch.zeros(512, dtype=torch.long))
    for found in measured(records, m):
        assert found.value == pytest.approx(0.0, abs=0.005)
        assert found.lo <= 0.0


@pytest.mark.parametrize("m", [2, 8])
def test_layers_without_a_gradient_give_nothing(m):
    """Beside one that has one."""
    zero = [Factors(torch.zeros(512, 1, 9), torch.zeros(512, 1, 12))], [Dense(torch.zeros(512, 1, 30))]
    records, _ = sample(LARGE, 2, n=512)
    values = torch.cat([records.values[:1], torch.zeros(2, *records.values.shape[1:])])
    found = measured(Read(values, [records.kept[0], *zero], records.norms), m)
    assert found[0].value == pytest.approx(found[1].value, abs=0.1)
    assert all(one.value == pytest.approx(0.0, abs=0.005) for one in found[2:])


# Intervals


@pytest.mark.slow
@pytest.mark.parametrize(("m", "sigma"), [(8, 0.0), (16, 0.0), (4, 0.1)])
def test_intervals_cover(m, sigma):
    """Samples of 512 records; the truth is the mean over all samples of that size."""
    found = []
    for seed in range(120):
        records, _ = sample(LARGE, 2, n=512, seed=100 + seed)
        found.append(measured(records, m, sigma * float(records.norms.median()), seed=seed, candidates=64)[0])
    values = torch.tensor([one.value for one in found])
    truth = float(values.mean())
    covered = sum(one.lo <= truth <= one.hi for one in found) / len(found)
    # 93 % less two standard errors of a share of 120.
    assert covered >= 0.93 - 2.0 * math.sqrt(0.07 * 0.93 / 120), (covered, truth, float(values.std()))
