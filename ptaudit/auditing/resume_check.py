"""A run folder that holds a whole run already: resuming it ends as that run did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptaudit.auditing.run_key import key, settings, versions
from ptaudit.context.session import Session
from ptaudit.errors import RunFolderError, SpecError
from ptaudit.spec.load import dump
from ptaudit.tables.folder import SPEC
from ptaudit.tables.run import Run
from ptaudit.training.checkpoint import difference

_REPLACE = "--fresh to replace it, or another --out"


def check_same(run: Run, session: Session, where: str) -> None:
    """Find the run to be one of this spec, code, data and versions.

    Raises:
        RunFolderError: it is another one; the differences are named.
    """
    try:
        before = settings(run.spec_text)
    except SpecError as error:
        raise RunFolderError(f"its {SPEC} is damaged", where=where, remedy=_REPLACE) from error
    text = dump(session.spec)
    if changes := difference(before, settings(text)):
        raise RunFolderError(f"holds a run of another spec: {changes}", where=where, remedy=_REPLACE)
    if changes := difference({**before, **_key(run.manifest)}, key(session, text)):
        raise RunFolderError(f"holds another run: {changes}", where=where, remedy=_REPLACE)


def _key(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The key of a run that ended, as far as its manifest tells it."""
    names = {"data": "data_sha256", "split": "split_sha256", "device": "device"}
    told = {name: str(manifest[entry]) for name, entry in names.items() if entry in manifest}
    if "device" in told:
        told["device"] = told["device"].partition(":")[0]
    code = {f"code of {path}": str(sha) for path, sha in dict(manifest.get("code_sha256", {})).items()}
    saved = {f"checkpoint of epoch {entry['epoch']}": str(entry["sha256"]) for entry in manifest.get("checkpoints", ())}
    built = {name: str(manifest[name]) for name in (*versions(), "opacus") if name in manifest}
    return {**told, **code, **saved, **built}
