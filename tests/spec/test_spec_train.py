"""How a step is taken, as the spec says it: defaults, ranges, and keys that would have no effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.defenses.dp.settings import DpSgdSpec
from ptaudit.errors import SpecError
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import SamSpec, json_schema

Write = Callable[..., Path]

BASE = """\
version: 1
name: small
model: {entry: net.py:net}
data: {source: sklearn:digits}
train:
  epochs: 3
"""
DP = "defense: {name: dp_sgd, clip: 1.0, noise_multiplier: 1.0}"


def test_defaults_are_plain_training(write: Write) -> None:
    train = load(write(BASE)).train
    assert (train.label_smoothing, train.accumulate, train.precision) == (0.0, 1, "float32")
    assert (train.clip_norm, train.sam, train.defense) == (None, None, None)


def test_what_is_written_is_what_is_read(write: Write) -> None:
    text = "  label_smoothing: 0.1\n  accumulate: 4\n  precision: bf16\n  clip_norm: 1\n  sam: {adaptive: true}\n"
    train = load(write(BASE + text)).train
    assert (train.label_smoothing, train.accumulate, train.precision, train.clip_norm) == (0.1, 4, "bf16", 1.0)
    assert train.sam == SamSpec(rho=0.05, adaptive=True)
    defense = load(write(BASE + f"  {DP}\n")).train.defense
    assert defense == DpSgdSpec(name="dp_sgd", clip=1.0, noise_multiplier=1.0, delta=1e-5, sampling="poisson")
    target = "  defense: {name: dp_sgd, clip: 0.5, epsilon: 8, delta: 1e-6, sampling: shuffle}\n"
    defense = load(write(BASE + target)).train.defense
    assert (defense.epsilon, defense.noise_multiplier, defense.delta, defense.sampling) == (8.0, None, 1e-6, "shuffle")


@pytest.mark.parametrize(
    "text",
    [
        "sam: {}",
        "sam: {rho: 1.5, adaptive: true}\n  precision: fp16\n  accumulate: 2\n  clip_norm: 0.1",
        DP,
        "defense: {name: dp_sgd, clip: 1, epsilon: 3}\n  label_smoothing: 0.2\n  accumulate: 64",
        "loss: bce\n  precision: bf16",
    ],
)
def test_a_resolved_spec_runs_as_it_stands(write: Write, text: str) -> None:
    spec = load(write(f"{BASE}  {text}\n"))
    again = load(write(dump(spec), name="again.yaml"))
    assert again.train == spec.train


MISTAKES = [
    ("label_smoothing: 1", "7: `train.label_smoothing`: expected a number below 1"),
    ("label_smoothing: -0.1", "7: `train.label_smoothing`: expected at least 0"),
    ("label_smoothing: 0.1\n  loss: bce", "7: `label_smoothing` is not used by loss `bce` (remove it)"),
    ("label_smoothing: 0\n  loss: mse", "7: `label_smoothing` is not used by loss `mse` (remove it)"),
    ("label_smoothing: 0.1\n  loss: net.py:net", "7: `label_smoothing` is not used by loss `"),
    ("accumulate: 0", "7: `train.accumulate`: expected at least 1, given 0"),
    ("accumulate: 65", "7: 65 micro-batches of a batch of 64 records (give every micro-batch a record)"),
    ("accumulate: 2.0", "7: `train.accumulate`: expected a whole number, given 2.0"),
    ("precision: fp32", "7: `train.precision`: expected 'float32', 'bf16' or 'fp16', given the text 'fp32'"),
    ("clip_norm: 0", "7: `train.clip_norm`: expected a number above 0"),
    ("clip_norm: .inf", "7: `train.clip_norm`: expected a finite number"),
    ("sam: true", "7: `train.sam`: expected a mapping, given true"),
    ("sam: {rho: 0}", "7: `train.sam.rho`: expected a number above 0"),
    ("sam: {radius: 1}", "7: unknown key `radius` in `train.sam`"),
    ("sam: {adaptive: 1}", "7: `train.sam.adaptive`: expected true or false, given 1"),
    ("defense: dp_sgd", "7: `train.defense`: expected {name: ...} with the name of a defense, given the text 'dp_sgd'"),
    (
        "defense: {name: dp, clip: 1, noise_multiplier: 1}",
        "7: unknown defense `dp` of the training (in training it is `dp_sgd`)",
    ),
    ("defense: {name: dp_sgd, noise_multiplier: 1}", "7: `train.defense.clip` is missing"),
    ("defense: {name: dp_sgd, clip: 0, noise_multiplier: 1}", "7: `train.defense.clip`: expected a number above 0"),
    ("defense: {name: dp_sgd, clip: 1}", "7: defense `dp_sgd` takes `noise_multiplier` or `epsilon`, neither given"),
    (
        "defense: {name: dp_sgd, clip: 1, noise_multiplier: 1, epsilon: 1}",
        "7: defense `dp_sgd` takes `noise_multiplier` or `epsilon`, both given",
    ),
    (
        "defense: {name: dp_sgd, clip: 1, noise_multiplier: -1}",
        "7: `train.defense.noise_multiplier`: expected at least 0",
    ),
    ("defense: {name: dp_sgd, clip: 1, epsilon: 0}", "7: `train.defense.epsilon`: expected a number above 0"),
    ("defense: {name: dp_sgd, clip: 1, epsilon: 1, delta: 1}", "7: `train.defense.delta`: expected a number below 1"),
    (
        "defense: {name: dp_sgd, clip: 1, epsilon: 1, sampling: uniform}",
        "7: `train.defense.sampling`: expected 'poisson' or 'shuffle'",
    ),
    (f"{DP}\n  clip_norm: 1", "8: `clip_norm` is not used by training with `defense: dp_sgd` (remove it)"),
    (f"{DP}\n  sam: {{}}", "8: `sam` is not used by training with `defense: dp_sgd` (remove it)"),
    (
        f"{DP}\n  precision: bf16",
        "8: clipping of single records is not exact in bf16 (train with `defense: dp_sgd` in float32)",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistake_is_named_with_its_line(write: Write, text: str, expected: str) -> None:
    path = write(f"{BASE}  {text}\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_the_schema_describes_every_key_and_its_range() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["TrainSpec"]["properties"]["precision"]["enum"] == ["float32", "bf16", "fp16"]
    assert definitions["TrainSpec"]["properties"]["accumulate"]["minimum"] == 1
    assert definitions["SamSpec"]["properties"]["rho"]["exclusiveMinimum"] == 0
    assert set(definitions["DpSgdSpec"]["required"]) == {"name", "clip"}
    for part in ("TrainSpec", "SamSpec", "DpSgdSpec"):
        assert definitions[part]["additionalProperties"] is False
        for name, key in definitions[part]["properties"].items():
            assert len(key.get("description", "")) > 10 or "$ref" in key, name
    smoothing = definitions["TrainSpec"]["properties"]["label_smoothing"]
    assert (smoothing["minimum"], smoothing["exclusiveMaximum"]) == (0, 1)
