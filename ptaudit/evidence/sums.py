"""`SHA256SUMS`: the hash of every file of a folder, in the form that `sha256sum -c` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ptaudit.errors import RunFolderError
from ptaudit.evidence.signature import SIGNATURE

SUMS = "SHA256SUMS"
_MOST = 10_000
"""More files than any folder of evidence has."""
_LARGEST = 1 << 22
"""Bytes of a list of so many files."""


def sums_of(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder by its name, but of the sums and their signature.

    Raises:
        RunFolderError: a file cannot be read, is a link, or there are too many.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise RunFolderError("is a link; evidence has files alone", where=str(path), remedy="get the folder again")
        if path.is_dir() or name in (SUMS, SIGNATURE):
            continue
        if not path.is_file():
            raise RunFolderError("is no plain file", where=str(path), remedy="get the folder again")
        found[name] = _sha(path)
        if len(found) > _MOST:
            raise RunFolderError(f"more than {_MOST} files", where=str(folder), remedy="is this a folder of evidence?")
    return found


def _sha(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunFolderError(f"cannot be read: {error.strerror}", where=str(path)) from error


def sums_text(sums: dict[str, str]) -> str:
    """The file."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def differences(folder: Path) -> list[str]:
    """What is not as `SHA256SUMS` has it, a sentence for each file; empty if all is.

    Raises:
        RunFolderError: there are no sums, or something cannot be read.
    """
    path = folder / SUMS
    if not path.is_file():
        raise RunFolderError(f"no {SUMS}: not a folder of evidence", where=str(folder), remedy="ptaudit evidence RUN")
    if path.stat().st_size > _LARGEST:
        raise RunFolderError("is larger than any list of files", where=str(path), remedy="get the folder again")
    text, there = path.read_bytes(), sums_of(folder)
    listed: dict[str, str] = {}
    for line in text.decode("utf-8", errors="replace").split("\n"):
        sha, _, name = line.partition("  ")
        listed[name] = sha
    listed.pop("", None)
    wrong = [f"{name}: is not in {SUMS}" for name in there if name not in listed]
    wrong += [f"{name}: is missing" for name in listed if name not in there]
    wrong += [
        f"{name}: is not as it was written (its SHA-256, or its line in {SUMS}, differs)"
        for name, sha in listed.items()
        if name in there and there[name] != sha
    ]
    if not wrong and text != sums_text(there).encode():
        wrong.append(f"{SUMS}: is not as it was written")
    return wrong
