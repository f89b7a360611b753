"""The trainings that are attacked: specs of the package, by name, each audited in a couple of minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Spec = dict[str, Any]

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "sample_models"
MODELS = HERE / "redteam_models.py"

IDENTITY: Spec = {"name": "identity", "candidates": 256}
LABEL: Spec = {"name": "label", "fit_batches": 4096}
FEW: Spec = {"fit_batches": 1024}
FAMILIES = ["combined"]


def specs(data: Path) -> dict[str, Spec]:
    """Name to spec.

    Args:
        data: folder with the data sets.
    """
    made = {
        "digits": _digits({"plain": [8, 32]}, [IDENTITY], [0, 8]),
        "digits-label": _digits({"plain": [8]}, [LABEL], [8]),
        "digits-quick": _digits({"plain": [32]}, [IDENTITY], [8]),
        "digits-noise": _digits({}, [IDENTITY], [0, 8], _noisy(32, 0.01)),
        "digits-defended": _digits({}, [IDENTITY], [8], _signs(8), _signs(32), _pruned(8, 0.9)),
        "digits-update": _digits({}, [IDENTITY], [8], _update(32, 5, 0.1)),
        "adult-update": _adult(data, {}, [IDENTITY], [3], _update(32, 5, 0.1), records=4000),
        "adult-defended": _adult(data, {}, [IDENTITY], [3], _signs(32), records=4000),
        "adult": _adult(data, {"batch": [8, 32]}, [IDENTITY], [0, 3]),
        "adult-batch": _adult(data, {"batch": [1, 8, 64]}, [_sex("property"), _sex("distribution")]),
        "adult-noise": _adult(data, {}, [_sex("property"), _sex("distribution")], [3], _noisy(8, 0.01)),
        "adult-record": _adult(data, {"batch": [8]}, [*_attributes("sex"), *_attributes("race")]),
        "adult-large": _adult(data, {"batch": [512]}, [_rare()]),
        "adult-quick": _adult(data, {"batch": [8]}, [_sex("property") | FEW], records=2000, limit=8000),
        "fashion": _fashion(data, {"batch": [8, 32]}, [IDENTITY]),
        "fashion-label": _fashion(data, {"batch": [8]}, [LABEL]),
        "fashion-property": _fashion(data, {"batch": [8, 32]}, [_label("property", 3)]),
        "resnet": _resnet(data, {"batch": [2, 8]}, [IDENTITY]),
        "resnet-label": _resnet(data, {"batch": [8]}, [LABEL]),
        "transformer": _messages(data, True, {"batch": [8, 32]}, [IDENTITY]),
        "transformer-batch": _messages(data, True, {"batch": [8]}, [LABEL, _digits_inside()]),
        "embedding": _messages(data, False, {"batch": [8, 64]}, [IDENTITY, _label("distribution", 1)]),
        "users": _users(data),
    }
    return {name: {"version": 1, "name": name, **spec} for name, spec in made.items()}


# Games and views


def _about(name: str, **more: Any) -> Spec:
    return {"name": name, "adversary": FAMILIES, **more}


def _sex(name: str) -> Spec:
    return _about(name, attribute="sex", values=["Female"])


def _rare() -> Spec:
    return _about("property", attribute="race", values=["Amer-Indian-Eskimo"])


def _label(name: str, value: int) -> Spec:
    return _about(name, secret="label", values=[value])


def _digits_inside() -> Spec:
    return _about("attribute", id="digits", attribute="digits", form="latent")


def _attributes(name: str) -> list[Spec]:
    known = {"name": "attribute", "id": f"{name}-known", "attribute": name, "form": "input"}
    return [known, _about("attribute", id=name, attribute=name, form="latent")]


def _noisy(m: int, sigma: float) -> Spec:
    return {"name": "noise", "batch_size": m, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": sigma}}


def _signs(m: int) -> Spec:
    return {"name": f"sign-{m}", "batch_size": m, "defense": {"name": "sign"}}


def _pruned(m: int, ratio: float) -> Spec:
    return {"name": f"prune-{m}", "batch_size": m, "defense": {"name": "prune", "ratio": ratio}}


def _update(m: int, steps: int, lr: float) -> Spec:
    return {"name": f"update-{m}", "batch_size": m, "update": {"local_steps": steps, "lr": lr}}


def _audit(records: int | str, sizes: dict[str, list[int]], games: list[Any], epochs: list[int], *more: Spec) -> Spec:
    views = [{"name": f"{name}-{size}", "batch_size": size} for name, some in sizes.items() for size in some]
    return {"records": records, "epochs": epochs, "views": [*views, *more], "games": games}


# Trainings


def _digits(sizes: dict[str, list[int]], games: list[Any], epochs: list[int], *more: Spec) -> Spec:
    """That of configs/quickstart.yaml."""
    spec = yaml.safe_load((HERE.parent / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    kept = {part: spec[part] for part in ("data", "train")}
    model = {**spec["model"], "entry": f"{SAMPLES / 'lenet.py'}:lenet"}
    return {"model": model, **kept, "audit": _audit("all", sizes, games, epochs, *more)}


def _adult(
    data: Path, sizes: dict[str, list[int]], games: list[Any], epochs: list[int] | None = None, *more: Spec,
    records: int = 12_000, limit: int | None = None,
) -> Spec:  # fmt: skip
    features = 97 if limit is None else 92
    table = {
        "source": f"csv:{data / 'adult.csv.gz'}", "missing": ["?"], "label": "income",
        "attributes": ["sex", "race"],
        "drop": ["fnlwgt", "education", "split"], "held_out": 0.333, **({"limit": limit} if limit else {}),
    }  # fmt: skip
    return {
        "model": {"entry": f"{SAMPLES / 'mlp.py'}:mlp", "args": {"features": features, "hidden": [64, 32]}},
        "data": table,
        "train": {"epochs": 3, "batch_size": 128, "optimizer": {"name": "adam", "lr": 0.001}},
        "audit": _audit(records, sizes, games, epochs or [3], *more),
    }


def _fashion(data: Path, sizes: dict[str, list[int]], games: list[Any]) -> Spec:
    source = {"source": f"{SAMPLES / 'fashion_mnist.py'}:records", "args": {"root": str(data / "fashion_mnist")}}
    return {
        "model": {"entry": f"{SAMPLES / 'lenet.py'}:lenet", "args": {"num_classes": 10, "channels": 1, "size": 28}},
        "data": {**source, "held_out": 0.5, "limit": 16_000},
        "train": {"epochs": 4, "batch_size": 64, "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}},
        "audit": _audit(3000, sizes, games, [4]),
    }


def _resnet(data: Path, sizes: dict[str, list[int]], games: list[Any]) -> Spec:
    return {
        "model": {"entry": f"{MODELS}:resnet", "args": {"width": 8, "blocks": 3}},
        "data": {"source": f"npz:{data / 'cifar10_lossless4k.npz'}", "held_out": 0.25},
        "train": {"epochs": 4, "batch_size": 32, "optimizer": {"name": "adam", "lr": 0.002}},
        "audit": _audit(1200, sizes, games, [4]),
    }


def _messages(data: Path, attention: bool, sizes: dict[str, list[int]], games: list[Any]) -> Spec:
    """Ham or spam, by a Transformer or from the mean embedding."""
    transformer = {"vocab": 1000, "length": 24, "width": 32, "layers": 1}
    model = {"entry": f"{SAMPLES / 'transformer.py'}:transformer", "args": transformer}
    if not attention:
        model = {"entry": f"{MODELS}:bag", "args": {"vocab": 1000}}
    source = {"source": f"{MODELS}:messages", "args": {"path": str(data / "sms_spam.tsv.gz"), "vocab": 1000}}
    return {
        "model": model,
        "data": {**source, "attributes": ["digits"], "held_out": 0.25},
        "train": {"epochs": 4, "batch_size": 32, "optimizer": {"name": "adam", "lr": 0.002}},
        "audit": _audit(2400, sizes, games, [4]),
    }


def _users(data: Path) -> Spec:
    """Two stays of a patient, alone and among the stays of three others."""
    views = [{"name": f"users-{users}", "batch_size": 2, "users": users} for users in (1, 4)]
    sizes = {"features": 505, "num_classes": 3, "hidden": [64, 32]}
    return {
        "model": {"entry": f"{SAMPLES / 'mlp.py'}:mlp", "args": sizes},
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
        "audit": {**_audit(12_000, {}, [{"name": "user", "candidates": 16}], [3]), "views": views},
    }  # fmt: skip


NEEDS = {
    **dict.fromkeys(
        [
            "adult",
            "adult-defended",
            "adult-update",
            "adult-batch",
            "adult-noise",
            "adult-record",
            "adult-large",
            "adult-quick",
        ],
        ("adult.csv.gz",),
    ),
    **dict.fromkeys(["fashion", "fashion-label", "fashion-property"], ("fashion_mnist",)),
    **dict.fromkeys(["resnet", "resnet-label"], ("cifar10_lossless4k.npz",)),
    **dict.fromkeys(["transformer", "transformer-batch", "embedding"], ("sms_spam.tsv.gz",)),
    "users": ("diabetes130.csv.gz",),
}
"""Files that a training needs."""
