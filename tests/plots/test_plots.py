"""Pictures from tables alone: what each needs, and that names from data stay text."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import example_run

from ptaudit.errors import RunFolderError
from ptaudit.plots import write_plots
from ptaudit.plots.membership import by_epoch
from ptaudit.plots.plane import places, risk
from ptaudit.plots.roc import low_rates
from ptaudit.stats.roc import tpr_at_fpr
from ptaudit.tables.samples import COLUMNS, read_samples
from ptaudit.tables.table import Table

NOBODY = pd.DataFrame(columns=list(COLUMNS))


def with_attacks(*names):
    """The example with a course of several membership attacks."""
    run = example_run()
    some = next(row for row in run.rows if row.game == "membership" and row.measured)
    rows = [
        replace(some, epoch=epoch, layer="*", adversary=name, metric=metric, value=0.5 + 0.1 * place, lo=0.4, hi=0.9)
        for place, name in enumerate(names)
        for epoch in (0, 3)
        for metric in ("auc", "tpr_at_fpr_0.01")
    ]
    return replace(run, rows=Table.of(rows))


def test_every_plot_can_be_found_and_draws_nothing_where_there_is_nothing(tmp_path):
    bare = replace(example_run(), rows=Table.of([row for row in example_run().rows if row.game == "identity"]))
    assert write_plots(bare, NOBODY, tmp_path) == []


def test_the_strongest_attacks_are_shown_and_a_name_from_elsewhere_is_text(tmp_path):
    run = with_attacks(*(f"attack-{i}" for i in range(7)), "<script>alert(1)</script>")
    (path,) = write_plots(run, NOBODY, tmp_path)
    assert path.name == "membership.svg"
    root = ElementTree.parse(path).getroot()
    assert not [node for node in root.iter() if "script" in node.tag]
    text = "".join(root.itertext())
    assert "<script>alert(1)</script>" in text
    assert "attack-6" in text
    assert "attack-0" not in text


def test_one_epoch_is_no_course():
    run = with_attacks("loss")
    one = replace(run, rows=Table.of([row for row in run.rows if row.epoch == 3]))
    assert by_epoch(one, NOBODY) is None


@pytest.mark.parametrize("missing", ["tpr", "exposed"])
def test_the_plane_needs_all_that_it_shows(missing):
    kept = [name for name in ("fpr", "tpr", "exposed") if name != missing]
    records = pd.DataFrame([(0, 1, "ab", "*", "dynamics", name, 0.5) for name in kept], columns=list(COLUMNS))
    assert places(example_run(), records) is None


def test_more_members_than_fit_are_shown_in_part_and_it_says_so(tmp_path):
    names = [f"{i:016x}" for i in range(5200)]
    records = pd.DataFrame(
        [(0, 1, name, "*", "dynamics", kind, 0.5) for name in names for kind in ("loss_without", "risk")],
        columns=list(COLUMNS),
    )
    chart = risk(example_run(), records)
    assert chart is not None
    assert "2,000 of 5,200" in chart.to_json()


def scored(attacks, members=1000, others=800):
    """Scores of records by some attacks, a name and how far members lie above."""
    normal = np.random.default_rng(0).standard_normal
    return pd.DataFrame(
        [
            (0, epoch, f"{side}{i}", "*", "membership", f"{name}, {side}", value)
            for name, gap in attacks.items()
            for side, n, shift in (("member", members, gap), ("held out", others, 0.0))
            for epoch in (0, 3)
            for i, value in enumerate(normal(n) + shift * (epoch == 3))
        ],
        columns=list(COLUMNS),
    )


def test_the_curve_at_few_false_positives_is_that_of_the_scores():
    records = scored({"weak": 0.1, "strong": 3.0})
    chart = low_rates(example_run(), records)
    assert chart is not None
    drawn = [values for values in chart.to_dict()["datasets"].values() if "attack" in values[0]]
    curve = pd.DataFrame(drawn[0])
    here = records[records.epoch == 3]
    for name in ("weak", "strong"):
        own = curve[curve.attack == name]
        members, others = (here[here.metric == f"{name}, {side}"].value.to_numpy() for side in ("member", "held out"))
        for fpr, tpr in zip(own.fpr, own.tpr):
            assert tpr == tpr_at_fpr(members, others, fpr)
        assert (own.fpr.min(), own.fpr.max(), own.tpr.max()) == (1 / 800, 1.0, 1.0)
    assert "800 records" in chart.to_json()


def test_six_attacks_that_find_most_are_drawn():
    chart = low_rates(example_run(), scored({f"attack-{k}": 0.5 * k for k in range(8)}, 200, 200))
    assert chart is not None
    told = chart.to_json()
    assert "attack-2" in told
    assert "attack-1" not in told


def test_without_scores_of_records_there_is_no_curve():
    assert low_rates(example_run(), NOBODY) is None
    others = pd.DataFrame([(0, 1, "ab", "*", "dynamics", "fpr", 0.5)], columns=list(COLUMNS))
    assert low_rates(example_run(), others) is None


def test_scores_of_games_that_were_all_inconclusive_are_none(tmp_path):
    (tmp_path / "samples.csv").write_text(",".join(COLUMNS) + "\n")
    assert read_samples(tmp_path).empty
    assert write_plots(example_run(), read_samples(tmp_path), tmp_path / "pictures")


def test_scores_that_stand_twice_are_refused_with_their_line(tmp_path):
    line = "0,1,ab,*,dynamics,fpr,0.5"
    (tmp_path / "samples.csv").write_text("\n".join([",".join(COLUMNS), line, line, ""]))
    with pytest.raises(RunFolderError, match=r"samples.csv:3: this row stands twice"):
        read_samples(tmp_path)
