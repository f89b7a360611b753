"""In which regions of the plane records are, and from which to which they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from ptaudit.plots.rows import evenly, measured
from ptaudit.plots.style import BLUE, GREY, HEIGHT, ORANGE, RED, WIDTH, epochs, titled
from ptaudit.spec.catalog import REGIONS, TRANSITIONS

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_COLOURS = (GREY, RED, BLUE, ORANGE)
_MEANING = (
    "Exposed: at least half of the models that were trained on the record call it a member, and fewer than a quarter "
    "of the others. Inverted: the others do, those trained on it do not. Conspicuous: both do. Hidden: neither does."
)
_CONTROL = " At epoch 0 nothing is learned: what is not hidden there is chance."
_SUM = " Shares are of all records, 100 % a panel; steps of more epochs have room for more."
_STEPS = 12


def _steps(run: Run) -> pd.DataFrame:
    rows = measured(run, metric=list(TRANSITIONS))
    ends = pd.DataFrame([TRANSITIONS[metric] for metric in rows.metric], columns=["start", "end"], index=rows.index)
    return pd.concat([rows, ends], axis=1)


def _first_epoch(run: Run) -> int:
    return run.rows.as_trained.where(metric="exposed")[0].epoch


def regions(run: Run) -> pd.DataFrame:
    """Share (`value`) of the records in each `region` at each `epoch`; empty where the game was not played."""
    steps = _steps(run)
    if steps.empty:
        return steps
    left = steps[steps.epoch == steps.epoch.min()].assign(epoch=_first_epoch(run)).rename(columns={"start": "region"})
    reached = pd.concat([left, steps.rename(columns={"end": "region"})])
    found: pd.DataFrame = reached.groupby(["epoch", "region"], as_index=False)["value"].sum()
    return found


def shares(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Shares of the records in each region over the epochs."""
    data = regions(run)
    if data.empty:
        return None
    data["order"] = data.region.map(
        {name: place for place, name in enumerate(("exposed", "conspicuous", "inverted", "hidden"))}
    )
    chart = (
        alt.Chart(data)
        .mark_area()
        .encode(
            x=epochs(),
            y=alt.Y("value:Q", stack="zero", title="share of the records", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("region:N", scale=alt.Scale(domain=list(REGIONS), range=list(_COLOURS))),
            order="order:Q",
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    caption = _MEANING + _CONTROL * bool(data.epoch.min() == 0)
    return titled(chart, "How many records become exposed", caption)


def transitions(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """From which region to which records go, step by step."""
    steps = _steps(run)
    if steps.empty:
        return None
    every = np.sort(steps.epoch.unique())
    shown = every[evenly(len(every), _STEPS)]
    steps = steps[steps.epoch.isin(shown)].copy()
    cut = f" Shown are {len(shown)} of {len(every)} steps." if len(shown) < len(every) else ""
    began = dict(zip(every.tolist(), [_first_epoch(run), *every[:-1].tolist()]))
    steps["step"] = [f"epoch {began[epoch]} to {epoch}" for epoch in steps.epoch]
    steps["percent"] = (100 * steps.value).round().astype(int).astype(str) + " %"
    order = [f"epoch {began[epoch]} to {epoch}" for epoch in sorted(steps.epoch.unique())]
    base = alt.Chart(steps).encode(
        x=alt.X("end:N", sort=list(REGIONS), title="to", axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("start:N", sort=list(REGIONS), title="from"),
    )
    boxes = base.mark_rect().encode(
        color=alt.Color("value:Q", title="share of all records", scale=alt.Scale(scheme="blues", domain=[0, 1]))
    )
    ink = alt.condition("datum.value > 0.5", alt.value("white"), alt.value("black"))
    numbers = base.mark_text(fontSize=10).encode(text="percent:N", color=ink)
    drawn = alt.layer(boxes, numbers).properties(width=150, height=130)
    grid = drawn.facet(alt.Facet("step:N", sort=order, title=None), columns=4)
    return titled(grid, "From which region to which records go between audited epochs", _MEANING + _SUM + cut)
