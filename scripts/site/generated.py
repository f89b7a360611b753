"""The reference: keys of a spec, columns of the run folder, metrics, statuses, exit codes, formats, verbs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from entries import span
from words import Schema, attributes, code, codes, references, settings, table

from ptaudit.cli import EXIT_CODES, app
from ptaudit.report import FORMATS
from ptaudit.spec.metrics import METRICS
from ptaudit.spec.model import json_schema
from ptaudit.spec.registry import DEFENSES, GAMES, TRAIN_DEFENSES
from ptaudit.tables.folder import OWN
from ptaudit.tables.row import COLUMNS, Row
from ptaudit.tables.run import EpochEntry, GroupEntry, LayerEntry, Run
from ptaudit.tables.samples import COLUMNS as OF_SAMPLES
from ptaudit.tables.sheets import SHEETS
from ptaudit.tables.status import MEANINGS, WITH_REASON
from ptaudit.tables.table import Table
from ptaudit.tables.verdict import Verdict


def pages() -> dict[str, str]:
    """Definitions of the JSON Schema that have a page of their own: the name of the definition to the page."""
    found = {part.__name__: f"../games/{name}.md" for name, part in GAMES.items()}
    for registry in (DEFENSES, TRAIN_DEFENSES):
        for name, part in registry.items():
            found[part.__name__] = f"../defenses/{'dp' if name == 'dp_sgd' else name}.md"
    return found


def spec() -> str:
    """A section for the spec and each of its parts but games and defenses, which have pages."""
    schema = _whole_schema()
    placed = parts()
    links = {name: f"[`{place}`](#{anchor(place)})" for name, place in placed.items()}
    links |= {name: f"[{name_of(name)}]({page})" for name, page in pages().items()}
    sections = [f"## The spec itself\n\n{settings(schema, links, ())}"]
    for name, place in placed.items():
        part = schema["$defs"][name]
        sections.append(
            f"## {code(place)} {{ #{anchor(place)} }}\n\n{part.get('description', '')}\n\n{settings(part, links, ())}"
        )
    return "\n\n".join(sections)


def parts() -> dict[str, str]:
    """Parts of a spec that have a section: the name of the definition to its place, e.g. `audit.views`."""
    schema = _whole_schema()
    return dict(_parts(schema, schema, "", set(pages())))


def anchor(place: str) -> str:
    """The anchor of a part's section."""
    return re.sub(r"\W+", "-", place).strip("-")


def name_of(definition: str) -> str:
    """The name in a spec of a game or a defense, as code."""
    for registry in (GAMES, DEFENSES, TRAIN_DEFENSES):
        for name, part in registry.items():
            if part.__name__ == definition:
                return code(name)
    raise KeyError(definition)


def _parts(schema: Schema, whole: Schema, place: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Definitions in the order in which a spec names them, each with the place of its first use."""
    for key, value in schema.get("properties", {}).items():
        inner = f"{place}.{key}".lstrip(".")
        for name in references(value):
            if name not in seen:
                seen.add(name)
                yield name, inner
                yield from _parts(whole["$defs"][name], whole, inner, seen)


def _whole_schema() -> dict[str, Any]:
    """The JSON Schema of a spec that trains: without `replay` the part `train` is there, whole."""
    schema = json_schema()
    schema["properties"]["train"] = schema["anyOf"][0]["properties"]["train"]
    return schema


def metrics() -> str:
    """Every metric."""
    rows = []
    for name, one in METRICS.items():
        by = codes(game for game, info in GAMES.items() if name in info.metrics)
        guess = "the row's null" if one.prior is None else f"{one.prior:g}"
        rows.append((code(name), one.unit, span(one), guess, "score" if one.score else "bound or measure", by))
    return table(("metric", "unit", "range", "nothing found is", "kind", "games"), rows)


def leakage() -> str:
    """Columns of `leakage.csv`."""
    meaning = attributes(Row)
    types = {one.name: str(one.type) for one in fields(Row)}
    words = {"int": "whole number", "float": "number", "str": "text"}
    rows = [(code(name), words[types[name]], meaning[name]) for name in COLUMNS]
    return table(("column", "type", "meaning"), rows)


def sheets() -> str:
    """The tables that are made from the leakage table, and their columns."""
    empty = Run("", Table.of(()), (), (), {}, {}, "")
    known = {"groups.csv": GroupEntry, "epochs.csv": EpochEntry}
    sections = []
    for name, entry in SHEETS.items():
        meaning = attributes(known[name]) if name in known else {}
        when = "always there" if entry.always else "there where its games are played"
        columns = entry.make(empty).columns
        listed = table(("column", "meaning"), [(code(c), meaning.get(c, "")) for c in columns]) if meaning else ""
        sections.append(f"### {code(name)}\n\n{entry.what}; {when}.\n\n{listed or codes(columns)}")
    return "\n\n".join(sections)


def other_files() -> str:
    """Entries of `gates.json`, layers of the manifest, columns of `samples.csv`, and the names of all files."""
    parts = [f"Every file by name: {codes(sorted(OWN))}, and folders `seeds/`, `encoders/` and `rebuilt/`."]
    for title, kind in (("An entry of `gates.json`", Verdict), ("An entry of `layers` in the manifest", LayerEntry)):
        meaning = attributes(kind)
        rows = [(code(one.name), meaning.get(one.name, "")) for one in fields(kind)]
        parts.append(f"### {title}\n\n{table(('key', 'meaning'), rows)}")
    parts.append(f"### `samples.csv`\n\n{codes(OF_SAMPLES)}")
    return "\n\n".join(parts)


def statuses() -> str:
    """Words that a row's status may be or begin with."""
    rows = [("`ok`", "nothing to add"), *((code(name), said) for name, said in MEANINGS.items())]
    rows += [(code(f"{name}: ..."), "no number that means what it says, and why") for name in WITH_REASON]
    return table(("status", "meaning"), rows)


def exit_codes() -> str:
    """Codes that the command ends with."""
    listed = EXIT_CODES.partition(": ")[2].rstrip(".")
    found = re.findall(r"(\d+) (.+?)(?:, (?=\d)|$)", listed)
    return table(("code", "meaning"), [(code(number), said) for number, said in found])


def formats() -> str:
    """Formats of reports, each with the first line of its file."""
    rows = []
    for name, one in FORMATS.items():
        what = "gates of a run alone" if one.gates_only else "all there is"
        more = f"; added to the file in `{one.adds_to}`" if one.adds_to else ""
        rows.append((code(name), _first_line(one.place.partition(":")[0]), what + more))
    return table(("format", "what it is", "shows"), rows)


def _first_line(module: str) -> str:
    """The first line of a module's docstring; nothing is imported."""
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    return (ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or "").splitlines()[0]


def verbs() -> str:
    """Verbs of the command line and their options."""
    context = typer.Context(typer.main.get_command(app))
    sections = []
    for name, verb in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        rows = [(codes(one.opts) if one.opts[0].startswith("-") else code(str(one.name).upper()), _help(one))
                for one in verb.get_params(context) if "--help" not in one.opts]  # fmt: skip
        sections.append(f"### {code(f'ptaudit {name}')}\n\n{_prose(verb.help)}\n\n{table(('option', 'meaning'), rows)}")
    return "\n\n".join(sections)


def _help(option: Any) -> str:
    return str(getattr(option, "help", None) or "")


def _prose(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").replace("\b", "").split("\n\n"))
