"""The run folder: written whole, read back with or without all that is not a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.columns import first_of
from ptaudit.tables.digests import digest, digest_of, verify
from ptaudit.tables.draws import draws_bytes, with_draws
from ptaudit.tables.formats import check_header, csv_text, json_text, read_json, read_records, read_text
from ptaudit.tables.groups import read_groups
from ptaudit.tables.manifest import read_manifest
from ptaudit.tables.reading import read_leakage
from ptaudit.tables.row import COLUMNS, TABLE_VERSION, Row
from ptaudit.tables.run import EpochEntry, LayerEntry, Run
from ptaudit.tables.sheets import SHEETS
from ptaudit.tables.status import first_word, reason_of
from ptaudit.tables.summary import summary
from ptaudit.tables.table import Table
from ptaudit.tables.verdict import Verdict

LEAKAGE, EPOCHS = "leakage.csv", "epochs.csv"
DRAWS = "bootstrap.npz"
SPEC = "spec.resolved.yaml"
MANIFEST = "manifest.json"
ENCODERS = "encoders"
REBUILT = "rebuilt"
"""Folder of pictures of records beside what was rebuilt of them."""
RESUME = ".resume"
"""What a run that is not finished keeps in its folder."""

_FIRST_VERSION = tuple(c for c in COLUMNS if c not in ("knowledge", "knows", "trained_with", "detectable"))
"""Columns of a table of version 1."""


def leakage_text(rows: Iterable[Row]) -> str:
    """The leakage table as CSV."""
    return csv_text(COLUMNS, ([getattr(row, column) for column in COLUMNS] for row in rows))


REPORTS = ("report.md", "report.html")
BESIDE = ("samples.csv", "live.csv", "preprocess.json")
OWN = frozenset(
    {*BESIDE, *SHEETS, LEAKAGE, DRAWS, SPEC, MANIFEST, "gates.json", "summary.json", "timings.json", *REPORTS}
)
"""Files of a run folder, of which some are there only if their games were played."""


def write_run(run: Run, folder: Path, reports: Mapping[str, str] | None = None) -> None:
    """Writes every file of a run folder, `leakage.csv` last: a folder that has it is whole.

    Args:
        run: what to write.
        folder: made if it does not exist.
        reports: texts for people by the names of their files: `report.md` and `report.html`.
    """
    leakage = leakage_text(run.rows)
    files: dict[str, str | bytes] = {
        "gates.json": json_text([asdict(verdict) for verdict in run.verdicts]),
        "summary.json": json_text(summary(run)),
        "timings.json": json_text(run.timings),
        SPEC: run.spec_text,
        DRAWS: draws_bytes(run.rows, leakage),
    }
    for name, entry in SHEETS.items():
        sheet = entry.make(run)
        if sheet.rows or entry.always:
            files[name] = csv_text(sheet.columns, sheet.rows)
    for name, table in zip(_seed_names(run), run.seeds, strict=True):
        files[f"seeds/{name}/{LEAKAGE}"] = leakage_text(table)
    files.update(reports or {})
    files[LEAKAGE] = leakage
    manifest = {
        **run.manifest,
        "name": run.name,
        "table_version": TABLE_VERSION,
        "layers": [asdict(layer) for layer in run.layers],
        "files": {**_beside(folder), **{name: digest_of(content) for name, content in files.items()}},
    }
    for name, content in {MANIFEST: json_text(manifest), **files}.items():
        write_whole(folder / name, content)


def _beside(folder: Path) -> dict[str, str]:
    """Digests of what others have written before: scores of single records, pictures, live reading, encoders."""
    there = [folder / name for name in BESIDE] + [*_inside(folder / ENCODERS), *_inside(folder / REBUILT)]
    return {path.relative_to(folder).as_posix(): digest(path) for path in there if path.is_file()}


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def read_run(folder: Path) -> Run:
    """Reads a run folder; all but `leakage.csv` may be absent (draws are then None, the spec empty, and so on).

    Raises:
        RunFolderError: if there is no run, an unfinished one, one with tables of another version, or a file that is
            malformed (with its line) or not as the manifest says it was written.
    """
    try:
        return _read_run(folder)
    except OSError as error:  # a name that is too long, a place that may not be searched
        raise RunFolderError(f"cannot be read: {error.strerror}", where=str(folder)) from error


def _read_run(folder: Path) -> Run:
    leakage = folder / LEAKAGE
    if not leakage.is_file():
        raise _no_run(folder)
    manifest = read_manifest(folder / MANIFEST)
    _check_version(manifest, leakage)
    digests = manifest.pop("files", {})
    name, layers = str(manifest.pop("name", folder.resolve().name)), manifest.pop("layers", None)
    rows = read_leakage(leakage)
    entries = _records(LayerEntry, layers, folder / MANIFEST) if layers else _layers_of(rows)
    verdicts = folder / "gates.json"
    spec = folder / SPEC
    epochs = read_records(EpochEntry, folder / EPOCHS, [field.name for field in fields(EpochEntry)])
    run = Run(
        name=name,
        rows=rows,
        layers=tuple(entries),
        epochs=tuple(entry for _, entry in epochs) if (folder / EPOCHS).is_file() else (),
        manifest=manifest,
        timings=_timings(folder / "timings.json"),
        spec_text=read_text(spec) if spec.is_file() else "",
        verdicts=tuple(_records(Verdict, read_json(verdicts), verdicts)) if verdicts.is_file() else (),
        seeds=_read_seeds(folder / "seeds", manifest.get("seeds", ())),
        groups=read_groups(folder / "groups.csv"),
    )
    verify(folder, digests)
    return replace(run, rows=with_draws(rows, folder / DRAWS, leakage))


def _no_run(folder: Path) -> RunFolderError:
    if not folder.exists():
        return RunFolderError("no such run folder", where=str(folder))
    if not folder.is_dir():
        return RunFolderError("not a folder", where=str(folder), remedy="give the folder that holds leakage.csv")
    if (folder / RESUME).exists():
        return RunFolderError("unfinished run", where=str(folder), remedy="resume with ptaudit run SPEC --resume")
    return RunFolderError(f"not a run folder: no {LEAKAGE}", where=str(folder))


def _check_version(manifest: dict[str, Any], leakage: Path) -> None:
    """Refuses tables of another version; a folder without a manifest is known by the columns of its table."""
    version = manifest.pop("table_version", 1 if manifest else None)
    if version is None:
        version = 1 if check_header(leakage, ()) == list(_FIRST_VERSION) else TABLE_VERSION
    if version != TABLE_VERSION:
        older = isinstance(version, int) and version < TABLE_VERSION
        remedy = "audit it again with this release" if older else "update ptaudit, or use the release that wrote it"
        what = f"tables of version {version}; this release reads version {TABLE_VERSION}"
        raise RunFolderError(what, where=str(leakage), remedy=remedy)


def _seed_names(run: Run) -> list[str]:
    names = [str(seed) for seed in run.manifest.get("seeds", ())]
    return names if len(names) == len(run.seeds) else [str(k) for k in range(len(run.seeds))]


def _read_seeds(folder: Path, seeds: Sequence[object]) -> tuple[Table, ...]:
    """Tables of the single seeds in the order of the manifest, others after them by number."""
    if not folder.is_dir():
        return ()
    order = {str(seed): k for k, seed in enumerate(seeds)}
    gone = [name for name in order if not (folder / name / LEAKAGE).is_file()] if len(order) > 1 else []
    if gone:
        raise RunFolderError(
            f"the tables of seed {', '.join(gone)} are missing", where=str(folder), remedy="fetch the run again, whole"
        )
    found = [path for path in folder.iterdir() if (path / LEAKAGE).is_file()]
    found.sort(key=lambda path: (order.get(path.name, len(order)), len(path.name), path.name))
    return tuple(read_leakage(path / LEAKAGE) for path in found)


def _json_object(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise RunFolderError("not a JSON object", where=str(path))
    return content


def _timings(path: Path) -> dict[str, float]:
    found = _json_object(path)
    if not all(isinstance(value, float | int) for value in found.values()):
        raise RunFolderError("not seconds by phase", where=str(path))
    return found


def _records(kind: type, content: object, path: Path) -> list[Any]:
    """JSON objects as dataclasses; null is NaN where a number belongs."""
    hints = get_type_hints(kind)
    try:
        return [
            kind(**{f.name: _value(entry[f.name], hints[f.name], f.name) for f in _written(kind, entry)})
            for entry in content  # type: ignore[attr-defined]
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise RunFolderError(f"not a list of {kind.__name__}: {error}", where=str(path)) from error


def _written(kind: type, entry: Any) -> list[Field[Any]]:
    """Its fields without those that have a default and that an earlier release did not write."""
    return [field for field in fields(kind) if field.default is MISSING or field.name in entry]


_JSON_TYPES: dict[object, tuple[type, ...]] = {float: (float, int), int: (int,), str: (str,), NoneType: (NoneType,)}


def _value(value: Any, hint: object, name: str) -> Any:
    if value is None and hint is float:
        return float("nan")
    if not _fits(value, hint):
        raise ValueError(f"{name} is {value!r}")
    return value


def _fits(value: Any, hint: object) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    kinds = [kind for one in get_args(hint) or (hint,) for kind in _JSON_TYPES[one]]
    return isinstance(value, tuple(kinds)) and not isinstance(value, bool)


def _layers_of(rows: Table) -> list[LayerEntry]:
    """What the table tells of the layers, for a folder without a manifest; `*` is none."""
    found = []
    named = rows.take((rows.number("layer_index") >= 0) & ~rows.are(layer=JOINT))
    for row in named.take(first_of(named.text("layer").codes)[0]):
        missing = first_word(row.status) == "not captured"
        reason = reason_of(row.status) if missing else ""
        capture = "none" if missing else "unknown"
        found.append(LayerEntry(row.layer, row.layer_index, row.layer_type, row.parameters, capture, reason))
    return sorted(found, key=lambda layer: layer.index)
