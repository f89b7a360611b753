"""How far all records together have moved, and how they spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

from ptaudit.plots.rows import measured
from ptaudit.plots.style import BLUE, HEIGHT, WIDTH, titled, with_band

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_PANELS = {
    "displacement": "distance of the mean record from its first place",
    "encoding_speed": "advantage gained per epoch",
    "entropy": "spread over the plane, bits",
}


def course(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Displacement, speed and entropy."""
    rows = measured(run, metric=list(_PANELS))
    if rows.empty:
        return None
    panels = []
    for metric, title in _PANELS.items():
        here = rows[rows.metric == metric]
        lines = with_band(here, title, alt.value(BLUE))
        chance = alt.Chart(here).mark_line(strokeDash=[4, 4], color="black").encode(x="epoch:Q", y="null:Q")
        panels.append((lines + chance).properties(width=WIDTH * 0.55, height=HEIGHT * 0.8))
    caption = (
        "On the plane of false-positive and true-positive rates, of models trained alike. The advantage is the true-"
        "positive rate less the false-positive rate. Bands are 95 % intervals over records and models; dashed is what "
        "the same models show where membership is shuffled: up to there nothing is known of it."
    )
    return titled(alt.hconcat(*panels), "How far records move in training", caption)
