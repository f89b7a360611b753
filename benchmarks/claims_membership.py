"""Do published findings about membership inference hold on Location30, CIFAR, Fashion-MNIST, digits, Adult and SMS?

    PTAUDIT_DATA=FOLDER python benchmarks/claims_membership.py           # all data sets; fills docs/claims.md
    python benchmarks/claims_membership.py --only digits --runs DIR      # one of them, into DIR
    python benchmarks/claims_membership.py --reuse                       # fills the page from what is there
    python benchmarks/claims_membership.py --quick                       # few small models: only to see that it runs

Every data set is one audit whose reference models are kept. Then the last of these models are targets, and the first
4, 8, 16 or 64 of the others their references, so that numbers of different fleets are of the same targets and records;
differences are of the same resampled models and records. A run folder of each is under `--runs` (default runs/claims),
with `attacks.csv`: {data, attack, models, metric, value, lo, hi}, and `differences.csv`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from claims_runs import ROOT, options_of, wanted
from page import fill

import ptaudit
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import references
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.reference import with_reference_models
from ptaudit.context.reference import signals_of
from ptaudit.progress import Silent
from ptaudit.spec.load import load
from ptaudit.stats.estimate import Estimate
from ptaudit.stats.two_way import FleetScores, auc_estimate, tpr_at_fpr_estimate
from ptaudit.training.device import pick_device

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "claims.md"
SAMPLES = ROOT / "sample_models"

Spec = dict[str, Any]

COMPARED = [
    "loss", "lira-online", "lira-online-global", "lira-offline", "lira-offline-global", "rmia-online", "rmia-offline",
    "bavaria-online", "bavaria-offline", "shadow-classifier",
]  # fmt: skip
TARGETS = {"location30": 16}
"""Models that are attacked; elsewhere `_TARGETS`."""

_TARGETS = 8
FEW, MORE, MANY = 4, 8, 64
RATE = "TPR at 1 %"

PAIRS = [
    (("rmia-offline", FEW), ("lira-offline", FEW)),
    (("rmia-online", FEW), ("lira-online", FEW)),
    (("bavaria-online", MORE), ("lira-online", MORE)),
    (("bavaria-online", MORE), ("lira-online", MANY)),
    (("shadow-classifier", MORE), ("bavaria-online", MORE)),
    (("shadow-classifier", MORE), ("lira-online", MANY)),
]
"""What is compared: (attack, reference models), twice."""


def specs(data: Path, quick: bool = False) -> dict[str, Spec]:
    """Name to spec.

    Args:
        data: folder with the data sets.
        quick: one of them, with few epochs and models.
    """
    location, cifar, digits = (config(name) for name in ("location30", "cifar10-4k", "quickstart"))
    adam = {"name": "adam", "lr": 0.001}
    fashion = {
        "model": model("lenet.py:lenet", num_classes=10, channels=1, size=28),
        "data": {
            "source": f"{SAMPLES / 'fashion_mnist.py'}:records", "args": {"root": str(data / "fashion_mnist")},
            "held_out": 0.5, "limit": 4000,
        },
        "train": {"epochs": 15, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}},
    }  # fmt: skip
    adult = {
        "model": model("mlp.py:mlp", features=91, hidden=[256, 128]),
        "data": {
            "source": f"csv:{data / 'adult.csv.gz'}", "missing": ["?"], "label": "income", "attributes": ["sex"],
            "drop": ["fnlwgt", "education", "split"], "held_out": 0.5, "limit": 8000,
        },
        "train": {"epochs": 20, "batch_size": 32, "optimizer": adam},
    }  # fmt: skip
    sms = {
        "model": model("transformer.py:transformer", vocab=1000, length=24, width=32, layers=1),
        "data": {
            "source": f"{HERE / 'redteam_models.py'}:messages", "attributes": ["digits"], "held_out": 0.5,
            "args": {"path": str(data / "sms_spam.tsv.gz"), "vocab": 1000},
        },
        "train": {"epochs": 8, "batch_size": 32, "optimizer": {"name": "adam", "lr": 0.002}},
    }  # fmt: skip
    digits["train"]["epochs"] = 30
    made = {
        "location30": _audited(location, [0, 5, 30], 80),
        "cifar10-4k": _audited(cifar, [0, 5, 20], 24),
        "fashion-mnist": _audited(fashion, [0, 5, 15], 24),
        "digits": _audited(digits, [0, 5, 30], 24),
        "adult": _audited(adult, [0, 5, 20], 24),
        "sms": _audited(sms, [0, 2, 8], 24),
    }
    if quick:
        digits["train"]["epochs"] = 2
        made = {"digits": _audited(digits, [0, 2], 4 + _TARGETS)}
    return {name: {"version": 1, "name": name, **spec} for name, spec in made.items()}


def config(name: str) -> Spec:
    """Model, data and training of a ready config, with paths that hold anywhere."""
    spec = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    file = Path(spec["model"]["entry"].split(":")[0]).name
    entry = f"{SAMPLES / file}:{spec['model']['entry'].split(':')[1]}"
    source = spec["data"]["source"].replace("${PTAUDIT_DATA:-../data}", os.environ.get("PTAUDIT_DATA", ""))
    return {"model": {**spec["model"], "entry": entry}, "data": {**spec["data"], "source": source},
            "train": spec["train"]}  # fmt: skip


def model(entry: str, **args: Any) -> Spec:
    """One of the sample models."""
    return {"entry": f"{SAMPLES / entry}", "args": args}


def _audited(spec: Spec, epochs: list[int], models: int) -> Spec:
    """All attacks, and the layers'."""
    attacks = ["loss", "gradient-norm", "update-product", *COMPARED[1:]]
    games = [{"name": "membership", "attacks": attacks}]
    view = {"name": "record", "batch_size": 1}
    return {
        **spec,
        "fleet": {"models": models},
        "audit": {"records": "all", "epochs": epochs, "views": [view], "games": games},
    }


def main() -> int:
    """Audit, attack, show; the exit code is 2 where there are no data or nothing was found."""
    options = options_of("Check published claims about membership inference.", "runs/claims-membership").parse_args()
    if not options.reuse and not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    os.environ["PTAUDIT_DATA"] = str(options.data.resolve())
    made = specs(options.data.resolve(), options.quick)
    if not options.reuse:
        for name, spec in wanted(options, made).items():
            measure(name, spec, options.runs / name)
    folders = [options.runs / name for name in made if (options.runs / name / "attacks.csv").is_file()]
    if not folders:
        print(f"{options.runs}: nothing was measured here", file=sys.stderr)
        return 2
    pages = pages_of(folders)
    if options.quick:
        print("\n\n".join(f"## {name}\n\n{page}" for name, page in pages.items()))
        return 0
    for name, page in pages.items():
        fill(PAGE, f"membership-{name}", page)
    return 0


# Measuring


def measure(name: str, spec: Spec, folder: Path) -> None:
    """The audit of a data set in `folder`, and beside its tables what fleets of several sizes find."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {**spec, "fleet": {**spec["fleet"], "folder": str((folder / "models").resolve())}}
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    ptaudit.audit(path, out=folder / "run", fresh=True)
    session = with_reference_models(open_session(load(path), pick_device("cpu")), folder, Silent())
    models, rows, found = session.reference, [], {}
    assert models is not None
    said, included = models.at(session.spec.last_epoch, models.pool)
    everybody = signals_of(said, session.records, session.spec.train.loss, models.pool)
    targets = TARGETS.get(name, _TARGETS)
    for n in (size for size in (FEW, MORE, 16, MANY) if size <= len(included) - targets):
        known = references(everybody.model(slice(n)), included[:n])
        for attack in COMPARED:
            if ATTACKS[attack].models() > n or (attack == "loss" and n != FEW):
                continue
            scores = np.stack([ATTACKS[attack](everybody.model(t), known) for t in range(-targets, 0)])
            of_targets = FleetScores(scores, included[-targets:])
            for metric, estimate in (
                ("AUC", auc_estimate(of_targets, seed=0)),
                (RATE, tpr_at_fpr_estimate(of_targets, 0.01, seed=0)),
            ):
                rows.append((name, attack, n, metric, estimate.value, estimate.lo, estimate.hi))
                found[attack, n, metric] = estimate
    columns = ["data", "attack", "models", "metric", "value", "lo", "hi"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "attacks.csv", index=False)
    compared = pd.DataFrame(_differences(name, found), columns=["data", "first", "second", "value", "lo", "hi"])
    compared.to_csv(folder / "differences.csv", index=False)


def _differences(name: str, found: dict[tuple[str, int, str], Estimate]) -> Iterator[tuple[Any, ...]]:
    """Of TPR at 1 %, with the interval of the same resampled models and records."""
    for first, second in PAIRS:
        one, two = found.get((*first, RATE)), found.get((*second, RATE))
        if one is None or two is None or one.draws is None or two.draws is None:
            continue
        lo, hi = np.quantile(one.draws - two.draws, [0.025, 0.975])
        yield name, _title(*first), _title(*second), one.value - two.value, float(lo), float(hi)


def _title(attack: str, models: int) -> str:
    return f"`{attack}` with {models}"


# Showing


def pages_of(folders: list[Path]) -> dict[str, str]:
    """Tables by their marks."""
    attacks, differences = (
        pd.concat([pd.read_csv(folder / f"{name}.csv") for folder in folders]) for name in ("attacks", "differences")
    )
    return {
        "attacks": "\n\n".join(_attacks(attacks, metric) for metric in (RATE, "AUC")),
        "differences": _compared(differences),
        "layers": _layers(folders),
        "groups": _groups(folders),
    }


def _attacks(found: pd.DataFrame, metric: str) -> str:
    found = found[found.metric == metric]
    names = list(dict.fromkeys(found.data))
    lines = [f"| {metric} | models | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for attack in COMPARED:
        for models in sorted(set(found[found.attack == attack].models)):
            line = found[(found.attack == attack) & (found.models == models)].set_index("data").value
            cells = [f"{line[name]:.3f}" if name in line.index else "" for name in names]
            lines.append(f"| `{attack}` | {'' if attack == 'loss' else models} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compared(found: pd.DataFrame) -> str:
    lines = ["| first | second | data | TPR at 1 %, first less second | |", "|---|---|---|---|---|"]
    for row in found.sort_values(["second", "first"], kind="stable").itertuples():
        verdict = "more" if row.lo > 0 else "less" if row.hi < 0 else "undecided"
        lines.append(
            f"| {row.first} | {row.second} | {row.data} | {row.value:+.3f} [{row.lo:+.3f}, {row.hi:+.3f}] | {verdict} |"
        )
    return "\n".join(lines)


def _layers(folders: list[Path]) -> str:
    lines = ["| data | epoch | AUC of `update-product` by layer | of the loss |", "|---|---:|---|---:|"]
    for folder in folders:
        rows = pd.read_csv(folder / "run" / "leakage.csv")
        rows = rows[(rows.metric == "auc") & (rows.epoch > 0) & rows.value.notna()]
        for epoch, of_epoch in rows.groupby("epoch"):
            by_layer = of_epoch[(of_epoch.adversary == "update-product") & (of_epoch.layer != "*")]
            loss = of_epoch[of_epoch.adversary == "loss"].value
            cells = [f"{row.layer} {row.value:.3f}" for row in by_layer.sort_values("layer_index").itertuples()]
            lines.append(f"| {folder.name} | {epoch} | {', '.join(cells)} | {loss.iloc[0]:.3f} |")
    return "\n".join(lines)


def _groups(folders: list[Path]) -> str:
    lines = ["| data | groups | worst by AUC, lower bound | all records |", "|---|---|---|---|"]
    for folder in folders:
        groups, rows = pd.read_csv(folder / "run" / "groups.csv"), pd.read_csv(folder / "run" / "leakage.csv")
        last = groups[(groups.epoch == groups.epoch.max()) & (groups.metric == "auc") & groups.value.notna()]
        for grouping, some in last.groupby("grouping"):
            worst = some.loc[some.lo.idxmax()]
            every = rows[(rows.epoch == worst.epoch) & (rows.adversary == worst.adversary) & (rows.layer == "*")]
            auc = every[every.metric == "auc"].iloc[0]
            of_groups = f"{len(some)} by {grouping} | {worst['group']}: {_interval(worst)}"
            lines.append(f"| {folder.name} | {of_groups} | {_interval(auc)} |")
    return "\n".join(lines)


def _interval(row: pd.Series) -> str:
    return f"{row.value:.3f} [{row.lo:.3f}, {row.hi:.3f}]"


if __name__ == "__main__":
    raise SystemExit(main())
