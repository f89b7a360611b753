"""The gates as they are before anything is trained: their digest, which the manifest keeps and `verify` checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.tables.formats import json_text, read_json
from ptaudit.tables.spec import gates_digest

_FILE = "thresholds.json"


def fix(state: Path, spec_text: str, started: str) -> dict[str, Any]:
    """Write the digest of the gates; of a run that goes on it stays as it was when the run was begun.

    Args:
        state: folder of what a resumed run needs.
        spec_text: the resolved spec.
        started: when, in UTC.

    Returns:
        `fixed`, when, and `sha256`, of what: for the manifest.

    Raises:
        RunFolderError: the file cannot be written, or is no such file.
    """
    path = state / _FILE
    if not path.is_file():
        write_whole(path, json_text({"fixed": started, "sha256": gates_digest(spec_text)}))
    found = read_json(path)
    if not isinstance(found, dict) or set(found) != {"fixed", "sha256"}:
        raise RunFolderError("not a digest of gates", where=str(path), remedy="--fresh to begin the run again")
    return found
