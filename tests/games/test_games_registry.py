"""A game of somebody else's: two small files and a line in the registry are all that an audit needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.spec.registry import GAMES

INFO = '''
from typing import Annotated, ClassVar, Literal
from pydantic import Field
from ptaudit.spec.game import Titled

class LengthGame(Titled):
    """`length`: is the gradient of a batch longer than most?"""

    name: Literal["length"]
    """Which game."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of batches, how many are short."""
    metrics: ClassVar[tuple[str, ...]] = ("bits",)
    players: ClassVar[tuple[str, ...]] = ("ruler",)

    def threat(self, spec):
        return f"Length: holds a ruler of {self.share:g}."
'''
PLAY = """
from ptaudit.context.scores import ScoreSheet
from ptaudit.errors import SpecError
from ptaudit.games.game_play import GamePlay
from ptaudit.stats.estimate import Estimate
from ptaudit.stats.foretold import Foretold

class LengthPlay(GamePlay):
    def on_view(self, context, game, view):
        sheet = ScoreSheet.of(context, game, view)
        if why := sheet.why_not():
            return sheet.lost(["ruler"], why)
        norms = [context.inside.total_norm_sq, *context.inside.norm_sq[sheet.places]]
        n = len(norms[0])
        found = [Estimate(v := float((x > x.quantile(game.share)).double().mean()), v, v, 0.0, 1.0, n) for x in norms]
        return [sheet.scores("ruler", {"bits": found}), *sheet.not_captured(["ruler"])]

    def check(self, session, game):
        if len(session.members) < 16:
            raise SpecError("rulers need 16 records", where=f"game {game.title}")

FORETELLS

PLAY = LengthPlay()
"""
FORETOLD = """
    def foretell(self, session, game, view):
        n = len(session.members)
        yield Foretold("bits", n, 0.0, 0.25, 1.0)
"""
GATES = [{"id": "short", "metric": "long.bits", "view": "batch-2", "over": "joint", "max": 0.5}]


@pytest.fixture
def length_game(request, tmp_path, monkeypatch):
    """The game in a package of its own, and in the registry while the test runs."""
    package = tmp_path / "length_game"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "info.py").write_text(INFO)
    (package / "play.py").write_text(PLAY.replace("FORETELLS", getattr(request, "param", "")))
    monkeypatch.syspath_prepend(tmp_path)
    from length_game.info import LengthGame

    GAMES.register(LengthGame)
    yield
    GAMES.forget("length")
    for name in [name for name in sys.modules if name.startswith("length_game")]:
        del sys.modules[name]


def ran(*words: object, code: int = 0) -> str:
    result = call(*words)
    assert result.exit_code == code, result.output
    return result.output


def write(folder: Path, **changes: object) -> Path:
    """A quick audit of two layers that plays the game, by another name."""
    games = [{"name": "length", "id": "long", "share": 0.25}]
    quick = {"data__limit": 160, "train__epochs": 1, "audit__epochs": [1], "audit__views": ONE_VIEW}
    return write_spec(folder, **{**quick, "audit__games": games, "gates": GATES, **changes})


def test_a_new_game_is_checked_played_gated_reported_and_in_the_schema(length_game, tmp_path):
    spec, run = write(tmp_path), tmp_path / "run"
    assert "long on batch-2: only known after the run" in ran("check", spec)
    assert "short" in ran("run", spec, "--out", run, "--device", "cpu", code=1)  # 0.75 is above 0.5
    rows = pd.read_csv(run / "leakage.csv")
    assert set(rows.game) == {"long"}
    assert set(rows.adversary) == {"ruler"}
    assert rows[rows.layer == "*"].value.tolist() == pytest.approx([0.75])
    assert len(rows) == 3
    assert json.loads((run / "gates.json").read_text())[0]["outcome"] == "fail"
    shown = ran("show", run, "--format", "md")
    assert "long.bits" in shown
    assert "Length: holds a ruler of 0.25." in shown
    game = json.loads(ran("schema"))["$defs"]["LengthGame"]
    assert set(game["properties"]) == {"name", "id", "share"}


@pytest.mark.parametrize("length_game", [FORETOLD], indirect=True)
def test_a_new_game_may_foretell_what_it_could_show(length_game, tmp_path):
    gates = [{**GATES[0], "max": 0.1}]
    said = " ".join(ran("check", write(tmp_path, gates=gates)).split())
    assert "long on batch-2: 80 records cannot tell from a guess: bits below 0.25 (a guess: 0)" in said
    assert "gate short will probably be undecided, unless far more leaks: max 0.1 is below what 80 records" in said


@pytest.mark.parametrize(
    ("games", "line"),
    [
        ([{"name": "length", "shore": 0.5}], "unknown key `shore` in `audit.games.0` (did you mean `share`?)"),
        ([{"name": "length", "share": 2.0}], "`audit.games.0.share`: expected a number below 1.0, given 2.0"),
        (["lenght"], "unknown game `lenght` (did you mean `length`?)"),
        ([{"name": "length", "candidates": 2}], "`candidates` is not used by game `length` (remove it)"),
    ],
)
def test_mistakes_in_a_new_game_are_told_like_those_in_others(length_game, tmp_path, games, line):
    assert line in ran("check", write(tmp_path, audit__games=games), code=2).replace("\n", " ")


def test_what_its_records_must_be_like_is_found_before_training(length_game, tmp_path):
    assert "rulers need 16 records" in ran("check", write(tmp_path, audit__records=10), code=2)


def test_without_it_nothing_knows_the_name(tmp_path):
    assert "unknown game `length`" in ran("check", write(tmp_path), code=2)
    assert "length" not in GAMES
