"""Since when it can be foretold which records end most vulnerable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

from ptaudit.plots.rows import measured
from ptaudit.plots.style import BLUE, GREY, HEIGHT, ORANGE, WIDTH, titled, with_band

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_WHO = {"fleet-forecast": "other models trained alike", "run-forecast": "this run alone"}


def by_epoch(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """AUC of the forecast from half of the fleet and from the run alone, beside what is attainable."""
    rows = measured(run, metric="forecast_auc")
    here = rows[rows.adversary.isin(list(_WHO))]
    if here.empty:
        return None
    here = here.assign(source=here.adversary.map(_WHO))
    color = alt.Color(
        "source:N", title="foretold from", scale=alt.Scale(domain=list(_WHO.values()), range=[BLUE, ORANGE])
    )
    lines = with_band(here, "AUC of the forecast", color, 0.4, 1.0)
    rules = rows[rows.adversary == "attainable"]
    ruled = alt.Chart(rules).mark_rule(color=GREY, strokeDash=[4, 4]).encode(y="value:Q")
    named = (
        alt.Chart(rules)
        .mark_text(align="left", dy=-6, color=GREY, x=4)
        .encode(y="value:Q", text=alt.value("attainable"))
    )
    caption = (
        "From what is known by each epoch: which tenth of the records ends most vulnerable? 0.5 is a guess. The label "
        "comes from models that the forecast has not seen; dashed is about what one who knew the true risk would reach."
    )
    return titled((lines + ruled + named).properties(width=WIDTH, height=HEIGHT), "Early warning", caption)
