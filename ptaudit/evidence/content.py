"""All that a folder of evidence says, derived from a run: what `verify` derives again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ptaudit.evidence.attacks import attack_entries
from ptaudit.report.caveats import caveats
from ptaudit.spec.catalog import JOINT, MODEL_VIEW
from ptaudit.spec.defenses import settings_of
from ptaudit.tables.groups import last_groups, of_all_records, worst_group
from ptaudit.tables.run import Run
from ptaudit.tables.spec import gates_digest, plain_spec, views_of
from ptaudit.tables.summary import overall

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict

_HASHES = {
    "model": "model_sha256", "code": "code_sha256", "data": "data_sha256", "split": "split_sha256",
    "spec": "spec_sha256",
}  # fmt: skip
_VERSIONS = ("ptaudit", "python", "torch", "numpy", "opacus", "device", "seeds")
_WORST = ("auc", "tpr_at_fpr_0.01", "bits")
_OF_ONE_RECORD = ("top_share", "fisher_loss_max", "worst_ssim", "worst_fields", "worst_tokens", "rebuilt", "exposed")


def content_of(run: Run, verdicts: Sequence[Verdict], undecided: Sequence[str]) -> dict[str, Any]:
    """What the evidence says, in plain values.

    Args:
        run: the run.
        verdicts: of its gates.
        undecided: gates that need a baseline that is not there.
    """
    manifest = run.manifest
    return {
        "name": run.name,
        "written_by": version("ptaudit"),
        "status": str(manifest.get("status", "")),
        "started": manifest.get("started"),
        "finished": manifest.get("finished"),
        "records": {name: manifest.get(name) for name in ("records", "members", "held_out")},
        "verdict": "inconclusive" if undecided and overall(verdicts) != "fail" else overall(verdicts),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "gates_without_a_baseline": list(undecided),
        "thresholds": thresholds_of(run),
        "attacks": attack_entries(run),
        "worst_and_average": worst_and_average(run),
        "privacy": privacy_of(run),
        "threat_model": list(manifest.get("threat_model", ())),
        "hashes": {name: manifest.get(entry) for name, entry in _HASHES.items()},
        "versions": {name: manifest[name] for name in _VERSIONS if name in manifest},
        "not_shown": list(caveats(run)),
        "evaluate_again_when": triggers(run),
    }


def thresholds_of(run: Run) -> dict[str, Any]:
    """Whether the gates were fixed before the run: their digest then, and that of the resolved spec now."""
    noted = run.manifest.get("thresholds")
    before = noted if isinstance(noted, dict) else {}
    now = gates_digest(run.spec_text)
    return {
        "fixed": before.get("fixed"),
        "sha256_before": before.get("sha256"),
        "sha256_after": now,
        "before_the_run": bool(before) and before.get("sha256") == now,
    }


def worst_and_average(run: Run) -> list[dict[str, Any]]:
    """The worst group beside all records, by the game's own numbers; and what is said of the worst record."""
    found = []
    for metric in _WORST:
        entry = worst_group(run, metric)
        if entry is None:
            continue
        average = of_all_records(run, entry)
        found.append(
            {
                "number": f"{entry.game}.{metric}",
                "adversary": entry.adversary,
                "worst": f"{entry.grouping} {entry.group}".strip(),
                "of": len(last_groups(run, metric)),
                **{end: getattr(entry, end) for end in ("value", "lo", "hi")},
                "average": None if average is None else average.value,
            }
        )
    rows = run.rows.as_trained.where(metric=_OF_ONE_RECORD, epoch=run.rows.last_epoch, layer=JOINT)
    for row in rows.take(rows.measured & rows.adaptive):
        numbers = {end: getattr(row, end) for end in ("value", "lo", "hi")}
        number, where = f"{row.game}.{row.metric}", f"view {row.view}"
        found.append({"number": number, "adversary": row.adversary, "worst": where, **numbers})
    return found


def privacy_of(run: Run) -> dict[str, Any]:
    """What NIST SP 800-226 asks of every claim: unit, adjacency, epsilon, trust model."""
    spec = plain_spec(run.spec_text)
    train = spec.get("train")
    defense = settings_of(train.get("defense")) if isinstance(train, dict) else None
    promise = defense.promise if defense is not None else ""
    spent = [epoch.epsilon for epoch in run.epochs if math.isfinite(epoch.epsilon)]
    users = isinstance(spec.get("data"), dict) and bool(spec["data"].get("user"))
    unit = "one record" + ("; games about users look at all records of one user" if users else "")
    bounds = run.rows.where(metric="epsilon_lo").text("adversary").counts()
    measured = sorted({name.rpartition("/")[2] for name in bounds})
    return {
        "unit": unit,
        "promise": promise or "none: no differential privacy of the training is promised",
        "adjacency_of_measured_bounds": measured,
        "epsilon": spent[-1] if promise and spent else None,
        "delta": getattr(defense, "delta", None) if promise else None,
        "trust_model": _trust(run),
    }


def _trust(run: Run) -> list[str]:
    seen = set(run.rows.text("view").counts())
    views = views_of(run.spec_text).items()
    said = [f"view {name}: {_view_in_words(settings)}" for name, settings in views if name in seen]
    if MODEL_VIEW in seen:
        said.append("view model: who trains is trusted with the records; whoever gets the model is not")
    return said


def _view_in_words(settings: Any) -> str:
    """Who is trusted with what where gradients are shared like this."""
    records, defense = settings.get("batch_size", 1), settings.get("defense")
    sums = "the gradient of one record" if records == 1 else f"the sum of the gradients of {records} records"
    guard = f" after {defense.get('name')}" if isinstance(defense, dict) else ""
    return f"whoever receives {sums}{guard} is not trusted; whoever computes it is"


def triggers(run: Run) -> list[str]:
    """When the evidence no longer holds: what it is about has changed, or more is known of attacks."""
    shown = {name: str(run.manifest.get(entry) or "not known")[:12] for name, entry in _HASHES.items()}
    return [
        f"the model, its code, the data, the split or the training change (hashes as below: data {shown['data']}…, "
        f"model {shown['model']}…, split {shown['split']}…)",
        "it is trained for other epochs, or shared with somebody whom the threat model does not have",
        "a stronger attack of one of the classes above is published, or a release of ptaudit has one",
        "a record is to be deleted, or the model is trained further",
    ]
