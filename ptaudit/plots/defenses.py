"""What each defense costs in accuracy and leaves to adversaries who know of it, and who do not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

from ptaudit.plots.style import BLUE, HEIGHT, ORANGE, WIDTH, titled
from ptaudit.tables.defenses import defense_lines

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_COLUMNS = ["accuracy", "leakage", "lo", "hi", "adversary", "trained with", "game"]
_MOST = 4


def accuracy_against_leakage(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Held-out accuracy across, bits up, a panel for each game and view; of trainings with a defense."""
    rows = []
    for line in defense_lines(run) if run.defenses else []:
        for who, row in (("adaptive", line.adaptive), ("static", line.static)):
            if (
                line.metric == "bits"
                and row is not None
                and row.measured
                and math.isfinite(line.entry.held_out_accuracy)
            ):
                place = f"{line.game}, view {line.view}"
                rows.append([line.entry.held_out_accuracy, row.value, row.lo, row.hi, who, line.entry.title, place])
    if not rows:
        return None
    data = pd.DataFrame(rows, columns=_COLUMNS)
    games = list(dict.fromkeys(data.game))[:_MOST]
    panels = [_panel(data[data.game == game], game) for game in games]
    caption = (
        "Each mark is a training; to the right it classifies better, further down it gives less away. A static "
        "adversary was fitted on undefended gradients: where it finds nothing, the adaptive one may."
    )
    return titled(alt.concat(*panels, columns=2), "Accuracy against leakage", caption)


def _panel(data: pd.DataFrame, title: str) -> alt.LayerChart:
    x = alt.X("accuracy:Q", title="held-out accuracy", scale=alt.Scale(zero=False, padding=20))
    who = alt.Scale(domain=["adaptive", "static"], range=[BLUE, ORANGE])
    base = alt.Chart(data).encode(x=x, color=alt.Color("adversary:N", title="adversary", scale=who))
    spread = base.mark_rule().encode(y=alt.Y("lo:Q", title="bits"), y2="hi:Q")
    marks = base.mark_point(filled=True, size=60).encode(
        y="leakage:Q", shape=alt.Shape("adversary:N", title="adversary", scale=alt.Scale(domain=["adaptive", "static"]))
    )
    names = base.transform_filter(alt.datum.adversary == "adaptive").mark_text(align="left", dx=7, dy=-7)
    named = names.encode(y="leakage:Q", text="trained with:N")
    drawn: alt.LayerChart = alt.LayerChart(layer=[spread, marks, named]).properties(
        width=WIDTH * 0.75, height=HEIGHT * 0.8, title=title
    )
    return drawn
