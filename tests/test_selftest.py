"""Known answers are found, and each case misses when what it measures is broken."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ptaudit import selftest
from ptaudit.attacks.evidence import Candidates
from ptaudit.gradients import Dense
from ptaudit.progress import Silent
from ptaudit.selftest import CASES, bits, decisions, networks
from ptaudit.sketches.reader import TokenReader


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def altered_bits(monkeypatch):
    """Lets a test change what `identity_bits` returns."""

    def alter(change):
        honest = bits.identity_bits
        monkeypatch.setattr(bits, "identity_bits", lambda *args, **options: change(honest(*args, **options)))

    return alter


@pytest.fixture
def altered_tokens(monkeypatch):
    """Lets a test change what the reader reads."""

    def alter(change):
        honest = TokenReader.read
        monkeypatch.setattr(TokenReader, "read", lambda *args, **options: change(honest(*args, **options)))

    return alter


def test_every_known_answer_is_found_in_time():
    results = selftest.run(Silent())
    assert [result.name for result in results] == list(CASES)
    assert [(result.name, result.found) for result in results if not result.passed] == []
    assert sum(result.seconds for result in results) < 30
    assert all(result.expected and result.found for result in results)


def test_a_case_that_raises_is_missed_and_the_others_are_measured(monkeypatch):
    def broken():
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(selftest, "CASES", {"broken": broken, "gates": CASES["gates"]})
    first, second = selftest.run(Silent())
    assert not first.passed
    assert first.found == "RuntimeError: no such kernel"
    assert second.passed


@pytest.mark.parametrize("case", [bits.gaussian_batch, bits.gaussian_noise, bits.heavy_tails])
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_wrong_bits_are_noticed(case, factor, altered_bits):
    altered_bits(lambda found: replace(found, value=factor * found.value))
    assert not case().passed


@pytest.mark.parametrize("case", [bits.gaussian_batch, bits.gaussian_noise, bits.heavy_tails, bits.shuffled_secret])
def test_an_adversary_that_could_not_run_is_noticed(case, altered_bits):
    nan = math.nan
    altered_bits(lambda found: replace(found, value=nan, lo=nan, hi=nan, null=nan, status="inconclusive: broken"))
    assert not case().passed


def test_a_shuffled_secret_that_leaks_is_noticed(altered_bits):
    altered_bits(lambda found: replace(found, null=0.2))
    assert not bits.shuffled_secret().passed


@pytest.mark.parametrize("shift", [-3.0, 9.0])
def test_bits_out_of_bounds_are_noticed_though_they_are_clipped_later(shift, altered_bits):
    altered_bits(lambda found: replace(found, draws=found.draws + shift))
    assert not bits.outliers().passed


def test_the_exact_posterior_agrees_with_the_closed_form():
    """With many bits to spare the finite number of candidates does not matter: k/2 log2(1 + 1/s^2) for weak signals."""
    exact = bits.exact_bits(bits._gaussian, bits._scaled(bits._gaussian, 8.0), bits._gaussian_density(64.0), sets=200)
    assert exact == pytest.approx(bits.COORDINATES / 2 * math.log2(1 + 1 / 64), rel=0.05)


def test_tokens_off_by_one_in_a_thousand_are_noticed(altered_tokens):
    altered_tokens(lambda tokens: replace(tokens, values=1.001 * tokens.values))
    assert not networks.exact_tokens().passed


def test_the_wrong_layer_named_is_noticed(altered_tokens):
    altered_tokens(lambda tokens: replace(tokens, values=tokens.values.flip(0)))
    assert not networks.planted_leak().passed


def test_algebra_that_is_thrown_away_is_noticed(monkeypatch):
    """Matrices of which rows are mixed, as sketches do: neither spans nor zeros survive."""
    honest = networks.BatchSums

    def mixed(kept):
        turn = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
        return honest([[Dense(turn @ one.sums(torch.arange(512)[:, None])) for one in layer] for layer in kept])

    assert networks.algebraic_leak().passed
    monkeypatch.setattr(networks, "BatchSums", mixed)
    monkeypatch.setattr(networks, "Candidates", lambda kept: Candidates(mixed(kept).layers))
    assert not networks.algebraic_leak().passed


def test_an_algebra_that_finds_nothing_is_noticed(monkeypatch):
    monkeypatch.setattr(networks, "Algebra", lambda *parts: None)
    assert not networks.algebraic_leak().passed


def test_noise_that_is_too_small_is_noticed(monkeypatch):
    """The mistake that would make every private view leak: noise on a signal that was not clipped."""
    honest = networks.view_tokens

    def unclipped(view, tokens, places):
        return honest(replace(view, clip=None), tokens, places)

    monkeypatch.setattr(networks, "view_tokens", unclipped)
    assert not networks.private_toy().passed


def test_an_inverted_membership_score_is_noticed(altered_tokens):
    altered_tokens(lambda tokens: replace(tokens, loss=-tokens.loss))
    assert networks.untrained().passed
    assert not networks.memorised().passed


def test_a_gate_that_always_passes_is_noticed(monkeypatch):
    honest = decisions.decide
    monkeypatch.setattr(decisions, "decide", lambda *args: [replace(v, outcome="pass") for v in honest(*args)])
    assert not decisions.gate_verdicts().passed


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with selftest._few_threads():
        pass
    assert torch.get_num_threads() == before
