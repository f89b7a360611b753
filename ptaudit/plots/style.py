"""What all pictures share: size, colours that colour-blind people tell apart (Okabe and Ito), captions."""

from __future__ import annotations

import textwrap

import altair as alt
import pandas as pd

WIDTH, HEIGHT = 460, 260
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#767676"
_LINE = 96


def titled(chart: alt.TopLevelMixin, title: str, caption: str) -> alt.TopLevelMixin:
    """A chart with a title and a caption that can be read without anything else."""
    lines = textwrap.wrap(caption, _LINE)
    title_of = alt.TitleParams(title, subtitle=lines, anchor="start", subtitleColor=GREY, offset=12)
    made = chart.properties(title=title_of)
    drawn: alt.TopLevelMixin = made.configure_view(stroke=None).configure_axis(gridOpacity=0.4)
    return drawn


def epochs(title: str = "epoch") -> alt.X:
    """The epochs from left to right."""
    return alt.X("epoch:Q", title=title, axis=alt.Axis(tickMinStep=1), scale=alt.Scale(nice=False))


def with_band(
    data: pd.DataFrame, title: str, color: alt.Color | alt.Value, least: float | None = None, most: float | None = None
) -> alt.LayerChart:
    """A line with its 95 % interval; the axis from `least` to `most` where they are given."""
    scale = alt.Scale() if least is None else alt.Scale(domain=[least, most])
    base = alt.Chart(data).encode(x=epochs(), color=color)
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("lo:Q", scale=scale, title=title), y2="hi:Q")
    line = base.mark_line(point=True, strokeWidth=2).encode(y=alt.Y("value:Q", scale=scale, title=title))
    return alt.LayerChart(layer=[band, line])
