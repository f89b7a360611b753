"""A small hand-made run, deterministic and realistic: five layers and `*`, four views, three games, five epochs."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from ptaudit.compare import Change, Comparison
from ptaudit.report.check import CheckReport
from ptaudit.report.columns import CheckpointEntry, ColumnEntry, FrozenEntry
from ptaudit.report.limits import GateLimit, LimitEntry
from ptaudit.report.selftest import CaseResult
from ptaudit.spec.catalog import JOINT
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.columns import Columns, columns_of
from ptaudit.tables.row import Row
from ptaudit.tables.run import EpochEntry, LayerEntry, Run
from ptaudit.tables.table import Table
from ptaudit.tables.verdict import Verdict

EPOCHS = (0, 1, 2, 4, 8)
STEPS = 15
LAYERS = (
    LayerEntry("features.conv1", 0, "Conv2d", 156, "rule", ""),
    LayerEntry("features.conv2", 1, "Conv2d", 2416, "rule", ""),
    LayerEntry("norm", 2, "LayerNorm", 32, "rule", ""),
    LayerEntry("mixer", 3, "Mixer", 640, "none", "records are mixed in the forward pass"),
    LayerEntry("head.fc1", 4, "Linear", 15480, "rule", ""),
    LayerEntry("head.fc2", 5, "Linear", 850, "vmap", "a parameter is used functionally"),
)
VIEWS = {"record": 1, "batch-8": 8, "batch-32": 32, "dp": 32}
SPEC = """\
version: 1
name: digits-lenet
model: {entry: /home/someone/models/lenet.py:lenet, args: {num_classes: 10}}
data: {source: sklearn:digits, held_out: 0.5}
train: {epochs: 8, batch_size: 64, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}, seed: 0}
audit:
  tokens: {dim: 256}
  views:
  - {name: record, batch_size: 1}
  - {name: batch-8, batch_size: 8}
  - {name: batch-32, batch_size: 32}
  - {name: dp, batch_size: 32, defense: {name: dp, clip: 1.0, noise_multiplier: 1.0}}
  games: [{name: identity}, {name: label}, {name: membership}]
gates:
- {id: batch-leak, metric: identity.bits, view: batch-32, over: layers, epoch: last, max: 3.2}
"""
IDENTITY_CEILING, LABEL_CEILING, DP_CEILING = 7.807354922057604, math.log2(10), 0.72
_WEIGHT = {"features.conv1": 0.22, "features.conv2": 0.35, "norm": 0.05, "head.fc1": 0.55, "head.fc2": 0.72, JOINT: 0.8}
_VIEW_WEIGHT = {"record": 1.25, "batch-8": 0.85, "batch-32": 0.5, "dp": 0.06}


def example_run(
    *, name: str = "digits-lenet", verdicts: tuple[Verdict, ...] | None = None, layers: int = 5, scale: float = 1.0
) -> Run:
    """The run; `layers` > 5 repeats blocks, `scale` multiplies what leaks."""
    entries = _entries(layers)
    rows = [row for epoch in EPOCHS for row in (*_token_rows(epoch, entries, scale), *_membership_rows(epoch))]
    return Run(
        name=name,
        rows=Table.of(rows),
        layers=entries,
        epochs=tuple(
            EpochEntry(
                e, e * STEPS, 2.3 / (1 + e), min(0.1 + e / 8, 0.99), 2.35 / (1 + 0.8 * e), 0.1 + e / 10, math.nan
            )
            for e in EPOCHS
        ),
        manifest={
            "ptaudit": "0.1.0",
            "torch": "2.4.0",
            "device": "cpu",
            "seeds": [0],
            "records": 898,
            "members": 898,
            "held_out": 899,
            "status": "complete",
            "threat_model": [
                "White-box: the adversary knows weights and architecture and sees the gradient of each view",
                "It holds the candidates themselves and has to name the one that was in the batch",
            ],
            "warnings": ["dropout frozen: the gradients are read with dropout off"],
        },
        timings={"training": 3.1, "capture": 1.2, "games": 17.4},
        spec_text=SPEC,
        verdicts=VERDICTS if verdicts is None else verdicts,
    )


def verdict(gate: str, outcome: str, **other: object) -> Verdict:
    """A verdict on identity bits in view batch-32."""
    fields: dict[str, object] = {
        "metric": "identity.bits",
        "view": "batch-32",
        "over": "layers",
        "epoch": "last",
        "threshold": 3.2,
        "kind": "max",
        "worst_layer": "head.fc2",
        "worst_epoch": 8,
        "worst_adversary": "likelihood-ratio",
        "value": 2.203,
        "lo": 1.994,
        "hi": 2.412,
        "rows": 4,
        "reason": "",
        "advice": None,
    }
    return Verdict(id=gate, outcome=outcome, **{**fields, **other})  # type: ignore[arg-type]


VERDICTS = (
    verdict("batch-leak", "pass", limited=4, reason="4 of 4 rows at most 3.2"),
    verdict(
        "record-leak",
        "fail",
        view="record",
        threshold=5.0,
        value=5.507,
        lo=5.203,
        hi=5.811,
        reason="1 of 4 rows above 5",
        advice="view batch-32 stays at 2.2 <= 5 on the same layers",
    ),
    verdict(
        "members",
        "inconclusive",
        metric="membership.auc",
        view="model",
        over="joint",
        threshold=0.55,
        worst_layer=JOINT,
        worst_adversary="loss",
        value=0.561,
        lo=0.538,
        hi=0.584,
        rows=1,
        reason="1 of 1 row may be above or below 0.55",
    ),
)


def _entries(layers: int) -> tuple[LayerEntry, ...]:
    extra = (
        LayerEntry(f"blocks.{i}.attention.projection", 6 + i, "Linear", 4160 + i, "rule", "") for i in range(layers - 5)
    )
    return (*LAYERS, *extra)


def _token_rows(epoch: int, layers: tuple[LayerEntry, ...], scale: float) -> list[Row]:
    rows = []
    for view in VIEWS:
        for game, ceiling in (("identity", IDENTITY_CEILING), ("label", LABEL_CEILING)):
            top = DP_CEILING if view == "dp" else ceiling
            for layer in (None, *layers):
                if layer is not None and layer.capture == "none":
                    continue
                rows += _scores(epoch, layer, view, game, top, scale)
    return rows


def _scores(epoch: int, layer: LayerEntry | None, view: str, game: str, ceiling: float, scale: float) -> list[Row]:
    name = layer.name if layer else JOINT
    growth = 1 - 0.45 * math.exp(-epoch / 3) if game == "label" else 0.75 + 0.25 * math.exp(-epoch / 4)
    part = min(_WEIGHT.get(name, 0.3) * _VIEW_WEIGHT[view] * growth * scale, 1.0)
    half = 0.03 * ceiling * (0.4 + part)
    value, lo, hi = part * ceiling, max(part * ceiling - half, 0.0), min(part * ceiling + half, ceiling)
    adversary, status = "likelihood-ratio", "ok" if view == "dp" or part >= 0.9 else "attack-limited"
    if part == 1.0:
        adversary = "exact" if view == "record" and game == "identity" else adversary
        lo, status = ceiling * (1 - 3 / 898), "saturated"
    if view == "dp" and game == "label":
        value = lo = hi = math.nan
        status = "inconclusive: too few records: 449 of the 640 needed"
    place = (epoch, epoch * STEPS, name, layer.index if layer else -1, layer.type if layer else "joint")
    size = layer.parameters if layer else 19574
    chance = {"identity": 1 / 224, "label": 0.1}[game]
    accuracy = min(chance + 0.9 * part, 1.0)
    return [
        _row((*place, size, view, game), adversary, "bits", value, lo, hi, 0.004, ceiling, 898, status),
        _row(
            (*place, size, view, game),
            adversary,
            "accuracy",
            accuracy,
            accuracy - 0.02,
            min(accuracy + 0.02, 1.0),
            chance,
            1.0,
            898,
            "ok",
        ),
    ]


def _row(place: tuple, adversary: str, metric: str, *numbers: object) -> Row:
    """A row of an adversary who knows the view and no record; the limit of detection is that of its interval."""
    *measured, n, status = numbers
    limit = Estimate(*measured, n, status).detectable
    return Row(*place, adversary, "adaptive", "none", "none", metric, *measured, limit, n, status)


def _membership_rows(epoch: int) -> list[Row]:
    place = (epoch, epoch * STEPS, JOINT, -1, "joint", 19574, "model", "membership")
    rows = []
    for adversary, gain in (("loss", 0.061), ("gradient-norm", 0.048)):
        auc = 0.5 + gain * epoch / 8
        bits = gain * gain * epoch
        rows += [
            _row(place, adversary, "auc", auc, auc - 0.02, auc + 0.02, 0.5, 1.0, 1797, "ok"),
            _row(place, adversary, "bits", bits, max(bits - 0.006, 0.0), bits + 0.006, 0.0, 1.0, 1797, "ok"),
            _row(
                place,
                adversary,
                "tpr_at_fpr_0.001",
                math.nan,
                math.nan,
                math.nan,
                0.001,
                1.0,
                1797,
                "inconclusive: 5 false positives expected at least",
            ),
        ]
    return rows


def leaking_run() -> Run:
    """The run with nearly everything at its ceiling, and the noise that would hide half of it."""
    run, rows = example_run(scale=6.0, verdicts=()), []
    for row in run.rows:
        rows.append(row)
        if (row.game, row.metric) == ("identity", "bits") and row.view != "dp":
            noise = 0.5 * _WEIGHT[row.layer] * _VIEW_WEIGHT[row.view]
            numbers = {"value": noise, "lo": 0.9 * noise, "hi": 1.1 * noise, "null": math.nan, "ceiling": math.nan}
            rows.append(replace(row, metric="noise_half", detectable=math.nan, status="ok", **numbers))
    return replace(run, rows=Table.of(rows))


def small_run() -> Run:
    """The run cut down to view batch-32 at two epochs: small enough for a golden file of every row."""
    run = example_run()
    return replace(run, rows=run.rows.where(view=("batch-32", "model"), epoch=(0, 8)))


def changes_of(*changes: Change) -> Columns[Change]:
    """The changes of a comparison."""
    return Columns(Change, columns_of(Change, [field.name for field in fields(Change)], changes))


def example_comparison() -> Comparison:
    nan = math.nan
    nan = math.nan
    place = ("batch-32", "identity", "likelihood-ratio", "adaptive", "none", "none", "bits")
    return Comparison(
        changes=changes_of(
            Change(8, "head.fc1", *place, 2.40, 2.45, 0.05, -0.20, 0.30, "within noise"),
            Change(8, "features.conv1", *place, 1.10, 0.40, -0.70, -0.95, -0.45, "better?"),
            Change(4, "head.fc2", *place, 2.45, 3.10, 0.65, 0.31, 0.99, "worse?"),
            Change(8, "head.fc2", *place, 2.45, 3.30, 0.85, 0.51, 1.19, "worse?"),
            Change(8, "norm", *place, 0.26, nan, nan, nan, nan, "not comparable", "not in no-dropout"),
        ),
        notes=("one seed: retraining noise not included",),
        before="digits-lenet",
        after="no-dropout",
    )


_NAN = math.nan


EXAMPLE_CHECK = CheckReport(
    spec_name="digits-lenet",
    device="cpu",
    layers=LAYERS,
    parameters=19574,
    captured_parameters=18934,
    members=898,
    held_out=899,
    audited=898,
    step_seconds=0.0042,
    estimate_seconds={"training": 3.1, "capture": 1.2, "games": 170.0},
    memory_bytes=268_435_456,
    gradient_bytes=25_165_824,
    limits=(
        LimitEntry("identity", "record", "bits", (), 896, "records", 0.0, 0.0199, 7.807, ""),
        LimitEntry("identity", "record", "accuracy", (), 896, "records", 0.0045, 0.0100, 1.0, ""),
        LimitEntry("identity", "batch-32", "bits", (), 896, "records", 0.0, 0.0199, 7.807, ""),
        LimitEntry("identity", "batch-32", "accuracy", (), 896, "records", 0.0045, 0.0100, 1.0, ""),
        LimitEntry("membership", "model", "auc", (), 1797, "records", 0.5, 0.5339, 1.0, ""),
        LimitEntry("membership", "model", "auc", ("gradient-likelihood",), 1797, "records", 0.5, 0.5479, 1.0, ""),
        LimitEntry(
            "membership",
            "model",
            "tpr_at_fpr_0.001",
            (),
            1797,
            "records",
            _NAN,
            _NAN,
            _NAN,
            "FPR 0.001 needs 5000 non-members, there are 899",
        ),
        LimitEntry(
            "canary", "dp", "epsilon_lo", ("crafted/gaussian-dp/add-remove",), 1000, "canaries", 0.0, _NAN, 4.37, ""
        ),
        LimitEntry("mutual-information", "record", "", (), 0, "records", _NAN, _NAN, _NAN, ""),
    ),
    gate_limits=(
        GateLimit(
            "members",
            "will probably be undecided, unless far more leaks: max 0.52 is below what 1797 records can tell from a "
            "guess (about 0.55); about 11000 records would do",
            11_000,
        ),
    ),
    warnings=("gate dp-leak: a max of 3 bits can hardly be reached in view dp (ceiling 0.72)",),
    columns=(
        *(ColumnEntry(f"pixel{k}", "number", None, 0, "standardised", 1, None) for k in range(64)),
        ColumnEntry("town", "category", 12, 3, "one-hot, 14 inputs; attribute", 14, 0.0312),
        ColumnEntry("id", "", None, None, "dropped", 0, None),
        ColumnEntry("digit", "number", 10, 0, "label, 10 classes", 0, None),
    ),
    class_names=tuple("0123456789"),
    frozen=(FrozenEntry("features.stem", 1_200), FrozenEntry("head.fc2.bias", 10)),
    checkpoints=(
        CheckpointEntry(1, "ckpts/epoch=0-step=25.ckpt", "epoch 0, step 25 (Lightning)", False),
        CheckpointEntry(2, "ckpts/epoch=1-step=50.ckpt", "epoch 1, step 50 (Lightning)", True),
    ),
)


CASES = (
    CaseResult("planted leak is named", "layer 3 of 5", "layer 3 of 5", True, 1.25),
    CaseResult("private toy", "0 bits", "0.412 [0.300, 0.520] bits", False, 2.0),
)
