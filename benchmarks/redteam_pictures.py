"""Does an attacker that shares no code with ptaudit rebuild more pictures than its `reconstruction` game reports?

    PTAUDIT_DATA=FOLDER python benchmarks/redteam_pictures.py                 # LeNet on Fashion-MNIST: some minutes
    python benchmarks/redteam_pictures.py --reuse                             # with the run folder that is there

One shared gradient of one record, before training and after four epochs. The attacker has torch alone: it reads what
the first linear layer is given from the rows of its gradient over those of its bias, and walks from the mean picture of
records of its own to one that gives the same, as smooth as several weights ask for. The targets are other members than
the game's, drawn alike; who is rebuilt is decided as there, among 256 candidates. A number is `beaten` where the
attacker's lower end is above the upper end of the strongest attack that is reported. The exit code is 1 where one is
beaten, 2 where data are missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from redteam_world import World, open_worlds
from scipy.stats import beta
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
EPOCHS, TARGETS, CANDIDATES, STEPS = (0, 4), 32, 256, 300
BUDGET = {"iterations": STEPS}

ROUGHNESS = (0.1, 0.2, 0.4)
"""Weights of total variation that are tried; the best one counts, which favours the attacker."""

METRICS = ("identified", "explained_variance")


@dataclass(frozen=True)
class Rebuilt:
    """What the attacker found.

    Attributes:
        identified: which pictures are nearest to the true ones, `(n,)`.
        error: squared distance of each to the true one, `(n,)`.
        spread: that of the mean picture, `(n,)`.
    """

    identified: Tensor
    error: Tensor
    spread: Tensor

    def score(self, metric: str) -> tuple[float, float, float]:
        """A number with its 95 % interval over targets."""
        if metric == "identified":
            won, n = int(self.identified.sum()), len(self.identified)
            low = 0.0 if won == 0 else float(beta.ppf(0.025, won, n - won + 1))  # Clopper and Pearson 1934
            return won / n, low, 1.0 if won == n else float(beta.ppf(0.975, won + 1, n - won))
        draws = torch.randint(len(self.error), (2000, len(self.error)), generator=torch.Generator().manual_seed(0))
        low, high = np.quantile((1.0 - self.error[draws].sum(1) / self.spread[draws].sum(1)).numpy(), [0.025, 0.975])
        return float(1.0 - self.error.sum() / self.spread.sum()), float(low), float(high)


def spec() -> dict[str, Any]:
    """The ready spec, with one view and the attacks on pictures."""
    made: dict[str, Any] = yaml.safe_load((ROOT / "configs/reconstruction-fashion.yaml").read_text(encoding="utf-8"))
    for part, key in (("model", "entry"), ("data", "source")):
        made[part][key] = str(ROOT / "configs" / made[part][key])
    game = {"name": "reconstruction", "attacks": ["feature-inversion"], "records": TARGETS, "budget": BUDGET}
    made["audit"] |= {"epochs": list(EPOCHS), "views": [{"name": "record", "batch_size": 1}], "games": [game]}
    return made


def attack(world: World, roughness: float, rng: np.random.Generator) -> Rebuilt:
    """Rebuild members of a training from the gradient of each alone."""
    order = rng.permutation(world.members)
    true, labels = world.batch(order[:TARGETS])
    others, _ = world.batch(order[: max(TARGETS, CANDIDATES)])
    mean = world.batch(world.spare[:2000])[0].mean(0, keepdim=True)
    linear = next(module for module in world.model.modules() if isinstance(module, nn.Linear))
    told = torch.stack([_told(world, linear, x[None], y[None]) for x, y in zip(true, labels)])
    x = mean.repeat(TARGETS, 1, 1, 1).requires_grad_()
    low, high = float(others.min()), float(others.max())
    rate = 0.05 * (high - low)
    adam = torch.optim.Adam([x], lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        far = (_given(world.model, linear, x) - told).square().sum(1) / told.square().sum(1)
        rough = (x[..., 1:, :] - x[..., :-1, :]).abs().mean((1, 2, 3)) + (x[..., 1:] - x[..., :-1]).abs().mean(
            (1, 2, 3)
        )
        (x.grad,) = torch.autograd.grad((far + roughness / (high - low) * rough).sum(), x)
        adam.step()
        falling.step()
        with torch.no_grad():
            x.clamp_(low, high)
    found = x.detach()
    nearest = torch.cdist(found.flatten(1), others.flatten(1)).argmin(1)
    error, spread = ((one - true).square().flatten(1).mean(1) for one in (found, mean))
    return Rebuilt(nearest == torch.arange(TARGETS), error, spread)


def _given(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    model(x)
    hook.remove()
    return found[0]


def _told(world: World, layer: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """What the layer was given, from its gradient."""
    loss = world.loss(world.model(x), y).mean()
    weight, bias = torch.autograd.grad(loss, [layer.weight, layer.bias])
    return bias @ weight / bias.square().sum()


def lines(leakage: pd.DataFrame, worlds: dict[int, World]) -> Iterator[tuple[str, bool]]:
    """Each number beside the attacker's, and whether it is beaten."""
    for epoch, world in worlds.items():
        tries = [attack(world, weight, np.random.default_rng(epoch)) for weight in ROUGHNESS]
        best = min(tries, key=lambda one: float(one.error.sum()))
        rows = leakage[(leakage.epoch == epoch) & (leakage.game == "reconstruction") & leakage.value.notna()]
        for metric in METRICS:
            row = rows[rows.metric == metric].sort_values("value").iloc[-1]
            value, low, high = best.score(metric)
            beaten = bool(low > row.hi)
            reported = f"{row.value:.3f} [{row.lo:.3f}, {row.hi:.3f}] ({row.adversary})"
            attacker = f"{value:.3f} [{low:.3f}, {high:.3f}]"
            yield f"epoch {epoch} {metric}: ptaudit {reported}, attacker {attacker}, {('ok', 'beaten')[beaten]}", beaten


def main() -> int:
    """Audit, attack, compare."""
    parser = argparse.ArgumentParser(description="Rebuild what ptaudit rebuilds, without its code.")
    parser.add_argument("--runs", type=Path, default=Path("runs/redteam"), help="where the run folder is")
    parser.add_argument("--reuse", action="store_true", help="take the run folder that is there already")
    options = parser.parse_args()
    data = Path(os.environ.setdefault("PTAUDIT_DATA", str(ROOT.parent / "shared" / "data")))
    if not (data / "fashion_mnist").is_dir():
        print(f"{data}: holds no fashion_mnist; set PTAUDIT_DATA", file=sys.stderr)
        return 2
    import ptaudit

    options.runs.mkdir(parents=True, exist_ok=True)
    path, out = options.runs / "pictures.yaml", options.runs / "pictures"
    path.write_text(yaml.safe_dump(spec(), sort_keys=False), encoding="utf-8")
    if not (options.reuse and (out / "leakage.csv").is_file()):
        ptaudit.audit(path, out=out, fresh=True, gate=False, device="cpu")
    found = list(lines(pd.read_csv(out / "leakage.csv"), open_worlds(path, EPOCHS)))
    print("\n".join(line for line, _ in found))
    return int(any(beaten for _, beaten in found))


if __name__ == "__main__":
    sys.exit(main())
