"""The attribute game, input form: exact without noise, a Gaussian channel with it, baselines, false beliefs."""

import math

import numpy as np
import pytest
import torch
from identity_truth import gaussian, student
from inference_truth import SignObservation, channel_bits
from input_attribute_case import N, bits, coins, measured, moved, own

from ptaudit.attacks.imputation import impute
from ptaudit.games.attribute.known_rest import Counterfactuals
from ptaudit.games.common import batch_secret as inference
from ptaudit.views.observation import TokenObservation


class Logistic:
    """Logistic regression on numbers and a field of three levels; its gradients, without a sketch."""

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.numbers = torch.randn(n, 6, generator=generator, dtype=torch.float64)
        self.field = torch.randint(3, (n,), generator=generator)
        self.label = torch.randint(2, (n,), generator=generator)
        self.model = torch.nn.Linear(9, 2).double()
        with torch.no_grad():
            self.model.weight.copy_(torch.randn(2, 9, generator=generator, dtype=torch.float64))
            self.model.bias.zero_()

    def candidates(self, late=0.0):
        """Gradient of every record with each level, `(3, 1, N, 20)`; `late` moves the weights."""
        state = {
            name: w + late * torch.sin(torch.arange(w.numel())).view_as(w) for name, w in self.model.named_parameters()
        }

        def loss(parameters, x, y):
            logits = torch.func.functional_call(self.model, parameters, (x,))
            return torch.nn.functional.cross_entropy(logits, y)

        found = []
        for level in range(3):
            column = torch.nn.functional.one_hot(torch.full_like(self.field, level), 3).double()
            x = torch.cat([self.numbers, column], 1)
            gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(state, x, self.label)
            found.append(torch.cat([gradients["weight"].flatten(1), gradients["bias"]], 1))
        return torch.stack(found)[:, None].detach()


# Known answers


def test_a_single_record_gives_its_field_back_exactly():
    data = Logistic(N, 0)
    found = measured(data.candidates(), data.field)["likelihood-ratio"]
    assert found["bits"][0].ceiling == pytest.approx(math.log2(3), abs=1e-6)
    assert found["bits"][0].value == pytest.approx(math.log2(3), abs=1e-6)
    assert found["accuracy"][0].value == 1.0
    assert found["accuracy"][0].null == pytest.approx(1 / 3, abs=0.03)
    assert found["auc"][0].value == 1.0


def test_a_field_that_the_gradient_does_not_see_gives_nothing():
    tokens = gaussian(N, 16, 2)
    found = bits(torch.stack([tokens, tokens])[:, None], coins())
    assert found.value == 0.0
    assert found.hi < 0.01


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noise_makes_it_a_gaussian_channel_of_two_points(noise):
    data = Logistic(N, 1)
    candidates = data.candidates()[:2]
    secret = coins()
    apart = torch.linalg.vector_norm(candidates[1] - candidates[0], dim=-1)[0] / noise
    curve = np.array([channel_bits(d) for d in np.linspace(0.0, 12.0, 49)])
    expected = float(np.interp(apart.numpy(), np.linspace(0.0, 12.0, 49), curve).mean())
    found = bits(candidates, secret, noise=noise)
    assert found.value == pytest.approx(expected, abs=0.04)
    assert found.lo <= expected <= found.hi + 0.02


@pytest.mark.parametrize(("m", "noise"), [(2, 0.0), (8, 0.0), (8, 3.0), (32, 0.0)])
def test_other_records_make_it_a_gaussian_channel_too(m, noise):
    scale = math.sqrt(m - 1 + noise**2)
    candidates = moved(gaussian(N, 32, 3), 2.0 * scale)
    secret = coins()
    spread = math.sqrt(float(own(candidates, secret)[0].var(0).mean()) * (m - 1) + noise**2)
    expected = channel_bits(2.0 * scale / spread)
    found = bits(candidates, secret, m, noise)
    assert found.lo <= expected
    assert found.value >= 0.85 * expected
    assert found.value <= expected + 0.05


def test_heavy_tails_hide_less():
    """The scatter of Student-t tokens is larger than what hides a record most of the time."""
    tokens = student(N, 32, 4, df=3)
    candidates = moved(tokens, 6.0)
    secret = coins()
    spread = math.sqrt(float(own(candidates, secret)[0].var(0).mean()) * 3)
    assert bits(candidates, secret, 4).value > channel_bits(6.0 / spread)


def test_rounds_tell_more_unless_the_batch_is_fixed():
    candidates, secret = moved(gaussian(N, 32, 5), 4.0), coins()
    one = bits(candidates, secret, 8)
    four = bits(candidates, secret, 8, rounds=4)
    fixed = bits(candidates, secret, 8, rounds=4, fixed=True)
    assert four.lo > one.hi
    assert fixed.value == pytest.approx(one.value, abs=1e-9)


# What can be guessed without the gradient


def test_a_field_that_the_rest_of_the_record_determines_gains_nothing():
    data = Logistic(N, 6)
    rest = np.concatenate([data.numbers.numpy(), np.eye(3)[data.field.numpy()], data.label[:, None].numpy()], 1)
    prior = torch.from_numpy(impute(rest, data.field.numpy()))
    found = measured(data.candidates(), data.field, prior=prior)["likelihood-ratio"]
    assert found["bits"][0].ceiling < 0.01
    assert found["bits"][0].hi < 0.01
    assert found["gain"][0].value < 0.005
    assert found["accuracy"][0].null > 0.99


def test_only_what_the_rest_leaves_open_counts():
    data = Logistic(N, 7)
    hint = torch.where(torch.rand(N, generator=torch.Generator().manual_seed(8)) < 0.7, data.field, 0)
    rest = np.concatenate([np.eye(3)[hint.numpy()], data.label[:, None].numpy()], 1)
    prior = torch.from_numpy(impute(rest, data.field.numpy()))
    left = float(-prior[torch.arange(N), data.field].log2().mean())
    found = bits(data.candidates(), data.field, prior=prior)
    assert 0.3 < left < 1.2
    assert found.value == pytest.approx(left, abs=0.03)


@pytest.mark.parametrize(("m", "noise"), [(1, 1.0), (8, 0.0)])
def test_values_that_are_not_those_of_the_records_give_nothing(m, noise):
    """The batches hold other values than the ones asked for."""
    candidates = moved(gaussian(N, 16, 9), 3.0 * math.sqrt(m))
    real = TokenObservation(own(candidates, coins(seed=1)), noise)
    for seed in range(3):
        found = bits(candidates, coins(seed=10 + seed), m, noise, now=real)
        assert found.value < 0.02
        assert abs(found.null) < 0.05


# What the adversary believes


def test_late_weights_tell_less_and_more_with_less_delay():
    data = Logistic(N, 11)
    exact = data.candidates()
    now = TokenObservation(own(exact, data.field), 0.3)
    found = []
    for late in (0.0, 0.5, 3.0):
        candidates = data.candidates(late)
        observation = TokenObservation(own(candidates, data.field), 0.3)
        knows = Counterfactuals(observation, candidates, noise_std=0.3)
        late = measured(exact, data.field, noise=0.3, now=now, known=knows)
        found.append(late["late-likelihood-ratio"]["bits"][0].value)
    assert found[0] > found[1] - 0.01
    assert found[0] > found[2] + 0.05


@pytest.mark.parametrize("m", [1, 4])
def test_who_knows_of_no_noise_is_wrong_about_it(m):
    candidates, secret = moved(gaussian(N, 16, 12), 2.0), coins()
    now = TokenObservation(own(candidates, secret), 4.0)
    plain = Counterfactuals(TokenObservation(own(candidates, secret)), candidates)
    found = measured(candidates, secret, m, 4.0, now=now, plain=plain)
    static, adaptive = (found[name]["bits"][0] for name in ("static-likelihood-ratio", "likelihood-ratio"))
    assert static.value < 0.0
    assert adaptive.lo >= 0.0
    assert adaptive.value > static.value
    assert found["static-likelihood-ratio"]["accuracy"][0].value > 0.5


def test_under_signs_she_who_knows_finds_how_much_of_a_record_is_seen():
    candidates, secret = moved(gaussian(N, 32, 13), 8.0), coins()
    tokens = own(candidates, secret)
    now = SignObservation(tokens, 0.01)
    found = measured(
        candidates,
        secret,
        4,
        now=now,
        known=Counterfactuals(now, candidates, linear=False),
        plain=Counterfactuals(TokenObservation(tokens), candidates),
    )
    adaptive, static = (found[name]["bits"][0] for name in ("likelihood-ratio", "static-likelihood-ratio"))
    assert adaptive.lo > 0.1
    assert static.value < adaptive.value - 0.05


# Bad input


def test_missing_values_are_no_targets():
    candidates, secret = moved(gaussian(N, 16, 14), 4.0), coins()
    tokens = own(candidates, secret)
    missing = torch.where(torch.arange(N) % 5 == 0, -1, secret)
    now = TokenObservation(tokens)
    found = bits(candidates, missing, 2, now=now, known=Counterfactuals(now, candidates))
    assert found.n == N * 4 // 5
    assert found.value > 0.5


@pytest.mark.parametrize(
    ("m", "secret", "words"),
    [(64, coins(), "needs 1280 records"), (1, torch.zeros(1000, dtype=torch.long), "one value")],
)
def test_inconclusive_with_the_reason(m, secret, words):
    secret = secret[:1000]
    candidates = moved(gaussian(1000, 8, 15), 1.0)
    for name, metrics in measured(
        candidates, secret, m, plain=Counterfactuals(TokenObservation(own(candidates, secret)), candidates)
    ).items():
        assert name.endswith("likelihood-ratio")
        assert tuple(metrics) == inference.METRICS
        assert not metrics["bits"][0].conclusive
        assert words in metrics["bits"][0].status


def test_tokens_that_are_not_finite_are_inconclusive():
    candidates, secret = moved(gaussian(N, 8, 16), 1.0), coins()
    alone = candidates.clone()
    alone[1, 0, 3, 2] = math.inf
    assert "not finite" in bits(alone, secret).status
    now = TokenObservation(own(candidates, secret))
    known = Counterfactuals(now, candidates, linear=False, alone=alone)
    assert "not finite" in bits(candidates, secret, now=now, known=known).status
