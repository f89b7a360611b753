"""Whatever a spec, a table or a run folder holds: no traceback, always the promised exit code, nothing left behind.

A few cases of each kind run with the suite. `PTAUDIT_FUZZ=10000 pytest -n 0 -m slow tests/cli/test_cli_fuzz.py -s` runs
so many in all, other ones each time, and prints how they ended.
"""

from __future__ import annotations

import collections
import copy
import os

import pytest
import yaml
from fuzz_case import BASES, PEOPLE_DATA, Home, csv_files, specs
from fuzz_folders import damaged, rich_spec
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ptaudit.cli import app

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
    print("specs", codes)
    assert set(codes) == {0, 2}


def run_specs(home, examples, **options):
    codes = collections.Counter()

    @settings(max_examples=examples, **options)
    @given(specs())
    def trial(content):
        path = home.write("spec.yaml", content)
        if home.call("check", path, "--budget", "10s") == 0:  # a spec may ask for a billion epochs
            codes[home.call("run", path, "--out", home.folder / "run", "-q")] += 1

    trial()
    print("runs", codes)
    assert 0 in codes or 3 in codes


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
    print("tables", codes)
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


@pytest.fixture(scope="module")
def whole(home):
    """A run folder with every file that one can have."""
    path = home.write("rich.yaml", yaml.safe_dump(rich_spec()).encode())
    assert home.call("run", path, "--out", home.folder / "whole", "-q", "--keep-records") == 3
    return home.folder / "whole"


def read_folders(home, whole, examples, **options):
    codes = collections.Counter()
    there, report = home.folder / "damaged", home.write("gates.xml", b"")
    verbs = [("show", there, "--format", name) for name in ("rich", "plain", "md", "json")]
    verbs += [("gate", there), ("gate", there, "--output", f"junit={report}"), ("gate", whole, "--baseline", there)]
    verbs += [("gate", whole, "--spec", there / "spec.resolved.yaml")]
    verbs += [("compare", whole, there), ("compare", there, whole, "--all", "--format", "json")]

    @settings(max_examples=examples, **options)
    @given(damaged(whole, there), st.sampled_from(verbs))
    def trial(_, words):
        assume("--spec" not in words or not words[-1].is_fifo())  # a spec may come from a pipe: it is waited for
        codes[home.call(*words)] += 1

    trial()
    print("folders", codes)
    assert {0, 2} <= set(codes)


def test_specs(home):
    check_specs(home, 60, **QUICK)


def test_tables(home):
    check_tables(home, 30, **QUICK)


def test_runs(home):
    run_specs(home, 15, **QUICK)


def test_folders(home, whole):
    read_folders(home, whole, 60, **QUICK)


@pytest.fixture(scope="module")
def interrupted(home, tmp_path_factory):
    """The folder of a run with learned encoders and live reading that was interrupted in its second epoch."""
    from ptaudit.auditing.epoch import EpochAudit

    honest = EpochAudit.__call__

    def disturbed(self, moment):
        if moment.epoch == 1:
            raise KeyboardInterrupt
        honest(self, moment)

    spec = copy.deepcopy(BASES[3])
    games = ["membership", {"name": "usable-information", "secret": "label", "family": ["linear"]}]
    tokens = {"dim": 16, "encoder": "autoencoder"}
    spec["audit"] = {**spec["audit"], "records": 60, "games": games, "tokens": tokens}
    path = home.write("long.yaml", yaml.safe_dump(spec).encode())
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochAudit, "__call__", disturbed)
        result = CliRunner().invoke(app, ["run", str(path), "--out", str(folder), "-q"])
    assert result.exit_code == 130, result.stderr
    return path, folder


def resume_folders(home, interrupted, examples, **options):
    codes = collections.Counter()
    spec, whole = interrupted

    @settings(max_examples=examples, **options)
    @given(damaged(whole, home.folder / "run"), st.sampled_from(["--resume", "--resume", "--fresh"]))
    def trial(_, how):
        codes[home.call("run", spec, "--out", home.folder / "run", how, "-q")] += 1

    trial()
    print("resumed", codes)
    assert 2 in codes
    assert codes.keys() & {0, 3}


MANY = int(os.environ.get("PTAUDIT_FUZZ", "1000"))


def test_resumed(home, interrupted):
    resume_folders(home, interrupted, 15, **QUICK)


@pytest.mark.slow
def test_many_specs(home):
    check_specs(home, MANY * 45 // 100, **COMMON)


@pytest.mark.slow
def test_many_tables(home):
    check_tables(home, MANY * 15 // 100, **COMMON)


@pytest.mark.slow
def test_many_runs(home):
    run_specs(home, MANY * 5 // 100, **COMMON)


@pytest.mark.slow
def test_many_resumed(home, interrupted):
    resume_folders(home, interrupted, MANY * 2 // 100, **COMMON)


@pytest.mark.slow
def test_many_folders(home, whole):
    read_folders(home, whole, MANY * 33 // 100, **COMMON)
