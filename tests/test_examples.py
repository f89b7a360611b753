"""The examples run, and show what they say."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def adaptive_noise():
    spec = importlib.util.spec_from_file_location("adaptive_noise", EXAMPLES / "adaptive_noise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_noise_follows_the_leakage(adaptive_noise, capsys):
    dial = adaptive_noise.Dial(wanted=0.4, ledger=1e6, noise=1e-4)
    _, monitor, accuracy = adaptive_noise.train(dial, epochs=12, budget=20.0)
    steps, noise, bits = zip(*dial.rows, strict=True)
    assert len(steps) > 10
    assert noise[-1] > 10 * noise[0]
    assert sum(bits[-3:]) < 0.6 * sum(bits[:3])
    assert accuracy > 0.5
    joint = monitor.table[monitor.table["layer"] == "*"]
    assert tuple(joint["noise"]) == noise
    assert tuple(joint["bits"]) == bits
    assert monitor.stopped == ""
    assert len(
        re.findall(r"^ +\d+  0\.\d{5} +\d\.\d\d \[\d\.\d\d, \d\.\d\d\] +\d+$", capsys.readouterr().out, re.M)
    ) == len(steps)


def test_too_much_noise_is_taken_back(adaptive_noise):
    dial = adaptive_noise.Dial(wanted=0.4, ledger=1e6, noise=1.0)
    adaptive_noise.train(dial, epochs=6, budget=20.0)
    noise = [row[1] for row in dial.rows]
    assert noise == sorted(noise, reverse=True)
    assert noise[-1] < noise[0]


def test_the_training_ends_when_the_ledger_is_full(adaptive_noise, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["adaptive_noise.py", "--ledger", "30", "--epochs", "30", "--budget", "20"])
    adaptive_noise.main()
    printed = capsys.readouterr().out.splitlines()
    assert "bits were given away, 30 allowed" in printed[-2]
    assert int(printed[-3].split()[0]) < 22 * 30
    assert re.fullmatch(r"held-out accuracy \d\.\d{3}", printed[-1])
