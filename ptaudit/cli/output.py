"""Where results go: stdout in the format asked for, files beside it, and what went wrong on stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ptaudit.cli.streams import emit, say, takes_unicode
from ptaudit.errors import PtauditError
from ptaudit.escape import terminal
from ptaudit.report import FORMATS, Gates, Logging, Page, Subject, open_format

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict


@dataclass(frozen=True)
class Sink:
    """A file to write a report to."""

    format: str
    path: Path


@dataclass(frozen=True)
class Screen:
    """Stdout.

    Attributes:
        format: what it shows.
        forced: whether the user asked for it.
    """

    format: str
    forced: bool

    @staticmethod
    def asked(name: str | None) -> Screen:
        """In the format of that name; without one, rich on a terminal and plain elsewhere.

        Raises:
            PtauditError: no such format.
        """
        chosen = name or ("rich" if sys.stdout.isatty() else "plain")
        open_format(chosen)
        return Screen(chosen, name is not None)

    def page(self, **options: Any) -> Page:
        """What stdout can show: its width, its encoding, and colours for rich on a terminal or where it was
        asked for; `options` are those of a `Page`."""
        size = shutil.get_terminal_size((100, 40))
        colors = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        page = Page(
            width=min(max(size.columns, 60), 140),
            height=max(size.lines - 2, 40) if sys.stdout.isatty() else 40,
            color=self.format == "rich" and colors and (self.forced or sys.stdout.isatty()),
            unicode=takes_unicode(sys.stdout),
        )
        return replace(page, **options)

    def drawn(self, subject: Subject, **options: Any) -> str:
        """A text about something, as stdout can show it."""
        return open_format(self.format).render(subject, self.page(**options))


def parse_outputs(texts: Sequence[str] | None) -> list[Sink]:
    """`FORMAT=FILE` options; a format that a CI server has a file for needs none.

    Raises:
        PtauditError: malformed, or no such format.
    """
    sinks = []
    for text in texts or ():
        name, equals, path = text.partition("=")
        if not equals and (variable := FORMATS[name].adds_to if name in FORMATS else ""):
            path = os.environ.get(variable, "")
            if not path:
                raise PtauditError(f"--output {name} needs a file: ${variable} is not set", remedy=f"{name}=FILE")
        elif not path:
            raise PtauditError(f"--output {text!r} is not FORMAT=FILE", remedy=f"formats: {', '.join(FORMATS)}")
        open_format(name)
        sinks.append(Sink(name, Path(path)))
        _check_writable(sinks[-1].path)
    return sinks


def _check_writable(path: Path) -> None:
    """Refuse what cannot be written before anything is done that takes long."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if path.is_dir():
        raise PtauditError("--output needs a file, this is a folder", where=str(path), remedy="name a file in it")
    if there != path and not there.is_dir():
        raise PtauditError("--output cannot be written: its folder is a file", where=str(path), remedy="another place")
    if not os.access(there, os.W_OK):
        raise PtauditError("--output cannot be written: no permission", where=str(path), remedy="another place")


def parse_inconclusive(text: str | None) -> Literal["pass", "fail"] | None:
    """What an inconclusive gate counts as.

    Raises:
        PtauditError: neither `pass` nor `fail`.
    """
    if text is None:
        return None
    if text == "pass":
        return "pass"
    if text == "fail":
        return "fail"
    raise PtauditError(f"--inconclusive {text!r} is not known", remedy="pass or fail")


def write_outputs(sinks: Sequence[Sink], subject: Subject, page: Page) -> None:
    """Write each report beside its name and rename it.

    Raises:
        PtauditError: a file cannot be written.
    """
    from ptaudit.files import write_whole
    from ptaudit.tables.formats import read_text

    for sink in sinks:
        chosen = open_format(sink.format)
        text = chosen.render(subject, page)
        if FORMATS[sink.format].adds_to and sink.path.is_file():
            text = read_text(sink.path) + text
        write_whole(sink.path, text)
        if isinstance(chosen, Logging):
            for line in chosen.log_lines(subject, page):
                say(line)


@dataclass(frozen=True)
class Showing:
    """How a verb shows a run and its verdicts.

    Attributes:
        screen: stdout.
        sinks: files to write besides.
        inconclusive: what an inconclusive gate counts as.
        quiet: the verdict alone, unless a format was asked for.
    """

    screen: Screen
    sinks: Sequence[Sink]
    inconclusive: Literal["pass", "fail"] | None
    quiet: bool

    @staticmethod
    def asked(format_name: str | None, output: Sequence[str] | None, inconclusive: str | None, quiet: bool) -> Showing:
        """From the options of the verb, before it does anything.

        Raises:
            PtauditError: one of them is malformed.
        """
        screen, sinks = Screen.asked(format_name), parse_outputs(output)
        return Showing(screen, sinks, parse_inconclusive(inconclusive), quiet)

    def spare(self, folder: Path, *files: Path) -> None:
        """Refuse outputs that would overwrite a run folder's own files, or other files of the user.

        Raises:
            PtauditError: which one.
        """
        from ptaudit.files import real
        from ptaudit.tables.folder import OWN

        kept = {real(file) for file in (*files, *(folder / name for name in OWN))}
        for sink in self.sinks:
            if real(sink.path) in kept:
                raise PtauditError(
                    "--output would overwrite it", where=str(sink.path), remedy="give the report a name of its own"
                )

    def options(self, folder: Path, spec: Path | None) -> dict[str, Any]:
        """What a page is told of a run folder, and of the spec that its gates are from where that is another file."""
        text = ""
        with suppress(OSError, UnicodeDecodeError):  # it has been read before
            text = spec.read_text(encoding="utf-8") if spec else ""
        named = {"spec": str(spec), "spec_text": text} if text else {}
        return {"folder": str(folder), "inconclusive": self.inconclusive, "kept": folder, **named}

    def write(self, subject: Gates, folder: Path, spec: Path | None) -> None:
        """The files alone, of gates that could not be decided."""
        write_outputs(self.sinks, subject, Page(**self.options(folder, spec)))

    def show(self, run: Run, subject: Run | Gates, folder: Path, spec: Path | None = None) -> None:
        """Results to stdout and files, gates that did not pass to stderr, whatever becomes of the files.

        Raises:
            PtauditError: stdout or a file cannot be written, and no gate failed.
        """
        brief = self.quiet and not self.screen.forced
        options = self.options(folder, spec)
        text = verdict_line(run) if brief else self.screen.drawn(subject, **options)
        problems = list(_problems(partial(emit, text)))
        report_gates(run.verdicts)
        problems += _problems(partial(self.spare, folder), partial(write_outputs, self.sinks, subject, Page(**options)))
        if problems and not any(verdict.outcome == "fail" for verdict in run.verdicts):
            raise problems[0]
        for problem in problems:
            say(f"error: {problem}")


def _problems(*steps: Callable[[], None]) -> Iterator[PtauditError]:
    """What kept the steps, taken in turn, from being done; those after it are not."""
    try:
        for step in steps:
            step()
    except PtauditError as error:
        yield error


def verdict_line(run: Run) -> str:
    """The verdict over all gates in one line."""
    from ptaudit.report.summary import conclude

    return terminal(conclude(run).text) + "\n"


def report_gates(verdicts: Sequence[Verdict]) -> None:
    """Every gate that did not pass, on stderr, with what would help."""
    from ptaudit.report.pages import gate_rule
    from ptaudit.report.words import bounds_text

    for verdict in verdicts:
        if verdict.outcome == "pass":
            continue
        found = bounds_text(verdict.value, verdict.lo, verdict.hi, 3)
        place = f"view {verdict.view}, layer {verdict.worst_layer}, epoch {verdict.worst_epoch}"
        word = "FAILED" if verdict.outcome == "fail" else verdict.outcome
        say(f"gate {verdict.id} {word}: {gate_rule(verdict)}, found {found} in {place}")
        if verdict.outcome == "inconclusive" and verdict.reason:
            say(f"  reason: {verdict.reason}")
        if verdict.advice:
            say(f"  advice: {verdict.advice}")
