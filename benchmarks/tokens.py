"""Mutual information, usable information and identity bits per layer, beside a direct attack, on real pictures.

    python benchmarks/tokens.py            # two data sets, two networks each; fills docs/tokens.md and its plot
    python benchmarks/tokens.py --quick    # one small network; leaves the page as it is

For every layer, audited epoch and batch size m: bits of mutual-information (InfoNCE, the model's own activations),
usable-information (linear, the label), identity, what each costs, and how they rank the cells (Spearman, interval by
resampling layers) compared with a direct attack that is none of them: re-identification among K records by the largest
cosine between a candidate's token and what was seen. `--json FILE` writes the cells and the correlations.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from page import fill
from scipy.stats import spearmanr
from tokens_plot import plot
from torch import Tensor

from ptaudit.auditing.opening import open_session
from ptaudit.auditing.rows import rows_of
from ptaudit.auditing.seed import trajectory
from ptaudit.cli.progress import open_progress
from ptaudit.context.epoch_context import EpochContext, view_tokens
from ptaudit.context.session import Session
from ptaudit.games.common.crossfit import quarters
from ptaudit.games.game_play import run_game
from ptaudit.progress import Progress
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.load import load
from ptaudit.training.device import pick_device
from ptaudit.training.epoch_snapshot import EpochSnapshot
from ptaudit.views import View
from ptaudit.views.aggregate import draw_games, observe

ROOT = Path(__file__).parents[1]
PAGE, PLOT = ROOT / "docs" / "tokens.md", ROOT / "docs" / "tokens.svg"
MODELS = {
    "fashion/lenet": ("lenet.py:lenet", {"num_classes": 10, "channels": 1, "size": 28}),
    "fashion/cnn": ("cnn.py:cnn", {"num_classes": 10, "channels": 1, "size": 28}),
    "cifar/lenet": ("lenet.py:lenet", {"num_classes": 10, "channels": 3, "size": 32}),
    "cifar/cnn": ("cnn.py:cnn", {"num_classes": 10, "channels": 3, "size": 32}),
}
DATA = {
    "fashion": {"source": str(ROOT / "sample_models/fashion_mnist.py:records"), "limit": 8000, "held_out": 0.5},
    "cifar": {"source": "npz:${PTAUDIT_DATA}/cifar10_lossless4k.npz", "held_out": 0.25},
}
SIZES = (4, 16, 64)
GAMES = {"identity": "identity", "mutual-information": "infonce", "usable-information": "linear"}
K = 64
"""Candidates of the direct attack."""

DRAWS = 1000


@dataclass(frozen=True)
class Cell:
    """One layer at one epoch in batches of m, as one measure sees it."""

    network: str
    epoch: int
    m: int
    layer: str
    measure: str
    value: float
    lo: float
    hi: float
    status: str


class Looker:
    """The observer of one training: plays and times the games, and the direct attack.

    Attributes:
        cells: what was found.
        seconds: spent on each measure.
    """

    def __init__(self, network: str, session: Session, progress: Progress) -> None:
        self.network, self.session, self.progress = network, session, progress
        self.model = session.model(0)
        self.reader = session.reader(self.model)
        self.cells: list[Cell] = []
        self.seconds = dict.fromkeys((*GAMES, "attack", "capture"), 0.0)

    def __call__(self, snapshot: EpochSnapshot) -> None:
        """Look at one epoch."""
        began = time.perf_counter()
        inside = self.reader.read(*self.session.batch(self.session.members))
        self.seconds["capture"] += time.perf_counter() - began
        read = (self.reader.layers, inside, None, self.reader)
        context = EpochContext(self.session, snapshot.epoch, snapshot.step, snapshot.model, *read)
        views, games = self.session.views, self.session.spec.audit.games
        with self.progress.task(f"{self.network}, epoch {snapshot.epoch}", len(views) * (len(games) + 1)) as task:
            for view in views:
                for game in games:
                    began = time.perf_counter()
                    rows = rows_of(context, game, run_game(context, game, view))
                    self.seconds[game.name] += time.perf_counter() - began
                    self.cells += [
                        Cell(self.network, r.epoch, view.batch_size, r.layer, r.game, r.value, r.lo, r.hi, r.status)
                        for r in rows if r.metric == "bits"
                    ]  # fmt: skip
                    task.advance(note=f"{game.name}, m = {view.batch_size}")
                began = time.perf_counter()
                self.cells += self._attack(context, view)
                self.seconds["attack"] += time.perf_counter() - began
                task.advance()

    def _attack(self, context: EpochContext, view: View) -> Iterator[Cell]:
        places = context.places(view)
        tokens, _ = view_tokens(view, context.inside, places)
        layers = [*(context.inside.layers[i].name for i in places), "whole", JOINT]
        won = reidentified(tokens, view, context.seed)
        for layer, hits in zip(layers, won):
            n = len(hits)
            error = 1.96 * float(hits.std()) / n**0.5
            value = float(hits.mean())
            if layer != "whole":
                yield Cell(
                    self.network, context.epoch, view.batch_size, layer, "attack", value, value - error, value + error,
                    "ok",
                )  # fmt: skip


def reidentified(tokens: Tensor, view: View, seed: int, sets: int = 4, per_target: int = 2) -> Tensor:
    """Share of games won for each target, `(R, n)`: K candidates, the one with the largest cosine is named.

    No fitting, no covariances: what anyone would try first with a gradient and a list of candidates.
    """
    generator = torch.Generator().manual_seed(seed)
    order = quarters(tokens.shape[1], generator)
    centre = tokens.mean(1, keepdim=True)
    found = []
    for targets, fillers in ((order[0], order[1]), (order[2], order[3])):
        for some in targets[: sets * K].split(K):
            games = draw_games(len(some), len(fillers), per_target, view, generator)
            seen = observe(tokens[:, some], tokens[:, fillers], games, view.noise_std, generator)[0]
            known = torch.nn.functional.normalize(tokens[:, some] - centre, dim=-1)
            named = torch.einsum("rgk,rck->rgc", seen - view.batch_size * centre, known).argmax(-1)
            hit = (named == games.secret.to(named.device)).double()
            found.append(hit.view(len(tokens), len(some), per_target).mean(-1))
    return torch.cat(found, 1)


def main() -> int:
    """Run everything; the exit code is 2 where there are no data."""
    options = _options()
    if not options.data.is_dir():
        print(f"{options.data}: no data here; see the first lines of configs/*.yaml, or --data DIR", file=sys.stderr)
        return 2
    os.environ["PTAUDIT_DATA"] = str(options.data.resolve())
    looks = []
    with open_progress() as progress:
        for network in list(MODELS)[:1] if options.quick else MODELS:
            looks.append(_look(network, options.quick, progress))
    cells = pd.DataFrame([vars(cell) for look in looks for cell in look.cells])
    ranks = correlations(cells)
    if options.json:
        content = {"cells": cells.to_dict("records"), "correlations": ranks.to_dict("records")}
        content["seconds"] = {look.network: look.seconds for look in looks}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    pages = {"cells": _table(cells), "correlations": _ranks(ranks), "cost": _cost(looks)}
    if options.quick:
        print("\n\n".join(pages.values()))
        return 0
    for name, text in pages.items():
        fill(PAGE, name, text)
    plot(cells, PLOT, list(GAMES), SIZES[1])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures of leakage per layer beside a direct attack.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PTAUDIT_DATA", ROOT / "data")))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def _look(network: str, quick: bool, progress: Progress) -> Looker:
    entry, args = MODELS[network]
    epochs, records = ([0, 1], 400) if quick else ([0, 1, 2, 5], 1300)
    views = [{"name": f"batch-{m}", "batch_size": m} for m in (SIZES[:2] if quick else SIZES)]
    spec = {
        "version": 1, "name": network.replace("/", "-"),
        "model": {"entry": str(ROOT / "sample_models" / entry), "args": args},
        "data": DATA[network.split("/")[0]],
        "train": {"epochs": epochs[-1], "batch_size": 64, "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}},
        "audit": {"records": records, "epochs": epochs, "views": views, "games": list(GAMES)},
    }  # fmt: skip
    path = Path(f".tokens-{spec['name']}.yaml")
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    try:
        session = open_session(load(path), pick_device("auto"))
        looker = Looker(network, session, progress)
        trajectory(session, looker.model, 0).run(session.spec.audited_epochs, [looker])
    finally:
        path.unlink()
    return looker


def correlations(cells: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Spearman's rank correlation of every measure with the attack over the cells of a network, and over all.

    Batch sizes differ most of all, so each is looked at alone too: do they find the layer and the epoch? The interval
    resamples layers, whole: the epochs and batch sizes of a layer are no independent cells.
    """
    rng = np.random.default_rng(seed)
    keys = ["network", "layer", "epoch", "m"]
    wide = cells[cells.layer != JOINT].pivot_table(index=keys, columns="measure", values="value").reset_index()
    rows = []
    groups = {network: wide[wide.network == network] for network in dict.fromkeys(cells.network)}
    groups |= {"all": wide, **{f"all, m = {m}": wide[wide.m == m] for m in sorted(wide.m.unique())}}
    for network, here in groups.items():
        layers = [group for _, group in here.groupby(["network", "layer"])]
        for measure in GAMES:
            drawn = []
            for _ in range(DRAWS):
                some = pd.concat([layers[i] for i in rng.integers(len(layers), size=len(layers))])
                drawn.append(_rho(some[measure], some.attack))
            value = _rho(here[measure], here.attack)
            lo, hi = np.quantile([rho for rho in drawn if not np.isnan(rho)] or [np.nan], [0.025, 0.975])
            rows.append({"network": network, "measure": measure, "rho": value, "lo": lo, "hi": hi, "cells": len(here)})
    return pd.DataFrame(rows)


def _rho(one: pd.Series, other: pd.Series) -> float:
    """NaN where one of them is the same everywhere."""
    return float("nan") if one.nunique() < 2 or other.nunique() < 2 else float(spearmanr(one, other).statistic)


def _table(cells: pd.DataFrame) -> str:
    """All layers jointly and the layer that leaks most, at the first and the last epoch, by batch size."""
    lines = ["| network | m | epoch | layer | identity | mutual information | usable (label) | re-identified |"]
    lines.append("|---|---:|---:|---|---:|---:|---:|---:|")
    wide = cells.pivot_table(index=["network", "m", "epoch", "layer"], columns="measure", values="value", sort=False)
    texts = {
        (c.network, c.m, c.epoch, c.layer, c.measure): f"{c.value:.2f} [{c.lo:.2f}, {c.hi:.2f}]"
        for c in cells.itertuples()
    }
    for (network, m, epoch), group in wide.groupby(level=[0, 1, 2], sort=False):
        if epoch not in (cells.epoch.min(), cells.epoch.max()):
            continue
        layers = group.droplevel([0, 1, 2])
        worst = layers.drop(JOINT).identity.idxmax()
        for layer in (JOINT, worst):
            numbers = [texts.get((network, m, epoch, layer, measure), "-") for measure in (*GAMES, "attack")]
            lines.append(f"| {network} | {m} | {epoch} | `{layer}` | {' | '.join(numbers)} |")
    return "\n".join(lines)


def _ranks(ranks: pd.DataFrame) -> str:
    lines = ["| network | cells | " + " | ".join(GAMES) + " |", "|---|---:|" + "---:|" * len(GAMES)]
    for network, group in ranks.groupby("network", sort=False):
        texts = [f"{row.rho:.2f} [{row.lo:.2f}, {row.hi:.2f}]" for row in group.itertuples()]
        lines.append(f"| {network} | {group.cells.iloc[0]} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _cost(looks: Sequence[Looker]) -> str:
    names = list(looks[0].seconds)
    lines = ["| network | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for look in looks:
        plays = len({(cell.epoch, cell.m) for cell in look.cells})
        texts = [f"{look.seconds[name] / plays:.2f} s" for name in names]
        lines.append(f"| {look.network} | {' | '.join(texts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
