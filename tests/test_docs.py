"""The documentation site: what is registered has a page, no page is of something else, tables are of the code."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ptaudit.attacks.inversion.registry import ATTACKS as INVERSION
from ptaudit.attacks.registry import OF_BATCHES, OF_CONTENT, OF_TOKENS
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.games.membership.info import MembershipGame
from ptaudit.report import FORMATS
from ptaudit.spec.metrics import METRICS
from ptaudit.spec.model import json_schema
from ptaudit.spec.registry import DEFENSES, GAMES, TRAIN_DEFENSES
from ptaudit.tables.row import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / "scripts" / "site"
NAV = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))

EXPECTED = {
    "games": set(GAMES),
    "attacks/membership": set(MembershipGame.all_players()),
    "attacks/inversion": set(INVERSION),
    "attacks/batch": set(OF_BATCHES),
    "attacks/usable": set(OF_TOKENS),
    "attacks/content": set(OF_CONTENT),
    "attacks/identity": set(GAMES["identity"].all_players()),
    "estimators": set(ESTIMATORS),
    "defenses": set(DEFENSES),
}
"""Folder of pages to the names that it has a page of, each."""


def hooks():
    """The hook of mkdocs, imported as mkdocs does: with its folder on the path."""
    sys.path.insert(0, str(SITE))
    try:
        spec = importlib.util.spec_from_file_location("hooks", SITE / "hooks.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SITE))
    return module


HOOKS = hooks()


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def filled(page: str) -> str:
    return HOOKS.filled(text(page))


def in_nav(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from in_nav(inner)


def keys_of(markdown: str) -> set[str]:
    """First cells of table rows that are code."""
    return set(re.findall(r"^\| `([^`]+)` \|", markdown, re.MULTILINE))


def section(markdown: str, title: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(rf"^#+ {re.escape(title)}.*$", markdown, flags=re.MULTILINE)[1].partition("\n#")[0]


@pytest.mark.parametrize("folder", EXPECTED)
def test_every_registered_thing_has_a_page_and_no_page_is_of_another(folder):
    pages = {path.stem for path in (DOCS / folder).glob("*.md")}
    assert pages - {"index"} == EXPECTED[folder]


def test_folders_of_attacks_are_those_of_the_registries():
    assert {f"attacks/{path.name}" for path in (DOCS / "attacks").iterdir() if path.is_dir()} <= set(EXPECTED)


def test_every_page_is_in_the_nav_once():
    listed = list(in_nav(NAV))
    assert sorted(listed) == PAGES


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("games", "game"),
        ("attacks/membership", "membership"),
        ("attacks/inversion", "inversion"),
        ("attacks/batch", "family batch"),
        ("attacks/usable", "family usable"),
        ("attacks/content", "family content"),
        ("estimators", "estimator"),
        ("defenses", "defense"),
    ],
)
def test_pages_have_their_generated_place(folder, kind):
    for name in EXPECTED[folder]:
        assert f"<!-- generated: {kind} {name} -->" in text(f"{folder}/{name}.md"), name


@pytest.mark.parametrize("page", PAGES)
def test_no_place_is_left_empty(page):
    assert "<!-- generated" not in filled(page)


def test_a_place_of_something_that_there_is_not_is_an_error():
    for place in ("game chess", "membership horoscope", "family batch oracle", "chess"):
        with pytest.raises(ValueError, match=r"there is no|no such kind"):
            HOOKS.filled(f"<!-- generated: {place} -->")


@pytest.mark.parametrize("name", GAMES)
def test_pages_of_games_say_what_must_be_said(name):
    page = text(f"games/{name}.md")
    for heading in ("How to read the number", "When not to trust it", "In the code", "Source"):
        assert re.search(rf"^## {heading}$", page, re.MULTILINE), heading
    assert re.search(r"arXiv \d{4}\.\d{4,5}", page)
    assert len(page.splitlines()) <= 80


@pytest.mark.parametrize("name", GAMES)
def test_tables_of_games_hold_every_setting_metric_and_adversary(name):
    page, game = filled(f"games/{name}.md"), GAMES[name]
    assert keys_of(section(page, "Settings")) == set(game.model_json_schema()["properties"]) - {"name"}
    assert keys_of(section(page, "Numbers it reports")) == {one for one in game.metrics if METRICS[one].listed}
    assert set(re.findall(r"`([^`]+)`", section(page, "Who can play"))) == set(game.all_players())
    (row,) = (line for line in filled("games/index.md").splitlines() if line.startswith(f"| [{name}]({name}.md) |"))
    assert all(f"`{one}`" in row for one in game.all_players())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_tables_of_estimators_hold_every_option(name):
    assert keys_of(filled(f"estimators/{name}.md")) == set(ESTIMATORS[name].options)


@pytest.mark.parametrize("name", DEFENSES)
def test_tables_of_defenses_hold_every_setting_on_a_view_and_in_training(name):
    page = filled(f"defenses/{name}.md")
    training = TRAIN_DEFENSES["dp_sgd" if name == "dp" else name]
    assert keys_of(section(page, "On a view")) == set(DEFENSES[name].model_fields) - {"name"}
    assert keys_of(section(page, "In training")) == set(training.model_fields) - {"name"}
    (title,) = training.model_fields["name"].annotation.__args__
    assert f"name `{title}`" in page


def test_every_part_of_a_spec_is_in_the_reference_with_all_its_keys():
    """Parts of the JSON Schema are sections of the page, or pages of games and defenses; none has a key left out."""
    schema, page, pages = json_schema(), filled("reference/spec.md"), HOOKS.generated.pages()
    assert keys_of(section(page, "The spec itself")) == set(schema["properties"])
    places = dict(HOOKS.generated.parts())
    inside = {"ReconstructionBudget": "games/reconstruction.md"}
    assert set(places) | set(pages) | set(inside) >= set(schema["$defs"])
    for name, place in places.items():
        assert keys_of(section(page, f"`{place}` {{ #")) == set(schema["$defs"][name]["properties"]), place
    for name in set(schema["$defs"]) & set(pages):
        there = keys_of(filled(pages[name].removeprefix("../")))
        assert set(schema["$defs"][name]["properties"]) - {"name"} <= there, name
    for name, of_game in inside.items():
        assert set(schema["$defs"][name]["properties"]) <= keys_of(filled(of_game)), name


def test_tables_of_the_run_folder_and_of_metrics_are_whole():
    folder = filled("run-folder.md")
    assert keys_of(section(folder, "Columns of `leakage.csv`")) == set(COLUMNS)
    assert all(cell.strip() for row in section(folder, "Columns of").splitlines() for cell in row.split("|")[1:-1])
    assert keys_of(filled("reference/metrics.md")) == set(METRICS)
    assert keys_of(section(filled("commands.md"), "Formats")) == set(FORMATS)
    assert all(name in text("ci.md") for name, one in FORMATS.items() if one.gates_only or one.adds_to)
    assert keys_of(section(filled("commands.md"), "Exit codes")) == {"0", "1", "2", "3", "130"}


def sentences() -> str:
    """All texts in the code of the package, `…` where a value is put in."""
    found = []
    for path in sorted((ROOT / "ptaudit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        getattr(part, "value", "") if isinstance(part, ast.Constant) else "…" for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_pitfalls_quote_what_the_code_says():
    said = sentences()
    quoted = re.findall(r'"([^"]+)"', text("pitfalls.md"))
    parts = [part.strip(" ,.;()") for quote in quoted for part in " ".join(quote.split()).split("…")]
    assert len(quoted) > 15
    assert [part for part in parts if part and part not in said] == []


LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(DOCS / page for page in PAGES)], ids=str
)
def test_links_lead_to_files(page):
    for target, _ in LINK.findall(re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)):
        assert not target or (page.parent / target).exists(), target


def test_the_readme_names_every_game():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"](docs/games/{name}.md)" in readme for name in GAMES)


def test_the_generator_needs_no_torch():
    code = (
        "import sys, hooks; [hooks.filled(f'<!-- generated: {k} -->') for k in ('games', 'spec', 'sheets', 'metrics')]"
    )
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=SITE, env={"PYTHONPATH": f"{ROOT}:{SITE}"}, check=True)


def test_the_site_is_built_without_a_warning_and_without_a_network(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    for path in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//', path.read_text(encoding="utf-8"))
        assert not loaded, path
