"""Membership inference over the epochs, by attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

from ptaudit.plots.rows import measured
from ptaudit.plots.style import HEIGHT, WIDTH, epochs, titled
from ptaudit.spec.catalog import JOINT

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_MOST = 6
_METRICS = {"auc": "AUC", "tpr_at_fpr_0.01": "true positive rate at 1 % false positives"}


def by_epoch(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """The strongest attacks at the last epoch: AUC, and the rate at few false positives."""
    rows = measured(run, game="membership", layer=JOINT, metric=list(_METRICS))
    if rows.epoch.nunique() < 2:
        return None
    last = rows[(rows.epoch == rows.epoch.max()) & (rows.metric == "auc")]
    best = last.nlargest(_MOST, "value").adversary.tolist()
    panels = [_panel(rows[(rows.metric == metric) & rows.adversary.isin(best)], metric, best) for metric in _METRICS]
    caption = (
        f"Who holds the model tells members from records that were never trained on. Shown are the {len(best)} attacks "
        f"with the largest AUC at epoch {rows.epoch.max()}; 0.5 is a coin on the left, 0.01 on the right. Intervals "
        "are in leakage.csv."
    )
    return titled(alt.hconcat(*panels), "How well members are recognised, by attack", caption)


def _panel(rows: pd.DataFrame, metric: str, order: list[str]) -> alt.Chart:
    least = min(0.4, rows.value.min()) if metric == "auc" else 0.0
    y = alt.Y("value:Q", title=_METRICS[metric], scale=alt.Scale(domain=[least, 1.0]))
    color = alt.Color("adversary:N", sort=order, title="attack")
    chart: alt.Chart = alt.Chart(rows).mark_line(point=True).encode(x=epochs(), y=y, color=color)
    return chart.properties(width=WIDTH * 0.7, height=HEIGHT)
