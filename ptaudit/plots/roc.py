"""Membership inference at few false positives: the ROC curve of each attack on logarithmic axes.

So that what happens to a few records is seen (Carlini et al., arXiv 2112.03570, section IV); it needs scores of single
records, of which it shows none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from ptaudit.plots.style import titled
from ptaudit.spec.catalog import JOINT, OF_MEMBERS, OF_OTHERS
from ptaudit.stats.roc import MIN_FALSE_POSITIVES, tpr_at_fpr

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_MOST, _POINTS, _LOW = 6, 150, 0.01
_SIZE = 420


def low_rates(run: Run, records: pd.DataFrame) -> alt.TopLevelMixin | None:
    """TPR against FPR of the attacks that find most members at 1 % false positives."""
    here = records[(records.game == "membership") & (records.layer == JOINT)]
    here = here[(here.seed == here.seed.min()) & (here.epoch == here.epoch.max())]
    scores = {name: (_side(here, name + OF_MEMBERS), _side(here, name + OF_OTHERS)) for name in _attacks(here)}
    if not scores:
        return None
    best = sorted(scores, key=lambda name: -tpr_at_fpr(*scores[name], _LOW))[:_MOST]
    outside = len(scores[best[0]][1])
    least = 1 / outside
    curves = pd.concat([_curve(name, *scores[name], least) for name in best])
    scale = alt.Scale(type="log", domain=[least, 1], nice=False)
    axis = alt.Axis(values=[10.0**k for k in range(math.ceil(math.log10(least)), 1)], format="~%")
    x = alt.X("fpr:Q", title="others falsely called members", scale=scale, axis=axis)
    y = alt.Y("tpr:Q", title="members found", scale=scale, axis=axis)
    color = alt.Color("attack:N", sort=best, title="attack")
    lines = (
        alt.Chart(curves).mark_line(interpolate="step-after", clip=True).encode(x=x, y=y, color=color, order="place:Q")
    )
    ends = pd.DataFrame({"fpr": [least, 1.0], "tpr": [least, 1.0]})
    guess = alt.Chart(ends).mark_line(color="black", strokeDash=[4, 4]).encode(x=x, y=y)
    few = pd.DataFrame({"fpr": [least], "to": [min(1.0, MIN_FALSE_POSITIVES / outside)]})
    chance = alt.Chart(few).mark_rect(color="black", opacity=0.07).encode(x=x, x2="to:Q")
    caption = (
        f"How many members an attack finds (up) if it may falsely accuse so many of {outside:,} records that were not "
        "trained on (right): each mark is ten times more. On the dashed line it guesses. A curve that lies high on the "
        "left names a few members almost without error, which averages such as the AUC hide. In the grey part fewer "
        f"than {MIN_FALSE_POSITIVES} records are falsely accused, and chance decides. Shown are the {len(best)} "
        f"attacks that find most at 1 %, at epoch {here.epoch.max()}."
    )
    drawn = (chance + guess + lines).properties(width=_SIZE, height=_SIZE)
    return titled(drawn, "Members found at few false accusations", caption)


def _attacks(here: pd.DataFrame) -> list[str]:
    return sorted(name.removesuffix(OF_MEMBERS) for name in set(here.metric) if name.endswith(OF_MEMBERS))


def _side(here: pd.DataFrame, metric: str) -> np.ndarray:
    return here[here.metric == metric].value.to_numpy(np.float64)


def _curve(name: str, members: np.ndarray, others: np.ndarray, least: float) -> pd.DataFrame:
    """The curve from the first false positive on, at places that lie evenly on the axis."""
    truth, scores = np.repeat([1, 0], [len(members), len(others)]), np.concatenate([members, others])
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    wanted = np.append(np.geomspace(least, 1.0, _POINTS), 1.0) * (1 + 1e-9)
    places = np.unique(np.searchsorted(fpr, wanted, side="right") - 1)
    shown = pd.DataFrame({"attack": name, "fpr": fpr[places], "tpr": tpr[places], "place": np.arange(len(places))})
    return shown[(shown.fpr > 0) & (shown.tpr > 0)]
