"""Learned encoders against sketches whose structure is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptaudit.errors import ModelError, PtauditError
from ptaudit.progress import Silent
from ptaudit.sketches.encoders import base
from ptaudit.sketches.encoders.base import ENCODERS, PAST, WIDTH, Encoder

LAYERS, DIM, BATCH = 3, 64, 64

both = pytest.mark.parametrize("name", list(ENCODERS))


@pytest.fixture
def narrow(monkeypatch):
    """Tokens of few numbers."""
    monkeypatch.setattr(base, "WIDTH", 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BASES = torch.linalg.qr(torch.randn(LAYERS, DIM, 6, generator=seeded(1))).Q


def flat(generator: torch.Generator, sizes: float = 2.0) -> Tensor:
    """Sketches in six dimensions of each layer, with heavy tails over decades."""
    size = 10.0 ** (sizes * torch.randn(1, BATCH, 1, generator=generator))
    return size * torch.randn(LAYERS, BATCH, 6, generator=generator) @ BASES.mT


def noise(generator: torch.Generator) -> Tensor:
    return torch.randn(LAYERS, BATCH, DIM, generator=generator)


def curved(generator: torch.Generator) -> Tensor:
    """A curve that winds through all dimensions, so that eight principal components do not hold it."""
    turns = torch.arange(1, DIM // 2 + 1)
    angle = 2 * torch.pi * torch.rand(LAYERS, BATCH, 1, generator=generator) * turns / 8
    return torch.cat([angle.sin(), angle.cos()], -1) / turns.sqrt().repeat(2)


def planted(generator: torch.Generator, layer: int = 1) -> tuple[Tensor, Tensor]:
    """Two classes that one layer tells apart, in a direction of small variance; no other layer does."""
    classes = torch.randint(0, 2, (BATCH,), generator=generator)
    scores = torch.randn(LAYERS, BATCH, 6, generator=generator)
    scores[..., 5] *= 0.3
    scores[layer, :, 5] += 1.2 * (2.0 * classes - 1.0)
    return scores @ BASES.mT + 0.05 * noise(generator), classes


def accuracy(encoder: Encoder) -> list[float]:
    """Of a linear probe by least squares, for every row, on draws it was not fitted to."""

    def drawn(seed: int) -> tuple[Tensor, Tensor]:
        generator = seeded(seed)
        parts = [planted(generator) for _ in range(8)]
        tokens = encoder.encode(torch.cat([x for x, _ in parts], 1)).double()
        return torch.cat([tokens, torch.ones_like(tokens[..., :1])], -1), torch.cat([y for _, y in parts])

    (known, classes), (tokens, truth) = drawn(10), drawn(11)
    found = []
    for mine, theirs in zip(known, tokens):
        probe = torch.linalg.lstsq(mine, 2.0 * classes.double()[:, None] - 1.0, driver="gelsd").solution
        found.append(float(((theirs @ probe)[:, 0].sign() == 2.0 * truth - 1.0).double().mean()))
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@both
def test_a_low_dimensional_family_is_reconstructed_whatever_its_scale(name):
    encoder = Encoder(name, LAYERS, DIM, seed=0)
    found = encoder.fit(lambda g: flat(g), 60, Silent(), "fit")
    assert min(found.explained) > 0.95
    assert found.warning(["*", "a", "b", "c"]) == ""
    assert encoder.encode(flat(seeded(3))).shape == (1 + LAYERS, BATCH, WIDTH)


@both
def test_noise_is_not_explained_beyond_what_so_many_numbers_hold(name, narrow):
    encoder = Encoder(name, LAYERS, DIM, seed=0)
    found = encoder.fit(noise, 60, Silent(), "fit")
    for share, chance in zip(found.explained, found.chance):
        assert share < chance + 0.1
    assert found.chance[0] < 0.05 < found.chance[1] < 0.13
    said = found.warning(["*", "a", "b", "c"])
    assert "reconstructs little" in said
    assert "*" in said


def test_records_learned_by_heart_are_not_explained_on_others():
    generator = seeded(7)
    mine, others = (torch.randn(LAYERS, 40, DIM, generator=generator) for _ in range(2))

    def from_(records: Tensor):
        return lambda g: records[:, torch.randint(40, (BATCH,), generator=g)]

    encoder = Encoder("autoencoder", LAYERS, DIM, seed=0)
    by_heart = encoder.fit(from_(mine), 60, Silent(), "fit")
    honest = Encoder("autoencoder", LAYERS, DIM, seed=0).fit(from_(mine), 60, Silent(), "fit", check=from_(others))
    assert by_heart.explained[0] > 0.9
    assert honest.explained[0] < 0.3


def test_an_autoencoder_bends_where_a_linear_one_cannot(narrow):
    found = Encoder("autoencoder", LAYERS, DIM, seed=0).fit(curved, 400, Silent(), "fit")
    for share, linear in list(zip(found.explained, found.linear))[1:]:
        assert 1.0 - share < 0.7 * (1.0 - linear)


@both
def test_a_planted_class_is_in_its_layer_and_in_all_layers_and_nowhere_else(name):
    encoder = Encoder(name, LAYERS, DIM, seed=0)
    encoder.fit(lambda g: planted(g)[0], 60, Silent(), "fit")
    joint, first, second, third = accuracy(encoder)
    assert joint > 0.9
    assert second > 0.9
    assert max(first, third) < 0.6


@both
def test_a_row_depends_on_its_own_layer_alone(name):
    encoder = Encoder(name, LAYERS, DIM, seed=0)
    encoder.fit(lambda g: planted(g)[0], 40, Silent(), "fit")
    x = planted(seeded(3))[0]
    other = x.clone()
    other[1:] = 100.0 * noise(seeded(4))[1:]
    before, after = encoder.encode(x), encoder.encode(other)
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])
    assert not torch.equal(before[0], after[0])


@both
def test_a_killed_run_goes_on_to_the_same_bytes(name):
    whole, killed = Encoder(name, LAYERS, DIM, seed=5), Encoder(name, LAYERS, DIM, seed=5)
    whole.fit(flat, 40, Silent(), "fit")
    killed.fit(flat, 40, Silent(), "fit")
    assert same(whole.state(), killed.state())
    resumed = Encoder(name, LAYERS, DIM, seed=5)
    resumed.load(killed.state())
    x = flat(seeded(9))
    assert torch.equal(resumed.encode(x), whole.encode(x))
    for encoder in (whole, resumed):
        encoder.fit(lambda g: planted(g)[0], 40, Silent(), "fit")
    assert same(whole.state(), resumed.state())
    assert torch.equal(resumed.encode(x), whole.encode(x))
    assert not same(whole.state(), killed.state())


@both
def test_seeds_differ_and_the_state_survives_a_file(name, tmp_path):
    from safetensors.torch import load_file, save_file

    one, other = Encoder(name, LAYERS, DIM, seed=0), Encoder(name, LAYERS, DIM, seed=1)
    for encoder in (one, other):
        encoder.fit(flat, 20, Silent(), "fit")
    assert not same(one.state(), other.state())
    save_file(one.state(), tmp_path / "encoder.safetensors")
    fresh = Encoder(name, LAYERS, DIM, seed=0)
    fresh.load(load_file(tmp_path / "encoder.safetensors"))
    assert same(fresh.state(), one.state())


@both
def test_nothing_is_learned_from_records_of_others(name):
    """The encoder is a function of what `draw` gives: all other records may be anything."""
    generator = seeded(2)
    records = torch.randn(LAYERS, 200, DIM, generator=generator)
    changed = records.clone()
    changed[:, 100:] *= 1e6
    states = []
    for all_ in (records, changed):
        encoder = Encoder(name, LAYERS, DIM, seed=0)
        encoder.fit(lambda g, all_=all_: all_[:, torch.randint(100, (BATCH,), generator=g)], 20, Silent(), "fit")
        states.append(encoder.state())
    assert same(*states)


@both
def test_a_second_epoch_goes_on_from_the_first(name, narrow):
    """Untrained for a second time, the weights stay where the linear start is no better than they are."""
    encoder = Encoder(name, LAYERS, DIM, seed=0)
    encoder.fit(curved, 300, Silent(), "fit")
    before = encoder.state()
    again = encoder.fit(curved, 0, Silent(), "fit")
    assert again.restarted == 0
    assert again.steps == 0
    assert all(torch.equal(before[key], encoder.state()[key]) for key in before if key.startswith("network."))
    changed = encoder.fit(flat, 0, Silent(), "fit")
    assert changed.restarted == 1 + LAYERS


def test_memory_of_past_epochs_is_bounded_and_used(narrow):
    encoder = Encoder("autoencoder", LAYERS, DIM, seed=0)
    sizes = []
    for _ in range(PAST + 3):
        encoder.fit(curved, 1, Silent(), "fit")
        sizes.append(len(encoder.state()["past"]))
    assert sizes == [*range(1, PAST + 1), *[PAST] * 3]
    state = encoder.state()
    forgetful = Encoder("autoencoder", LAYERS, DIM, seed=0)
    forgetful.load({**state, "past": torch.zeros_like(state["past"])})
    for one in (encoder, forgetful):
        one.fit(curved, 20, Silent(), "fit")
    weights = "network.single.encoder"
    assert not torch.equal(encoder.state()[weights], forgetful.state()[weights])


def test_progress_is_told_of_every_step_and_ends_early():
    class Counting(Silent):
        steps = 0

        def task(self, description, total=None):
            outer, task = self, super().task(description, total)
            assert (description, total) == ("fit", 400)

            def advance(steps=1, note=None):
                outer.steps += steps

            task.advance = advance
            return task

    progress = Counting()
    found = Encoder("autoencoder", LAYERS, DIM, seed=0).fit(flat, None, progress, "fit")
    assert progress.steps == found.steps
    assert 0 < found.steps < 400


@both
@pytest.mark.parametrize(("layers", "dim"), [(1, 16), (2, 4)])
def test_small_sketches_and_single_layers(name, layers, dim):
    encoder = Encoder(name, layers, dim, seed=0)
    found = encoder.fit(lambda g: torch.randn(layers, 32, dim, generator=g), 20, Silent(), "fit")
    assert found.explained[1] > 0.99  # there is room for all of it
    assert encoder.encode(torch.randn(layers, 5, dim, generator=seeded(1))).isfinite().all()


@both
def test_a_layer_without_variation_says_so_and_hurts_no_other(name):
    def dead(g: torch.Generator) -> Tensor:
        x = flat(g)
        x[1] = 0.0
        return x

    encoder = Encoder(name, LAYERS, DIM, seed=0)
    found = encoder.fit(dead, 40, Silent(), "fit")
    assert found.explained[2] != found.explained[2]  # NaN
    assert min(found.explained[i] for i in (0, 1, 3)) > 0.95
    assert "The gradient of b does not vary" in found.warning(["*", "a", "b", "c"])
    assert encoder.encode(dead(seeded(1)))[2].std(0).max() < 1e-5


def test_what_cannot_be_learned_from_is_refused():
    encoder = Encoder("autoencoder", LAYERS, DIM, seed=0)
    with pytest.raises(RuntimeError, match="fit"):
        encoder.encode(flat(seeded(0)))
    with pytest.raises(ModelError, match="not finite"):
        encoder.fit(lambda g: flat(g) * torch.nan, 1, Silent(), "fit")
    with pytest.raises(ValueError, match="autoencoder, transformer"):
        Encoder("sketch", LAYERS, DIM, seed=0)
    with pytest.raises(PtauditError, match="does not fit"):
        encoder.load(Encoder("autoencoder", LAYERS + 1, DIM, seed=0).state())
    with pytest.raises(PtauditError, match="does not fit"):
        encoder.load(Encoder("transformer", LAYERS, DIM, seed=0).state())


def test_a_record_that_is_not_finite_spoils_its_own_token_alone():
    encoder = Encoder("autoencoder", LAYERS, DIM, seed=0)
    encoder.fit(flat, 20, Silent(), "fit")
    x = flat(seeded(1))
    clean = encoder.encode(x)
    x[0, 3, 5] = torch.inf
    spoilt = encoder.encode(x)
    rest = torch.arange(BATCH) != 3
    assert torch.equal(spoilt[:, rest], clean[:, rest])
    assert spoilt[:2, 3].isnan().all()
    assert torch.equal(spoilt[2:, 3], clean[2:, 3])


@pytest.mark.gpu
@both
def test_on_a_gpu_it_is_nearly_the_same(name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = []
    for device in ("cpu", "cuda"):
        encoder = Encoder(name, LAYERS, DIM, seed=0, device=device)
        fitted = encoder.fit(lambda g: planted(g)[0], 40, Silent(), "fit")
        tokens = encoder.encode(planted(seeded(3))[0])
        assert tokens.device.type == device
        assert all(value.device.type == "cpu" for value in encoder.state().values())
        found.append((torch.tensor(fitted.explained), tokens.cpu()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0.02)
