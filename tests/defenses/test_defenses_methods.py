"""What each defense does, against a slow version of itself."""

import math

import pytest
import torch
from torch import nn

from ptaudit.defenses.dropout.modules import dropping, last_linear
from ptaudit.defenses.dropout.settings import DropoutDefense
from ptaudit.defenses.label_dp import LabelDpDefense
from ptaudit.defenses.perturb.probe import fit_probe
from ptaudit.defenses.perturb.settings import PerturbDefense
from ptaudit.defenses.prune import PruneDefense
from ptaudit.defenses.sign import SignDefense
from ptaudit.defenses.vib.settings import VibDefense
from ptaudit.errors import ModelError
from ptaudit.stats.randomised_response import response_table


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradients(n=12, d=301, seed=0):
    return torch.randn(n, d, generator=seeded(seed))


def prune(given, ratio):
    return PruneDefense(name="prune", ratio=ratio).gradient(given, seeded())


def signs(given):
    return SignDefense(name="sign").gradient(given, seeded())


def perturb(size, gradients, secret):
    return PerturbDefense(name="perturb", size=size).with_probe(gradients, secret)


def slow_prune(row, count):
    order = sorted(range(len(row)), key=lambda i: (abs(float(row[i])), i))
    kept = row.clone()
    kept[order[:count]] = 0.0
    return kept


@pytest.mark.parametrize("ratio", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_pruning_keeps_exactly_the_largest(ratio):
    given = gradients()
    found = prune(given, ratio)
    count = round(ratio * given.shape[1])
    assert ((found == 0).sum(1) == count).all()
    assert torch.equal(found, torch.stack([slow_prune(row, count) for row in given]))


def test_of_equal_magnitudes_exactly_as_many_go_as_have_to():
    given = torch.tensor([[1.0, -1.0, 2.0, 1.0, 0.5, -1.0], [3.0, 1.0, 2.0, 4.0, 5.0, 6.0]])
    found = prune(given, 0.5)
    assert found.tolist() == [[0.0, 0.0, 2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.0, 4.0, 5.0, 6.0]]
    assert prune(torch.tensor([[1.0, -1.0, 2.0]]), 0.3).tolist() == [[0.0, -1.0, 2.0]]
    coarse = gradients(d=200).mul(3).round()
    assert torch.equal(prune(coarse, 0.83), torch.stack([slow_prune(row, 166) for row in coarse]))


def test_pruning_a_gradient_of_many_zeros():
    given = gradients(d=200) * (torch.rand(12, 200, generator=seeded(1)) < 0.3)
    assert torch.equal(prune(given, 0.5), given)
    both = torch.cat([given, gradients(d=200, seed=2)])
    assert torch.equal(prune(both, 0.9), torch.stack([slow_prune(row, 180) for row in both]))


def test_pruning_does_not_change_what_it_is_given():
    given = gradients()
    before = given.clone()
    prune(given, 0.5)
    assert torch.equal(given, before)


def test_signs_do_not_depend_on_magnitudes():
    given = gradients()
    scale = torch.rand(given.shape, generator=seeded(1)) + 0.1
    assert torch.equal(signs(given), signs(given * scale))
    assert torch.equal(signs(-given), -signs(given))
    assert signs(torch.tensor([[0.0, -2.0, 1e-30]])).tolist() == [[0.0, -1.0, 1.0]]


def planted(n, d=200, classes=2, seed=0):
    """Gradients whose mean depends on a secret."""
    draw = seeded(seed)
    secret = torch.randint(classes, (n,), generator=draw)
    means = 0.4 * torch.randn(classes, d, generator=seeded(99))
    return torch.randn(n, d, generator=draw) + means[secret] + 1.0, secret


@pytest.mark.parametrize("classes", [2, 4])
def test_perturbation_fools_the_probe_and_others(classes):
    defense = perturb(0.5, *planted(300, classes=classes, seed=1))
    given, secret = planted(400, classes=classes, seed=2)
    moved = defense.gradient(given, seeded())
    other = fit_probe(*planted(300, classes=classes, seed=3))  # an adversary's own probe
    for probe, high in ((defense._probe, 0.9), (other, 0.85)):
        before, after = (float((probe.scores(g).argmax(1) == secret).float().mean()) for g in (given, moved))
        assert before > high
        assert after < before / 2


def test_perturbation_has_its_size_and_direction():
    defense = perturb(0.25, *planted(200, classes=3, seed=4))
    given, _ = planted(20, classes=3, seed=5)
    moved = defense.gradient(given, seeded()) - given
    torch.testing.assert_close(moved.norm(dim=1), 0.25 * given.norm(dim=1))
    leaf = given.double().requires_grad_()
    scores = leaf @ defense._probe.weight.double().T + defense._probe.bias.double()
    loss = nn.functional.cross_entropy(scores, scores.argmax(1), reduction="sum")
    (slope,) = torch.autograd.grad(loss, leaf)
    cosine = nn.functional.cosine_similarity(moved.double(), slope)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=1e-4, rtol=0)


def test_a_sure_probe_still_has_a_direction():
    defense = perturb(0.1, *planted(100, seed=6))
    probe = defense._probe
    far = 1e4 * probe.weight[1:]
    moved = defense.gradient(far, seeded()) - far
    assert float(moved.norm()) == pytest.approx(0.1 * float(far.norm()), rel=1e-3)
    assert float(probe.scores(far + moved)[0, 1] - probe.scores(far)[0, 1]) < 0


def test_the_probe_is_that_of_logistic_regression_in_all_coordinates():
    from sklearn.linear_model import LogisticRegression

    given, secret = planted(60, d=300, seed=7)
    centred = given - given.mean(0)
    scale = centred.norm() / math.sqrt(60)
    fitted = fit_probe(given, secret)
    distances = []
    for free in (0.1, 10.0, 1000.0):
        plain = LogisticRegression(C=free, max_iter=5000, tol=1e-8).fit((centred / scale).numpy(), secret.numpy())
        expected = torch.from_numpy(plain.decision_function((centred / scale).numpy())).float()
        found = fitted.scores(given)[:, 1] - fitted.scores(given)[:, 0]
        distances.append(float((found - expected).norm() / expected.norm()))
    assert min(distances) < 0.05


def test_a_class_that_the_defender_never_saw_is_never_guessed():
    given, secret = planted(80, seed=8)
    defense = perturb(0.1, given, 2 * secret)
    assert defense._probe.scores(given).argmax(1).unique().tolist() == [0, 2]
    assert defense.gradient(given, seeded()).isfinite().all()


def test_a_probe_that_finds_no_difference_moves_nothing():
    given, secret = planted(20)
    nothing = (
        (given, torch.zeros(20, dtype=torch.long)),
        (given[:1].expand(20, -1), secret),
        (given * torch.inf, secret),
    )
    for examples in nothing:
        assert torch.equal(perturb(0.1, *examples).gradient(given, seeded()), given)


def test_gradients_that_are_not_finite_are_left_out_of_the_probe():
    given, secret = planted(40)
    broken = given.clone()
    broken[::7] = torch.nan
    found, kept = fit_probe(broken, secret), [i for i in range(40) if i % 7]
    assert torch.equal(found.weight, fit_probe(given[kept], secret[kept]).weight)


def test_a_perturbation_without_a_probe_defends_nothing_silently():
    with pytest.raises(RuntimeError, match="prepared"):
        PerturbDefense(name="perturb").gradient(gradients(), seeded())


def test_labels_are_randomised_with_the_probabilities_of_the_table():
    defense = LabelDpDefense(name="label_dp", epsilon=1.0).with_prior(0.5, 0.3, 0.2)
    targets = torch.arange(3).repeat(10_000, 4)
    shown = defense.labels(targets, seeded())
    assert shown.shape == targets.shape
    assert shown.dtype == targets.dtype
    found = torch.stack([torch.bincount(shown[targets == y], minlength=3) / 40_000 for y in range(3)])
    table = torch.from_numpy(response_table((0.5, 0.3, 0.2), 1.0))
    torch.testing.assert_close(found.double(), table, atol=0.01, rtol=0)
    assert torch.equal(defense.labels(targets, seeded()), shown)


def test_label_dp_never_shows_a_label_of_no_probability():
    shown = (
        LabelDpDefense(name="label_dp", epsilon=0.5)
        .with_prior(0.0, 1.0, 0.0)
        .labels(torch.arange(3).repeat(500)[None], seeded())
    )
    assert shown.unique().tolist() == [1]


def test_defenses_say_what_they_cannot_defend():
    linear, conv = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), nn.Conv2d(1, 2, 2)
    dropout = DropoutDefense(name="dropout", rate=0.5)
    assert dropout.why_not(linear, 2) == ""
    assert "linear layer" in dropout.why_not(conv, 2)
    assert dropout.why_not(nn.Sequential(conv, nn.Dropout2d()), 2) == ""
    assert "class" in LabelDpDefense(name="label_dp", epsilon=1.0).why_not(linear, None)
    assert "not trained with" in VibDefense(name="vib", beta=1.0).why_not(linear, 2)
    assert SignDefense(name="sign").why_not(linear, None) == ""


class Net(nn.Module):
    def __init__(self, own=False, last=True):
        super().__init__()
        self.fc1, self.drop, self.fc2 = nn.Linear(50, 400), nn.Dropout(0.1) if own else nn.Identity(), nn.Linear(400, 2)
        self.last, self.features = last, None

    def forward(self, x):
        x = self.drop(torch.ones_like(self.fc1(x)))
        return self.fc2(x) if self.last else nn.functional.linear(x, self.fc2.weight)


def dropped_features(model, rate, seed=0):
    """What reaches the last layer."""
    seen = []
    model.eval()
    with dropping(model, rate):
        handle = model.fc2.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
        torch.manual_seed(seed)
        model(torch.randn(30, 50))
        handle.remove()
    return seen[0]


@pytest.mark.parametrize("own", [False, True])
def test_features_are_dropped_once_at_the_rate(own):
    model = Net(own)
    seen = dropped_features(model, 0.4)
    assert seen.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert float((seen == 0).float().mean()) == pytest.approx(0.4, abs=0.02)
    assert not torch.equal(seen[0], seen[1])
    assert not any(module.training for module in model.modules())
    assert getattr(model.drop, "p", 0.1) == 0.1
    assert not model.fc2._forward_pre_hooks
    assert not model.drop._forward_hooks


def test_dropout_without_a_place_is_an_error():
    model = Net(last=False)
    with pytest.raises(ModelError, match="not called as a module"), dropping(model, 0.5):
        model(torch.randn(3, 50))


def test_the_last_linear_layer_is_none_inside_of_another():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert last_linear(layer) is layer.linear2
    assert last_linear(nn.MultiheadAttention(8, 2)) is None
    head = nn.Linear(4, 2)
    head.add_module("inside", nn.Linear(4, 4))
    assert last_linear(nn.Sequential(nn.Linear(3, 4), head)) is head
