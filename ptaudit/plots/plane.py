"""Single records on the plane, where their scores were kept: who they are is not told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from ptaudit.plots.rows import evenly
from ptaudit.plots.style import GREY, ORANGE, RED, titled

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_EPOCHS, _POINTS, _PATHS, _MEMBERS = 4, 400, 6, 2000


def places(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """FPR and TPR of some records at a few epochs, and the way of a few of them."""
    wide = _wide(records, ("fpr", "tpr", "exposed"))
    if wide.empty:
        return None
    names = np.sort(wide.record.unique())
    some = names[evenly(len(names), _POINTS)]
    times = np.sort(wide.epoch.unique())
    shown = times[evenly(len(times), _EPOCHS)]
    points = wide[wide.record.isin(some) & wide.epoch.isin(shown)]
    points = points.assign(certain=np.where(points.exposed > 0, "yes", "no"))
    x = alt.X("fpr:Q", title="false-positive rate", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("tpr:Q", title="true-positive rate", scale=alt.Scale(domain=[0, 1]))
    color = alt.Color("certain:N", legend=None, scale=alt.Scale(domain=["no", "yes"], range=[GREY, RED]))
    dots = alt.Chart(points).mark_circle(size=18, opacity=0.6).encode(x=x, y=y, color=color)
    guess = alt.Chart(pd.DataFrame({"a": [0, 1]})).mark_line(color="black", strokeDash=[4, 4]).encode(x="a:Q", y="a:Q")
    drawn = [
        (guess + dots.transform_filter(alt.datum.epoch == int(epoch))).properties(
            width=190, height=190, title=f"epoch {epoch}"
        )
        for epoch in shown
    ]
    paths = wide[wide.record.isin(some[evenly(len(some), _PATHS)])]
    ways = (
        alt.Chart(paths)
        .mark_line(point=True, opacity=0.8)
        .encode(x=x, y=y, color=alt.Color("record:N", legend=None), order="epoch:Q")
    )
    drawn.append((guess + ways).properties(width=190, height=190, title=f"the way of {paths.record.nunique()} records"))
    caption = (
        "Each dot is a record: how often models that were trained on it call it a member (up) and how often others do "
        "(right). On the dashed line nothing is known of it; top left it is exposed. Red: beyond what chance shows in "
        "any record. Records are chosen evenly by hashed name."
    )
    return titled(
        alt.concat(*drawn, columns=3).resolve_scale(color="independent"), "Single records on the plane", caption
    )


def risk(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Final risk against how hard a record is for models that never saw it."""
    wide = _wide(records, ("loss_without", "risk"))
    if wide.empty:
        return None
    every = len(wide)
    wide = wide.sort_values("record").iloc[evenly(every, _MEMBERS)]
    x = alt.X("loss_without:Q", title="loss in models without the record, nats")
    y = alt.Y("risk:Q", title="final risk: how far apart models with and without it are")
    dots = alt.Chart(wide).mark_circle(size=16, opacity=0.4, color=ORANGE).encode(x=x, y=y)
    caption = (
        f"Each dot is an audited member, {len(wide):,} of {every:,}. Risk is the difference of mean scores in models "
        "with and without the record, in their spreads: who is hard to guess and gets learned is easily recognised."
    )
    return titled(dots.properties(width=420, height=280), "Risk by difficulty", caption)


def _wide(records: pd.DataFrame, metrics: tuple[str, ...]) -> pd.DataFrame:
    """A row for each epoch and record of the first seed, a column for each metric."""
    if records.empty:
        return records
    here: pd.DataFrame = records[records.metric.isin(metrics) & (records.seed == records.seed.min())]
    if set(here.metric) < set(metrics):
        return pd.DataFrame()
    wide: pd.DataFrame = here.pivot(index=["epoch", "record"], columns="metric", values="value").reset_index()
    return wide
