"""What was found in sketches alone says so, wherever it is not nearly everything and nothing else hides the rest."""

import math

import pytest
import torch

from ptaudit.estimate import identity_bits
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.tables.status import limited_by_sketch


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [
        (2.0, "ok", "sketch-limited"),
        (2.0, "attack-limited", "sketch-limited"),
        (2.0, "dim-limited", "sketch-limited"),
        (0.0, "ok", "sketch-limited"),
        (2.0, "data-limited", "data-limited"),
        (2.3, "saturated", "saturated"),
        (2.69, "ok", "sketch-limited"),
        (2.71, "ok", "ok"),
        (3.0, "ok", "ok"),
    ],
)
def test_status(value, status, said):
    found = limited_by_sketch(Estimate(value, 0.0, 3.0, 0.0, 3.0, 100, status))
    assert found.status == said
    assert found.value == value


def test_what_could_not_be_measured_keeps_its_reason():
    lost = inconclusive("too few", ceiling=3.0)
    assert limited_by_sketch(lost).status == "inconclusive: too few"
    assert limited_by_sketch(Estimate(2.0, 1.0, 3.0, 0.0, math.nan, 100)).status == "ok"


def tokens(n=512, k=16):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_bits_of_any_tokens():
    assert identity_bits(tokens(), 16).status == "sketch-limited"
    assert identity_bits(tokens(), 16, noise=4.0).status != "sketch-limited"
    assert identity_bits(tokens(), 1).status == "ok"
    assert identity_bits(tokens(512, 1), 2).status == "sketch-limited"
    assert identity_bits(tokens(64), 8).status.startswith("inconclusive")
