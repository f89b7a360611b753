"""The header of a report: what was trained on what, seen by whom, in how much time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ptaudit.report.words import count, duration, percent, plural
from ptaudit.tables.spec import plain_spec

if TYPE_CHECKING:
    from ptaudit.tables.run import Run


_PHASES = ("training", "capture", "games")


def facts(run: Run) -> tuple[tuple[str, str], ...]:
    """Named facts in reading order; what the run folder does not tell is left out."""
    spec = plain_spec(run.spec_text)
    pairs = (
        ("model", _model(run, spec)),
        ("records", _records(run.manifest, spec)),
        ("training", _training(run, spec)),
        ("adversary", " ".join(_sentence(text) for text in run.manifest.get("threat_model", ()))),
        ("time", _time(run.timings)),
    )
    return tuple((name, text) for name, text in pairs if text)


def final_epoch(run: Run) -> str:
    """How well the model of the last epoch does on members and others: accuracy, or loss where there is none; and the
    epsilon it cost."""
    if not run.epochs:
        return ""
    last = run.epochs[-1]
    spent = "" if math.isnan(last.epsilon) else f", epsilon {last.epsilon:.3g}"
    for what, train, held_out in (
        ("accuracy", last.train_accuracy, last.held_out_accuracy),
        ("loss", last.train_loss, last.held_out_loss),
    ):
        if math.isfinite(train) and math.isfinite(held_out):
            return f"{what}: members {train:.3f}, held out {held_out:.3f}{spent}"
    return ""


def _part(spec: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = spec.get(key)
    return part if isinstance(part, dict) else {}


def _model(run: Run, spec: Mapping[str, Any]) -> str:
    captured = [layer for layer in run.layers if layer.capture != "none"]
    texts = [_short(_part(spec, "model").get("entry", ""))]
    if run.layers:
        parameters = plural(sum(layer.parameters for layer in run.layers), "parameter")
        texts.append(f"{parameters} in {plural(len(run.layers), 'layer')}")
        texts.append("all captured" if len(captured) == len(run.layers) else f"{len(captured)} captured")
    return ", ".join(text for text in texts if text)


def _records(manifest: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    texts = [_short(_part(spec, "data").get("source", ""))]
    if "members" in manifest:
        audited = manifest.get("records", manifest["members"])
        texts.append(f"{count(audited)} of {count(manifest['members'])} members audited")
    if "held_out" in manifest:
        texts.append(f"{count(manifest['held_out'])} held out")
    return ", ".join(text for text in texts if text)


def _training(run: Run, spec: Mapping[str, Any]) -> str:
    train, manifest = _part(spec, "train"), run.manifest
    texts = []
    if spec.get("replay"):
        texts.append("saved checkpoints")
    elif train:
        optimizer = _part(train, "optimizer")
        texts.append(f"{plural(train.get('epochs', 0), 'epoch')}, batch {train.get('batch_size')}")
        texts.append(f"{optimizer.get('name', '')} lr {optimizer.get('lr', '')}")
    if manifest.get("device"):
        texts.append(f"on {manifest['device']}")
    seeds = manifest.get("seeds", ())
    if seeds:
        texts.append(f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}")
    return "; ".join(text for text in (", ".join(texts), final_epoch(run)) if text)


def _time(timings: Mapping[str, float]) -> str:
    """Seconds per phase; what the audit cost on top of the training, as a share of it."""
    if not timings:
        return ""
    texts = [f"{name} {duration(timings[name])}" for name in _PHASES if name in timings]
    training, capture = timings.get("training", 0.0), timings.get("capture")
    if training > 0 and capture is not None:
        texts[texts.index(f"capture {duration(capture)}")] += f" (+{percent(capture / training)} of training)"
    texts += [
        f"{name} {duration(s)}" for name, s in timings.items() if name not in _PHASES and not name.startswith("game ")
    ]
    return ", ".join(texts)


def _short(entry: object) -> str:
    """The last part of a path: resolved specs hold absolute ones."""
    text = str(entry)
    return PurePath(text).name if "/" in text or "\\" in text else text


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
