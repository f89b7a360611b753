"""The specs behind `claims_reconstruction.py`: everything that is run, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Spec = dict[str, Any]

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "sample_models"

SIZES, NOISES, RATIOS = (1, 4, 16), (0.01, 0.1, 1.0), (0.99,)
"""Batch sizes m; noise multipliers at a clip of 1; shares that are pruned."""

PILOT = ("plain", "noise-0.1", "noise-1.0", "prune-0.99")

RECORDS, EPOCHS = 320, 2


def specs(data: Path, quick: bool = False) -> dict[str, Spec]:
    """Name to spec, three for each data set and model.

    `DATA-MODEL` has cheap numbers and decoders, `-noise` what noise halves them, `-attacks` inversion of few targets.

    Args:
        data: folder with the data sets.
        quick: small sizes, only to see that everything runs.
    """
    made: dict[str, Spec] = {}
    for name, (source, args) in _sources(data).items():
        for model in ("lenet", "cnn"):
            base = {"model": _model(model, **args), "data": source, "train": _train(quick)}
            made[f"{name}-{model}"] = {**base, "audit": _audit(_numbers(), quick)}
            made[f"{name}-{model}-noise"] = {**base, "audit": _audit(_noise(), quick)}
            made[f"{name}-{model}-attacks"] = {**base, "audit": _audit(_attacks(quick), quick)}
    for name, full in (("pilot", "cifar-lenet"), ("pilot-attacks", "cifar-lenet-attacks"), ("pilot-cnn", "cifar-cnn")):
        made[name] = _pilot(made[full])
    return {name: {"version": 1, "name": name, **spec} for name, spec in made.items()}


def _sources(data: Path) -> dict[str, tuple[Spec, Spec]]:
    fashion = {
        "source": f"{MODELS / 'fashion_mnist.py'}:records",
        "args": {"root": str(data / "fashion_mnist")},
    }
    cifar = {
        "source": f"{ROOT / 'benchmarks' / 'claims_data.py'}:small_cifar",
        "args": {"path": str(data / "cifar10_lossless4k.npz")},
    }
    cut = {"held_out": 0.5, "limit": 2000}
    return {
        "fashion": ({**fashion, **cut}, {"channels": 1, "size": 28}),
        "cifar": ({**cifar, **cut}, {"channels": 3, "size": 16}),
    }


def _model(model: str, **args: int) -> Spec:
    return {"entry": f"{MODELS / model}.py:{model}", "args": {"num_classes": 10, **args}}


def _train(quick: bool) -> Spec:
    optimizer = {"name": "sgd", "lr": 0.02, "momentum": 0.9}
    return {"epochs": 1 if quick else EPOCHS, "batch_size": 64, "optimizer": optimizer, "seed": 0}


def _audit(games: list[Any], quick: bool) -> Spec:
    sizes, noises, ratios = ([1, 4], NOISES[-1:], RATIOS[:1]) if quick else (list(SIZES), NOISES, RATIOS)
    views: list[Spec] = [{"name": "plain", "batch_size": sizes}]
    views += [
        {
            "name": f"noise-{noise}",
            "batch_size": sizes,
            "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": noise},
        }
        for noise in noises
    ]
    views += [
        {"name": f"prune-{ratio}", "batch_size": sizes, "defense": {"name": "prune", "ratio": ratio}}
        for ratio in ratios
    ]
    epochs = [1] if quick else [EPOCHS]
    return {"records": 160 if quick else RECORDS, "epochs": epochs, "views": views, "games": games}


def _pilot(spec: Spec) -> Spec:
    """A part of the grid on the trained model: eight views, minutes of one core."""
    views = [{**view, "batch_size": [1, 4]} for view in spec["audit"]["views"] if view["name"] in PILOT]
    epochs = spec["audit"]["epochs"][-1:]
    return {**spec, "audit": {**spec["audit"], "records": 160, "epochs": epochs, "views": views}}


def _numbers() -> list[Any]:
    return [
        {"name": "identity", "fit_batches": 512},
        {"name": "usable-information", "secret": "label", "family": ["linear"]},
        {"name": "content", "family": ["linear"]},
        {"name": "fisher-information", "records": 16, "steps": 8, "probes": 4},
    ]


def _noise() -> list[Any]:
    return [{"name": "identity", "noise_half": True, "fit_batches": 512}]


def _attacks(quick: bool) -> list[Any]:
    budget = {"seconds": 20, "iterations": 10 if quick else 20, "restarts": 1}
    attacks = ["feature-inversion", "inverting-gradients"]
    return [{"name": "reconstruction", "attacks": attacks, "records": 8, "budget": budget, "labels": "known"}]
