"""The parts that inversion attacks are made of, held against slow versions that are obviously right."""

import pytest
import torch
from inversion_cases import classes, dense, gradient, granted, pictures, seeded, sigmoid_lenet, update
from torch import nn

from ptaudit.attacks.inversion.batch_norm import mismatch, statistics
from ptaudit.attacks.inversion.grad_inversion import _shifted
from ptaudit.attacks.inversion.inverting_gradients import steps, total_variation
from ptaudit.attacks.inversion.lbfgs import minimise
from ptaudit.attacks.inversion.matching import Clock, Matching, cosine, squared
from ptaudit.attacks.inversion.messages import Budget, SharedGradients
from ptaudit.attacks.inversion.simulation import Simulation
from ptaudit.defenses import PruneDefense, SignDefense
from ptaudit.errors import ModelError
from ptaudit.progress import Silent
from ptaudit.views.view import Update

LIKE = pictures(64, seed=9)


class Looks(nn.Module):
    """Looks at its values, so that it runs under no `vmap`."""

    def __init__(self):
        super().__init__()
        self.inner = dense()

    def forward(self, x):
        return self.inner(x) * (1.0 if float(x.detach().sum()) > -1.0 else 2.0)


def like(model, m=3, rounds=1, **more):
    """Something that is seen, whose numbers do not matter."""
    return SharedGradients({path: p.detach()[None, None].expand(1, rounds, *p.shape) for path, p in
                            model.named_parameters()}, m, **more)  # fmt: skip


def flat(grads):
    return torch.cat([g.flatten() for g in grads.values()])


@pytest.mark.parametrize("model", [dense(), sigmoid_lenet(), Looks()], ids=["dense", "lenet", "looks"])
@pytest.mark.parametrize("local", [1, 3])
def test_a_simulation_is_what_a_batch_shows(model, local):
    x, y = pictures(6).view(2, 3, 1, 12, 12), classes(6).view(2, 3)
    step = Update(local, 0.1) if local > 1 else None
    found = Simulation(like(model, update=step), granted(model, LIKE, labels=y))(x, y)
    for own, a, b in zip(found, x, y):
        true = update(model, a, b, local, 0.1) if local > 1 else gradient(model, a, b)
        assert torch.allclose(own[0], flat(true), atol=2e-5)


def test_a_simulation_clips_and_defends_as_the_view_does():
    model, x, y = dense(), pictures(3)[None], classes(3)[None]
    alone = torch.stack([flat(gradient(model, a[None], b[None])) for a, b in zip(x[0], y[0])])
    norms = alone.norm(dim=1)
    clip = float(norms.median())
    clipped = (alone * (clip / norms.clamp_min(clip))[:, None]).mean(0)
    assert torch.allclose(Simulation(like(model), granted(model, LIKE, clip=clip))(x, y)[0, 0], clipped, atol=1e-6)
    for defense in (SignDefense(name="sign"), PruneDefense(name="prune", ratio=0.8)):
        shown = defense.gradient(alone.mean(0)[None], torch.Generator())[0]
        found = Simulation(like(model), granted(model, LIKE, defense=defense))(x, y)[0, 0]
        assert torch.allclose(found, shown, atol=1e-6)


def test_rounds_of_changing_batches_share_their_first_record():
    model, x, y = dense(), pictures(5)[None], classes(5)[None]
    found = Simulation(like(model, rounds=2), granted(model, LIKE))(x, y)[0]
    for own, index in zip(found, ([0, 1, 2], [0, 3, 4])):
        assert torch.allclose(own, flat(gradient(model, x[0, index], y[0, index])), atol=1e-6)


def test_distances():
    seen = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    assert squared(seen, seen).item() == cosine(seen, seen).item() == 0.0
    assert squared(torch.zeros_like(seen), seen).item() == 1.0
    assert cosine(-seen, seen).item() == pytest.approx(2.0)
    assert cosine(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), seen).item() == pytest.approx(0.5)


def rosenbrock(points):
    return 100 * (points[:, 1] - points[:, 0] ** 2) ** 2 + (1 - points[:, 0]) ** 2


def test_lbfgs_solves_problems_side_by_side_as_it_does_each_alone():
    generator = torch.Generator().manual_seed(0)
    start, scale = torch.randn(3, 2, generator=generator).double(), torch.tensor([1e-3, 1.0, 100.0]).double()

    def solve(some):
        def evaluate(problems, points):
            free = points.clone().requires_grad_()
            value = scale[some][problems] * rosenbrock(free)
            return value.detach(), torch.autograd.grad(value.sum(), free)[0]

        with Clock(Budget(), Silent(), "", 80) as clock:
            return minimise(evaluate, start[some], 80, clock)

    points, values = solve(torch.arange(3))
    assert torch.allclose(points, torch.ones(3, 2).double(), atol=1e-4)
    for i in range(3):
        alone, value = solve(torch.tensor([i]))
        assert torch.allclose(alone[0], points[i], atol=1e-5)
        assert float(value) == pytest.approx(float(values[i]), abs=1e-6)


def test_lbfgs_leaves_what_is_no_number_where_it_is():
    def evaluate(problems, points):
        bad = torch.tensor([float("nan"), 1.0])[problems]
        return bad * points.square().sum(1), bad[:, None] * 2 * points

    with Clock(Budget(), Silent(), "", 20) as clock:
        points, _ = minimise(evaluate, torch.ones(2, 3), 20, clock)
    assert points[0].tolist() == [1.0, 1.0, 1.0]
    assert points[1].abs().max() < 1e-4


def test_statistics_of_batch_norm_layers_are_those_of_each_batch():
    norm = nn.BatchNorm2d(4)
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(400, 5))).eval()
    batches = pictures(6).view(2, 3, 1, 12, 12)
    found = statistics(granted(model, LIKE), batches)
    for place, batch in enumerate(batches):
        given = model[0](batch).transpose(0, 1).flatten(1)
        assert torch.allclose(found["1"][0][place], given.mean(1), atol=1e-6)
        assert torch.allclose(found["1"][1][place], given.var(1, correction=0), atol=1e-6)
    known = granted(model, LIKE, batch_norm={"1": tuple(part.detach()[:, None] for part in found["1"])})
    order = torch.tensor([0, 1])
    assert mismatch(known, batches, order).max() < 1e-5
    assert mismatch(known, batches.roll(1, 0), order).min() > 1e-2


def test_total_variation_is_that_of_neighbours_in_units_of_their_spread():
    known = granted(dense(), LIKE)
    x = torch.arange(12.0).repeat(12, 1)[None, None, None] / 12.0
    assert total_variation(x, known).item() == pytest.approx(1.0 / 12.0 / float(known.space.std), rel=1e-5)


def test_pictures_are_moved_to_where_they_fit():
    pattern = pictures(2, 16)
    moved = torch.stack([pattern[0].roll((2, -1), (1, 2)), pattern[1].roll((-3, 4), (1, 2))])
    assert torch.allclose(_shifted(moved, pattern), pattern, atol=1e-6)


def test_the_rate_falls_to_a_tenth_three_times():
    assert [round(steps(share), 6) for share in (0.0, 0.374, 0.375, 0.63, 0.99)] == [1.0, 1.0, 0.1, 0.01, 0.001]


class Dead(torch.autograd.Function):
    """The same, and no way back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        raise RuntimeError("this way leads nowhere")


class Once(torch.autograd.Function):
    """Doubles, and its way back cannot be gone again."""

    @staticmethod
    def forward(ctx, x):
        return 2.0 * x

    @staticmethod
    def backward(ctx, slope):
        return 2.0 * Dead.apply(slope)


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = dense()

    def forward(self, x):
        return Once.apply(self.inner(x))


def test_a_model_without_second_derivatives_is_refused():
    seen = like(Doubled(), m=1)
    with pytest.raises(ModelError, match="no second derivative"):
        Matching.of(seen, granted(Doubled(), LIKE), 1, cosine, None)
