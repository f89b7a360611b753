"""Checks a folder of evidence: nothing in it was changed, and what it says follows from its tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from ptaudit.evidence.folder import CONTENT, PAGE, RUN, Judged, judge
from ptaudit.evidence.signature import SIGNATURE, is_signed
from ptaudit.evidence.sums import SUMS, differences
from ptaudit.tables.formats import finite, read_json, read_text

_DECIDED = (
    "metric", "view", "over", "epoch", "trained_with", "threshold", "kind", "outcome", "worst_layer", "worst_epoch",
    "worst_adversary", "value", "lo", "hi", "rows",
)  # fmt: skip
"""What of a verdict no release may say in another way."""
_SAME = 1e-5
"""Difference of numbers that another machine may make of the same tables, whose resamples are kept in float32."""


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        wrong: what does not hold, a sentence each; empty if all does.
        right: what holds.
        notes: what could not be checked.
    """

    wrong: tuple[str, ...]
    right: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verify(folder: Path, key: Path | None = None) -> Checked:
    """Check the hashes, the signature where a key is given, and then derive everything again from the tables.

    Args:
        folder: the folder of evidence.
        key: public key of who is said to have signed it, from a source other than the folder.

    Raises:
        PtauditError: it is no such folder, or the key is none.
    """
    wrong = differences(folder)
    signed = (folder / SIGNATURE).is_file()
    if key is not None:
        content = (folder / SUMS).read_bytes()
        if not (signed and is_signed(content, (folder / SIGNATURE).read_bytes(), key)):
            wrong.append(f"{SIGNATURE}: {'is not a signature of' if signed else 'is missing: nobody signed'} {SUMS}")
    if wrong:  # what was changed is not worth reading
        return Checked(tuple(wrong))
    judged, written = judge(folder), read_json(folder / CONTENT)
    told = written if isinstance(written, dict) else {}
    if told.get("written_by") == version("ptaudit"):
        wrong = [f"{CONTENT}: {place}: {what}" for place, what in _unlike(told, judged.content, "")]
        if not wrong and read_text(folder / PAGE) != judged.page:
            wrong.append(f"{PAGE}: does not say what the tables say")
    else:  # another release may say the same in other words
        wrong = list(_decided(told.get("verdicts"), judged, CONTENT))
        found = _unlike(_essence(told), _essence(judged.content), "")
        wrong += [f"{CONTENT}: {place}: {what}" for place, what in found]
    wrong += [*_decided([asdict(verdict) for verdict in judged.run.verdicts], judged, f"{RUN}/gates.json")]
    wrong += _moved(judged)
    return Checked(tuple(wrong), tuple(_right(judged, key)), tuple(_notes(judged, told, signed and key is None)))


def _decided(verdicts: Any, judged: Judged, file: str) -> Iterator[str]:
    """What a file says of gates otherwise than the tables do."""
    again = {verdict.id: cast(dict[str, Any], finite(asdict(verdict))) for verdict in judged.verdicts}
    listed = cast(list[Any], finite(verdicts)) if isinstance(verdicts, list) else []
    told = {str(one.get("id")): one for one in listed if isinstance(one, dict)}
    waiting = judged.content["gates_without_a_baseline"]
    due = [name for name, derived in again.items() if derived["kind"] != "max_increase"]  # of a later baseline
    yield from (f"{file}: gate {name}: is missing" for name in due if told and name not in told)
    yield from (f"{file}: gate {name}: the spec has no such gate" for name in told if name not in {*again, *waiting})
    for name, derived in again.items():
        one = told.get(name, derived)
        found = _unlike({key: one.get(key) for key in _DECIDED}, {key: derived.get(key) for key in _DECIDED}, "")
        yield from (f"{file}: gate {name}: {place}: {what}" for place, what in found)


def _essence(content: dict[str, Any]) -> dict[str, Any]:
    """What no release says in another way: the verdict over all, which gates there are, which attacks were run, what
    was promised and fixed, and the hashes."""

    def listed(name: str) -> list[dict[str, Any]]:
        entries = content.get(name)
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    states = {str(entry.get("name")): entry.get("state") for entry in listed("attacks")}
    same = {name: content.get(name) for name in ("verdict", "privacy", "thresholds", "hashes")}
    return {**same, "gates": [entry.get("id") for entry in listed("verdicts")], **states}


def _moved(judged: Judged) -> Iterator[str]:
    thresholds = judged.content["thresholds"]
    if thresholds["sha256_before"] and not thresholds["before_the_run"]:
        yield f"{RUN}/spec.resolved.yaml: its gates are not those that were fixed before the run"


def _unlike(written: Any, derived: Any, place: str) -> Iterator[tuple[str, str]]:
    """Where plain values differ, numbers by more than their last digits, and how."""
    if isinstance(written, dict) and isinstance(derived, dict):
        for name in sorted({*written, *derived}):
            yield from _unlike(written.get(name), derived.get(name), f"{place}.{name}" if place else str(name))
    elif isinstance(written, list) and isinstance(derived, list) and len(written) == len(derived):
        for number, pair in enumerate(zip(written, derived)):
            yield from _unlike(*pair, f"{place}.{number}")
    elif not _same(written, derived):
        yield place, f"{written!r} is written, the tables say {derived!r}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=0.1 * _SAME)
    return bool(one == other)


def _right(judged: Judged, key: Path | None) -> Iterator[str]:
    yield f"every file is as {SUMS} has it" + (f", which the holder of {key} signed" if key else "")
    count = len(judged.verdicts)
    yield f"{count} verdict{'s' * (count != 1)} derived again from the tables: as they are written"
    if judged.content["thresholds"]["before_the_run"]:
        yield "the gates are those that were fixed before the run"


def _notes(judged: Judged, told: dict[str, Any], unchecked: bool) -> Iterator[str]:
    if unchecked:
        yield f"{SIGNATURE} was not checked: give the signer's public key with --key"
    if not judged.content["thresholds"]["sha256_before"]:
        yield "the run did not write down its gates when it began: they may have been chosen afterwards"
    wrote = told.get("written_by")
    if wrote != version("ptaudit"):
        yield (
            f"written by ptaudit {wrote}, this is {version('ptaudit')}: {PAGE} and numbers beside the gates were not "
            f"compared (pip install ptaudit=={wrote})"
        )
    if judged.verdicts and not judged.run.verdicts:
        yield f"{RUN}/gates.json has no verdicts: the run was not asked to decide"
    for name in judged.content["gates_without_a_baseline"]:
        yield f"gate {name} was not decided: it needs a baseline, which the folder does not have"
