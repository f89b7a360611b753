"""The evidence as a text that a privacy officer reads first, under the headings of ISO/IEC 27559."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptaudit.report.document import Cell, Column, Document, Facts, Grid, Lines, Section
from ptaudit.report.markdown import Markdown
from ptaudit.report.pages import gate_grid
from ptaudit.report.words import bounds_text

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict

Content = Mapping[str, Any]
_ANSWERS = {
    "pass": "every threshold was kept",
    "fail": "a threshold was exceeded",
    "inconclusive": "it is not decided whether every threshold was kept",
    "no gates": "no threshold was set, so none was kept or exceeded",
}
_FORGERS = (
    "SHA256SUMS has the hash of every other file: whoever changes one by accident is found. Whoever changes files on "
    "purpose can write new hashes; a signature (SHA256SUMS.sig) is what such a person cannot write without the key."
)


def page_of(content: Content, verdicts: Sequence[Verdict], folder: str) -> str:
    """The text, as Markdown."""
    return Markdown().draw(Document(f"Evidence on {content['name']}", tuple(_sections(content, verdicts, folder))))


def _sections(content: Content, verdicts: Sequence[Verdict], folder: str) -> Iterator[Section]:
    yield Facts("facts", tuple(_facts(content)))
    yield _lines("Threat modelling", [*content["threat_model"], *content["privacy"]["trust_model"]])
    yield _privacy(content["privacy"])
    yield _attacks(content["attacks"])
    yield _worst(content["worst_and_average"])
    yield gate_grid(verdicts, folder, most=None)
    waiting = [f"gate {name} needs a baseline, and none was given" for name in content["gates_without_a_baseline"]]
    yield _lines("Thresholds", [_fixed(content["thresholds"]), *waiting])
    yield _lines("Mitigation", _mitigation(content, verdicts))
    yield _lines("Evaluate again when", content["evaluate_again_when"])
    yield _lines("What this does not show", content["not_shown"])
    yield Facts("facts", tuple(_hashes(content)))
    yield _lines("How to check this", ["ptaudit verify FOLDER, on any machine, without torch", _FORGERS])


def _lines(title: str, texts: Sequence[str]) -> Lines:
    return Lines("line", title, tuple(map(Cell, texts)), bullets=True)


def _facts(content: Content) -> Iterator[tuple[str, str]]:
    yield "answer", _ANSWERS[content["verdict"]]
    run = sum(entry["state"] == "run" for entry in content["attacks"])
    yield "attacks", f"{run} of {len(content['attacks'])} classes that EDPB Opinion 28/2024 names were run"
    yield "run", f"{content['status']}, from {content['started']} to {content['finished']}"
    records = content["records"]
    yield "records", f"{records['records']} of {records['members']} members audited, {records['held_out']} held out"


def _privacy(privacy: Content) -> Grid:
    """Unit, adjacency and epsilon, after NIST SP 800-226."""
    spent = "none" if privacy["epsilon"] is None else f"{privacy['epsilon']:.3g} at delta {privacy['delta']}"
    lines = [("privacy unit", privacy["unit"]), ("promise and adjacency", privacy["promise"]), ("epsilon", spent)]
    if privacy["adjacency_of_measured_bounds"]:
        lines.append(("adjacency of measured bounds", ", ".join(privacy["adjacency_of_measured_bounds"])))
    columns = (Column("what"), Column("here"))
    rows = tuple((Cell(name), Cell(text)) for name, text in lines)
    return Grid("privacy", "Privacy unit and promise (NIST SP 800-226)", columns, rows)


def _attacks(entries: Sequence[Content]) -> Grid:
    columns = (Column("attack"), Column("state"), Column("nearest to its ceiling"), Column("why"))
    rows = tuple(
        (Cell(e["name"]), Cell(e["state"], "strong"), Cell(_found(e["worst"])), Cell(f"{e['question']} {e['why']}"))
        for e in entries
    )
    return Grid("attack", "Adversarial testing (classes of EDPB Opinion 28/2024)", columns, rows)


def _found(row: Content | None) -> str:
    """A number with its interval, its null and the least that would have been seen."""
    if row is None:
        return "-"
    numbers = bounds_text(row["value"], row["lo"], row["hi"], 3)
    guess, most, seen = ("-" if row[end] is None else f"{row[end]:.3g}" for end in ("null", "ceiling", "detectable"))
    limits = f"guess {guess}, ceiling {most}, could see {seen}, n {row['n']}"
    return f"{row['game']}.{row['metric']} {numbers} ({limits}) in view {row['view']}, {row['adversary']}"


def _worst(entries: Sequence[Content]) -> Section:
    if not entries:
        return _lines("Worst beside average", ["not measured: no game here looks at groups or at the worst record"])
    columns = (Column("number"), Column("worst"), Column("value", right=True), Column("all records", right=True))
    rows = tuple(
        (
            Cell(e["number"]),
            Cell(f"{e['worst']} of {e['of']}" if "of" in e else e["worst"]),
            Cell(bounds_text(e["value"], e["lo"], e["hi"], 3)),
            Cell("-" if e.get("average") is None else f"{e['average']:.3f}"),
        )
        for e in entries
    )
    return Grid("worst", "Worst beside average", columns, rows)


def _fixed(thresholds: Content) -> str:
    if thresholds["before_the_run"]:
        return f"fixed before the run, at {thresholds['fixed']}: SHA-256 of the gates {thresholds['sha256_before']}"
    if thresholds["sha256_before"]:
        return f"NOT those that the run began with: SHA-256 {thresholds['sha256_before']} then"
    return "nobody can say whether they were fixed before the run: it did not write them down when it began"


def _mitigation(content: Content, verdicts: Sequence[Verdict]) -> list[str]:
    advice = [f"gate {verdict.id}: {verdict.advice}" for verdict in verdicts if verdict.advice]
    return advice or [f"nothing was asked for: {_ANSWERS[content['verdict']]}"]


def _hashes(content: Content) -> Iterator[tuple[str, str]]:
    for name, value in content["hashes"].items():
        listed = value.items() if isinstance(value, dict) else [("", value or "not known")]
        yield from ((f"SHA-256 of {name}", f"{sha} {path}".strip()) for path, sha in listed)
    yield "versions", ", ".join(f"{name} {value}" for name, value in content["versions"].items())
