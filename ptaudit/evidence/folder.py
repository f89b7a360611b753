"""A folder of evidence: copies of the tables, what they say, and the hash of every file; written whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ptaudit.errors import RunFolderError
from ptaudit.evidence.content import content_of
from ptaudit.evidence.page import page_of
from ptaudit.evidence.signature import SIGNATURE, sign
from ptaudit.evidence.sums import SUMS, sums_of, sums_text
from ptaudit.files import write_whole
from ptaudit.gate import decide
from ptaudit.gate.own import own_gates
from ptaudit.tables.folder import BESIDE, LEAKAGE, MANIFEST, OWN, SPEC, read_run
from ptaudit.tables.formats import finite, json_text, read_json
from ptaudit.tables.run import Run

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict

CONTENT, PAGE, RUN, BASELINE = "evidence.json", "evidence.md", "run", "baseline"
_SEED = re.compile(rf"seeds/[^/\\]+(?<!/\.)(?<!/\.\.)/{re.escape(LEAKAGE)}")
"""The table of a seed, and nothing else that a manifest may list below that folder."""


@dataclass(frozen=True)
class Judged:
    """What the tables of a folder of evidence say.

    Attributes:
        run: the run.
        verdicts: of its gates, decided from the tables.
        content: everything that `evidence.json` has, in plain values.
        page: the text of `evidence.md`.
    """

    run: Run
    verdicts: tuple[Verdict, ...]
    content: dict[str, Any]
    page: str


def judge(folder: Path) -> Judged:
    """Derive from the tables in a folder of evidence all that it says.

    Raises:
        PtauditError: the tables cannot be read, or a gate matches no row.
    """
    run = read_run(folder / RUN)
    baseline = read_run(folder / BASELINE) if (folder / BASELINE).is_dir() else None
    gates = own_gates(run.spec_text, f"{RUN}/{SPEC}")
    ready = [gate for gate in gates if gate.kind != "max_increase" or baseline is not None]
    verdicts = tuple(decide(ready, run, baseline))
    waiting = [gate.id for gate in gates if gate not in ready]
    content = cast(dict[str, Any], finite(content_of(run, verdicts, waiting)))
    return Judged(run, verdicts, content, page_of(content, verdicts, RUN))


def write_evidence(run: Path, out: Path, baseline: Path | None = None, key: Path | None = None) -> Judged:
    """Write a folder of evidence.

    Args:
        run: the run folder.
        out: the folder to make.
        baseline: the run folder that increases are measured from.
        key: private key to sign the hashes with.

    Returns:
        What it says.

    Raises:
        PtauditError: `out` has something in it, a run folder cannot be read or has no manifest, the key is none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("exists and is not empty", where=str(out), remedy="name a folder that does not exist")
    with _beside(out) as part:
        _copy(run, part / RUN)
        if baseline is not None:
            _copy(baseline, part / BASELINE)
        judged = judge(part)
        write_whole(part / CONTENT, json_text(judged.content))
        write_whole(part / PAGE, judged.page)
        sums = sums_text(sums_of(part))
        write_whole(part / SUMS, sums)
        if key is not None:
            write_whole(part / SIGNATURE, sign(sums.encode(), key))
    return judged


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside another, which takes its place when it is whole and is gone if it is not."""
    part = out.absolute().with_name(f".{out.absolute().name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        part.replace(out.absolute())
    except OSError as error:
        raise RunFolderError(f"cannot be written: {error.strerror}", where=str(out)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(run: Path, to: Path) -> None:
    """The files of a run that are about no single record, as its manifest lists them."""
    read_run(run)  # as it was written, or not at all
    if not (run / MANIFEST).is_file():
        raise RunFolderError(f"no {MANIFEST}: nobody knows how the tables came about", where=str(run), remedy="run it")
    listed = read_json(run / MANIFEST).get("files", {})
    for name in [MANIFEST, *_shared(listed)]:
        if (run / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, to / name)


def _shared(listed: Iterable[str]) -> list[str]:
    own = OWN - set(BESIDE)
    return [name for name in listed if name in own or _SEED.fullmatch(name)]
