"""Every format against a golden file.

After a wanted change: `PTAUDIT_REGENERATE=1 pytest tests/report`, then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from example_run import CASES, EXAMPLE_CHECK, example_comparison, example_run, leaking_run, small_run

from ptaudit.report import Gates, Page, open_format

GOLDEN = Path(__file__).parent / "golden"
COLOR = replace(Page(), color=True)
ASCII = replace(Page(), unicode=False)
BROKEN = Gates(example_run(), (("no-worse", "gate no-worse: no baseline to compare with (give --baseline RUN)"),))
ALL = replace(Page(), all_rows=True)

TEXTS: dict[str, Callable[[], str]] = {
    "run.rich.txt": lambda: open_format("rich").render(example_run(), Page()),
    "run.rich.ansi": lambda: open_format("rich").render(example_run(), COLOR),
    "run.rich.ascii.txt": lambda: open_format("rich").render(example_run(), ASCII),
    "run-20-layers.rich.txt": lambda: open_format("rich").render(example_run(layers=20, verdicts=()), Page()),
    "run-leaking.rich.txt": lambda: open_format("rich").render(leaking_run(), Page()),
    "run-leaking.md": lambda: open_format("md").render(leaking_run(), Page()),
    "run.plain.txt": lambda: open_format("plain").render(example_run(), Page()),
    "run.md": lambda: open_format("md").render(example_run(), Page()),
    "run.json": lambda: open_format("json").render(small_run(), Page()),
    "run.junit.xml": lambda: open_format("junit").render(example_run(), Page()),
    "gates-broken.junit.xml": lambda: open_format("junit").render(BROKEN, Page()),
    "run.sarif": lambda: open_format("sarif").render(example_run(), Page()),
    "gates-broken.sarif": lambda: open_format("sarif").render(BROKEN, Page()),
    "run.github.md": lambda: open_format("github").render(example_run(), Page()),
    "gates-broken.github.log": lambda: "\n".join(open_format("github").log_lines(BROKEN, Page())) + "\n",
    "run.csv": lambda: open_format("csv").render(small_run(), Page()),
    "gates.csv": lambda: open_format("csv").render(Gates(example_run()), Page()),
    "comparison.csv": lambda: open_format("csv").render(example_comparison(), Page()),
    **{
        f"gates.{name}.txt": lambda name=name: open_format(name).render(Gates(example_run()), Page())
        for name in ("rich", "plain", "md", "json")
    },
    **{
        f"comparison.{name}.txt": lambda name=name: open_format(name).render(example_comparison(), Page())
        for name in ("rich", "plain", "md", "json")
    },
    "comparison-all.rich.txt": lambda: open_format("rich").render(example_comparison(), ALL),
    **{
        f"check.{name}.txt": lambda name=name: open_format(name).render(EXAMPLE_CHECK, Page())
        for name in ("rich", "plain", "md", "json")
    },
    **{
        f"selftest.{name}.txt": lambda name=name: open_format(name).render(CASES, Page())
        for name in ("rich", "plain", "md", "json")
    },
}


@pytest.mark.parametrize("name", TEXTS)
def test_equals_its_golden_file(name):
    text = TEXTS[name]()
    path = GOLDEN / name
    if os.environ.get("PTAUDIT_REGENERATE"):
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert {path.name for path in GOLDEN.iterdir()} == set(TEXTS)
