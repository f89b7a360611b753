"""The picture of docs/tokens.md."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ptaudit.spec.catalog import JOINT


def plot(cells: pd.DataFrame, path: Path, games: list[str], m: int) -> None:
    """Every measure over the epochs: one panel a network and measure, a line a layer, in batches of m."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tokens"
    from matplotlib import pyplot as plt

    networks, measures = list(cells.network.unique()), [*games, "attack"]
    figure, axes = plt.subplots(len(networks), len(measures), figsize=(13, 2.6 * len(networks)), sharex=True)
    for panels, network in zip(axes, networks):
        for axis, measure in zip(panels, measures):
            here = cells[(cells.network == network) & (cells.measure == measure) & (cells.m == m)]
            for place, layer in enumerate([JOINT, *(name for name in here.layer.unique() if name != JOINT)]):
                line, colour = here[here.layer == layer], "black" if layer == JOINT else f"C{place}"
                axis.plot(line.epoch, line.value, marker=".", color=colour, label=layer)
                axis.fill_between(line.epoch, line.lo, line.hi, alpha=0.12, color=colour)
            axis.set_ylim(bottom=0)
            axis.set_title(
                f"{measure}{'' if measure == 'attack' else ', bits'}" if network == networks[0] else "", fontsize=10
            )
        panels[0].set_ylabel(f"{network}\nm = {m}")
        panels[-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
