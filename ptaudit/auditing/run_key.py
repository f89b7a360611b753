"""What the tables of a run depend on: settings, code, data, versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import ptaudit
from ptaudit.auditing.code import sources
from ptaudit.auditing.training import training_versions
from ptaudit.context.session import Session
from ptaudit.spec.document import parse
from ptaudit.spec.entry import parse_entry
from ptaudit.spec.load import dump
from ptaudit.spec.model import Spec


def key(session: Session, spec_text: str) -> dict[str, str]:
    """What the tables of a run depend on; a checkpoint with another key is refused with the difference named."""
    return {
        **settings(spec_text),
        **{f"code of {path}": sha for path, sha in sources(session.spec).items()},
        "data": session.records.digest(),
        "split": session.split.digest(),
        "device": session.device.type,
        **{f"checkpoint of epoch {epoch}": sha for epoch, sha in session.checkpoints.items()},
        **versions(),
        **training_versions(session.spec),
    }


def fleet_key(spec: Spec) -> dict[str, str]:
    """What reference models depend on beside their training, the records and the pool, which these tell themselves."""
    own = settings(dump(spec))
    return {
        **{name: value for name, value in own.items() if name.startswith(("model.", "data.augment"))},
        **{f"code of {path}": sha for path, sha in sources(spec).items()},
        **versions(),
        **training_versions(spec),
    }


def settings(spec_text: str) -> dict[str, str]:
    """A resolved spec as `a.b.0.c` and value, so that two can be told apart setting by setting."""
    return dict(_leaves(parse(spec_text, "spec").values, ""))


def _leaves(content: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and content:
        inside = content.items()
    elif isinstance(content, list) and content:
        inside = dict(enumerate(content)).items()
    else:
        yield path, str(content)
        return
    for name, value in inside:
        yield from _leaves(value, f"{path}.{name}" if path else str(name))


def versions() -> dict[str, str]:
    """Versions that decide the tables."""
    return {
        "ptaudit": ptaudit.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
        "numpy": np.__version__,
    }


def model_digest(spec: Spec) -> str:
    """Hash of the model's source file; of its name where it is an installed module."""
    entry = parse_entry(spec.model.entry, Path())
    return _sha(Path(entry.target).read_bytes() if entry.kind == "file" else spec.model.entry.encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
