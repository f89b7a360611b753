"""Hashes of a run folder's own files, kept in its manifest: they find accidents, not forgers.

Whoever changes a file on purpose can write its new hash into the manifest. Text is hashed with the line ends that it
was written with, so that a folder that git checked out on another system is still the same; where nothing was converted
the hash is that of `sha256sum`.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from ptaudit.errors import RunFolderError

_TEXT = (".csv", ".json", ".yaml", ".md")
_AT_ONCE = 1 << 20


def digest(path: Path) -> str:
    """The hash of a file, hexadecimal SHA-256.

    Raises:
        RunFolderError: it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            chunks: Iterable[bytes] = iter(partial(file.read, _AT_ONCE), b"")
            for chunk in _text(chunks) if path.suffix in _TEXT else chunks:
                found.update(chunk)
    except OSError as error:
        raise RunFolderError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return found.hexdigest()


def digest_of(content: str | bytes) -> str:
    """The hash that a file of this content will have; text with line ends as ptaudit writes them."""
    data = content.replace("\r\n", "\n").encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def _text(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Text as it was written: LF alone, and no mark at its start."""
    held = b""
    for k, chunk in enumerate(chunks):
        data = held + (chunk.removeprefix(codecs.BOM_UTF8) if k == 0 else chunk)
        held = b"\r" if data.endswith(b"\r") else b""  # its other half may come next
        yield data.removesuffix(b"\r").replace(b"\r\n", b"\n") if b"\r" in data else data
    yield held


def verify(folder: Path, digests: object) -> None:
    """Find the files that are there as they were written; those that are not there are no matter.

    Args:
        folder: the run folder.
        digests: the manifest's `files`: hashes by name.

    Raises:
        RunFolderError: one is not, all such files are named; or `digests` is malformed.
    """
    if not isinstance(digests, dict) or not all(map(_is_inside, digests)):
        raise RunFolderError("files: not hashes by names of files in the folder", where=str(folder / "manifest.json"))
    there = [name for name in digests if (folder / name).is_file()]
    changed = [name for name in there if digest(folder / name) != digests[name]]
    if changed:
        verb = "is" if len(changed) == 1 else "are"
        raise RunFolderError(
            f"{', '.join(changed)} {verb} not as written with this manifest (SHA-256 differs)",
            where=str(folder),
            remedy="fetch or copy the run again, whole, or audit it again",
        )


def _is_inside(name: object) -> bool:
    """Whether a name is that of a file below the folder."""
    path = PurePosixPath(str(name))
    return isinstance(name, str) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
