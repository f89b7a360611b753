"""The specs behind `claims_gradients.py`: everything that is run, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Spec = dict[str, Any]

ROOT = Path(__file__).parents[1]
MLP, LENET = f"{ROOT / 'sample_models' / 'mlp.py'}:mlp", f"{ROOT / 'sample_models' / 'lenet.py'}:lenet"

SIZES, ROUNDS, ROUNDS_OF = (1, 8, 64, 256), (1, 8), 32
"""Batch sizes m; rounds r, and the batch size they are watched at."""

SIGMAS, RATIOS, RATES = (0.25, 0.5, 1, 2, 4), (0.9, 0.99), (0.25, 0.5)
"""Noise multipliers of DP, shares that are pruned, rates of dropout."""

RECORDS, BATCHES = 6000, 2048
"""Records audited, and batches of its own that an adversary learns from."""

PROBES, PROBE = ["combined"], ["linear"]
"""Adversaries of the sweeps, and of the comparison of defenses, where every one plays twice in each training."""

ARMS_OF = [1, 8]
"""Batch sizes at which defenses are compared: there must be something to hide."""


def specs(data: Path, quick: bool = False) -> dict[str, Spec]:
    """Name to spec: `DATA` (aggregation, rounds), `DATA-users`, `DATA-defenses`, `DATA-layers`.

    Args:
        data: folder with the data sets.
        quick: small sizes, only to see that everything runs.
    """
    made = {
        "adult": _knowledge(_adult(data), _adult_games(), quick),
        "diabetes": _knowledge(_diabetes(data), _diabetes_games(), quick),
        "fashion": _knowledge(_fashion(data), _fashion_games(), quick),
        "diabetes-users": _users(_diabetes(data), quick),
        "adult-defenses": _defenses(_adult(data), _adult_games(), quick),
        "fashion-defenses": _defenses(_fashion(data), _fashion_games()[:2], quick, few=True),
        "fashion-layers": _layers(_fashion(data), quick),
    }
    return {name: {"version": 1, "name": name, **spec} for name, spec in made.items()}


# Data and training


def _adult(data: Path) -> Spec:
    return {
        "model": {"entry": MLP, "args": {"features": 97, "num_classes": 2, "hidden": [64, 32]}},
        "data": {
            "source": f"csv:{data / 'adult.csv.gz'}", "missing": ["?"], "label": "income",
            "attributes": ["sex", "race"],
            "drop": ["fnlwgt", "education", "split"], "held_out": 0.333,
        },
        "train": {"epochs": 3, "batch_size": 128, "optimizer": {"name": "adam", "lr": 0.001}},
    }  # fmt: skip


def _diabetes(data: Path) -> Spec:
    return {
        "model": {"entry": MLP, "args": {"features": 505, "num_classes": 3, "hidden": [64, 32]}},
        "data": {
            "source": f"csv:{data / 'diabetes130.csv.gz'}", "missing": ["?"], "label": "readmitted",
            "attributes": ["race", "gender"],
            "user": "patient", "split_by": "patient", "drop": ["weight", "examide", "citoglipton"], "rare": 100,
            "categorical": [
                "admission_type_id", "discharge_disposition_id", "admission_source_id", "diag_1", "diag_2", "diag_3",
            ],
            "held_out": 0.3,
        },
        "train": {"epochs": 3, "batch_size": 256, "optimizer": {"name": "adam", "lr": 0.001}},
    }  # fmt: skip


def _fashion(data: Path) -> Spec:
    return {
        "model": {"entry": LENET, "args": {"num_classes": 4, "channels": 1, "size": 28}},
        "data": {
            "source": f"{ROOT / 'benchmarks' / 'claims_data.py'}:fashion", "attributes": ["season"],
            "args": {"root": str(data / "fashion_mnist")}, "held_out": 0.5, "limit": 26_000,
        },
        "train": {"epochs": 3, "batch_size": 64, "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}},
    }  # fmt: skip


# Games


def _adult_games() -> list[Spec]:
    return [
        {"name": "attribute", "id": "sex-known-rest", "attribute": "sex", "form": "input"},
        {"name": "attribute", "id": "sex", "attribute": "sex", "form": "latent", "adversary": PROBES},
        {"name": "property", "attribute": "sex", "values": ["Female"], "adversary": PROBES},
        {"name": "distribution", "attribute": "sex", "values": ["Female"], "adversary": PROBES},
    ]


def _diabetes_games() -> list[Spec]:
    return [
        {"name": "attribute", "id": "gender-known-rest", "attribute": "gender", "form": "input"},
        {"name": "attribute", "id": "gender", "attribute": "gender", "form": "latent", "adversary": PROBES},
        {"name": "property", "attribute": "race", "values": ["AfricanAmerican"], "adversary": PROBES},
        {"name": "distribution", "attribute": "gender", "values": ["Female"], "adversary": PROBES},
    ]


def _fashion_games() -> list[Spec]:
    return [
        {"name": "attribute", "id": "season", "attribute": "season", "form": "latent", "adversary": PROBES},
        {"name": "property", "secret": "label", "values": [3], "adversary": PROBES},
        {"name": "distribution", "attribute": "season", "values": ["winter"], "adversary": PROBES},
    ]


# What is looked at


def _knowledge(spec: Spec, games: list[Spec], quick: bool) -> Spec:
    """Aggregation over m, and rounds: one training, two sweeps."""
    sizes, rounds, of = ((1, 8), (1, 2), 8) if quick else (SIZES, ROUNDS, ROUNDS_OF)
    views = [
        {"name": "batch", "batch_size": list(sizes)},
        {"name": "rounds", "batch_size": of, "rounds": list(rounds)},
    ]
    return _audited(spec, games, views, 1200 if quick else RECORDS, quick)


def _users(spec: Spec, quick: bool) -> Spec:
    """Patients who came twice: both stays in what is seen, alone and among the stays of others."""
    views = [{"name": "batch", "batch_size": 2, "users": [1, 4] if quick else [1, 4, 32, 256]}]
    return _audited(spec, [{"name": "user", "candidates": 16}], views, 4000 if quick else 24_000, quick)


def _defenses(spec: Spec, games: list[Spec], quick: bool, few: bool = False) -> Spec:
    """The training repeated with each defense, or a few of them."""
    views = [{"name": "seen", "batch_size": [1] if quick else ARMS_OF}]
    sigmas, ratios, rates = list(SIGMAS), list(RATIOS), list(RATES)
    if quick or few:
        sigmas, ratios, rates = [1] if quick else [0.5, 2], [0.99], [0.5]
    games = [{**game, "adversary": PROBE} if "adversary" in game else game for game in games]
    defenses = [
        {"name": "prune", "ratio": ratios},
        {"name": "sign"},
        {"name": "dp", "clip": 1.0, "noise_multiplier": sigmas},
        {"name": "dropout", "rate": rates},
    ]
    return {**_audited(spec, games, views, 800 if quick else 3000, quick), "defenses": defenses}


def _layers(spec: Spec, quick: bool) -> Spec:
    """Where the attribute lies, by predictors and by derivatives."""
    games = [
        {"name": "usable-information", "secret": "attribute", "attribute": "season", "family": ["linear", "mlp"]},
        {"name": "localisation", "attribute": "season", "records": 40 if quick else 200},
    ]
    return _audited(spec, games, [{"name": "record", "batch_size": 1}], 800 if quick else 4000, quick)


def _audited(spec: Spec, games: list[Spec], views: list[Spec], records: int, quick: bool) -> Spec:
    epochs = 1 if quick else spec["train"]["epochs"]
    if quick:
        games = [{**game, "adversary": ["linear"]} if "adversary" in game else game for game in games]
    games = [{**game, "fit_batches": BATCHES} if "adversary" in game else game for game in games]
    audit = {"records": records, "epochs": [epochs], "views": views, "games": games}
    return {**spec, "train": {**spec["train"], "epochs": epochs}, "audit": audit}
