"""Whatever a spec or a table says: never a traceback, always the promised exit code, nothing left behind."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import yaml
from fuzz_case import BASES, PEOPLE_DATA, Home, csv_files, specs
from hypothesis import HealthCheck, Phase, given, settings

COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate, Phase.shrink],
}
QUICK = {**COMMON, "derandomize": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PTAUDIT_DATA", raising=False)


@pytest.mark.parametrize("base", BASES)
def test_what_is_changed_was_in_order(home, base):
    path = home.write("spec.yaml", yaml.safe_dump(base).encode())
    assert home.call("check", path) == 0
    assert home.call("run", path, "--out", home.folder / "run", "-q") in (0, 3)


def check_specs(home, examples, **options):
    codes = collections.Counter()

    @settings(max_examples=examples, **options)
    @given(specs())
    def trial(content):
        codes[home.call("check", home.write("spec.yaml", content))] += 1

    trial()
    print(codes)
    assert set(codes) == {0, 2}


def run_specs(home, examples, **options):
    @settings(max_examples=examples, **options)
    @given(specs())
    def trial(content):
        path = home.write("spec.yaml", content)
        if home.call("check", path, "--budget", "10s") == 0:  # a spec may ask for a billion epochs
            home.call("run", path, "--out", home.folder / "run", "-q")

    trial()


def check_tables(home, examples, **options):
    codes = collections.Counter()
    spec = home.write("table.yaml", yaml.safe_dump({**BASES[1], "data": PEOPLE_DATA}).encode())
    people = (home.folder / "people.csv").read_bytes()

    @settings(max_examples=examples, **options)
    @given(csv_files())
    def trial(content):
        home.write("people.csv", content)
        codes[home.call("check", spec)] += 1

    try:
        trial()
    finally:
        home.write("people.csv", people)
    print(codes)
    assert set(codes) == {0, 2}


LONG = "a" * 3000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("replay.checkpoints", LONG),
        ("replay.checkpoints", f"{LONG}/*.pt"),
        ("data.source", f"csv:{LONG}.csv"),
        ("data.source", f"{LONG}.py:data"),
        ("data.members", LONG),
        ("model.entry", f"{LONG}.py:net"),
    ],
)
def test_names_that_the_system_does_not_take(home, key, value):
    path = home.write("spec.yaml", yaml.safe_dump(BASES[2 if "replay" in key else 0]).encode())
    assert home.call("check", path, "--set", f"{key}={value}") == 2


@pytest.mark.parametrize("words", [("show",), ("gate",), ("compare", "."), ("run", "spec.yaml", "--out")])
def test_folders_that_the_system_does_not_take(home, words, monkeypatch):
    monkeypatch.chdir(home.folder)
    home.write("spec.yaml", yaml.safe_dump(BASES[0]).encode())
    assert home.call(*words, LONG) == 2


def test_a_billion_epochs_are_refused_before_anything_is_counted_up_to_them(home):
    path = home.write("spec.yaml", yaml.safe_dump({**BASES[0], "audit": {"epochs": "all"}}).encode())
    assert home.call("check", path, "--set", "train.epochs=1000000000") == 2


def damaged(content, generator):
    """A file cut off, emptied, replaced, or with a few bytes changed."""
    kind = generator.integers(8)
    if kind < 3:
        return [b"", content[: generator.integers(len(content))], b'[{"a": [1, null]}]'][kind]
    found = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        found[generator.integers(len(found))] = generator.integers(256)
    return bytes(found)


def test_run_folders_with_a_damaged_file(home, run_folder):
    generator = np.random.default_rng(0)
    for path in sorted(path for path in run_folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for verb in ["show", "show", "gate", "show"]:
            path.write_bytes(damaged(content, generator))
            home.call(verb, run_folder, *(["--format", "json"] if verb == "show" else []))
        path.write_bytes(content)


def test_specs(home):
    check_specs(home, 60, **QUICK)


def test_tables(home):
    check_tables(home, 30, **QUICK)


def test_runs(home):
    run_specs(home, 15, **QUICK)


@pytest.mark.slow
def test_many_specs(home):
    check_specs(home, 650, **COMMON)


@pytest.mark.slow
def test_many_tables(home):
    check_tables(home, 250, **COMMON)


@pytest.mark.slow
def test_many_runs(home):
    run_specs(home, 100, **COMMON)
