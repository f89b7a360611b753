"""What it costs to train many reference models as one program, beside one after the other, as the audit would.

    python benchmarks/fleet.py --threads 2 --json fleet.json
    python benchmarks/fleet.py --quick                     # under a minute, few steps: only to see that it runs

A round trains one model for an epoch of a few steps by the replay of the spec, then models for the same epoch as one
program, some sizes of it in turn. The ratio of a round is that of the times per model, so that what else the machine
does falls out; the figure is the median (and quartiles) over rounds, of the best size. Batches and optimizers are those
of the ready specs: Adult 128, Location30 32 with Adam; `adult-16` shows what small steps gain. Memory is the peak of a
step over what lies there before, plus weights and what the optimizer remembers.

`--compiled` compiles the program too (`torch.compile`), and says what that takes and what a step takes then, beside the
plain one before and after.

`--json FILE` writes a list of {case, device, models, at_once, ratio, ratio_q1, ratio_q3, seconds_alone,
seconds_stacked, memory_mib, estimate_mib, n}: seconds of an epoch of all models, n rounds; with `--compiled` also
{step_plain, step_compiled, compiling}, seconds of a step of all models at once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sample_models")]

from lenet import lenet  # noqa: E402
from memory import peak_bytes  # noqa: E402
from mlp import mlp  # noqa: E402
from resnet20 import resnet20  # noqa: E402

from ptaudit.data import Records  # noqa: E402
from ptaudit.spec.model import TrainSpec  # noqa: E402
from ptaudit.training.device import pick_device  # noqa: E402
from ptaudit.training.fleet.alone import Alone  # noqa: E402
from ptaudit.training.fleet.compiled import trial  # noqa: E402
from ptaudit.training.fleet.context import FleetContext  # noqa: E402
from ptaudit.training.fleet.memory import model_bytes  # noqa: E402
from ptaudit.training.fleet.stack import Stack  # noqa: E402
from ptaudit.training.fleet.stackable import why_not_stacked  # noqa: E402
from ptaudit.training.loss import train_loss  # noqa: E402
from ptaudit.training.seeding import seeded  # noqa: E402

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model, the shape of a record, and how it is trained."""

    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    batch_size: int
    optimizer: dict[str, Any]

    def context(self, steps: int, device: torch.device) -> FleetContext:
        """Noise with classes, as much as an epoch of `steps` steps takes."""
        n, generator = 2 * steps * self.batch_size, torch.Generator().manual_seed(0)
        inputs = torch.randn(n, *self.shape, generator=generator)
        records = Records(inputs, torch.arange(n) % self.classes, self.classes).to(device)
        train = TrainSpec.model_validate({"epochs": 1000, "batch_size": self.batch_size, "optimizer": self.optimizer})
        return FleetContext(records, np.arange(n), train, train_loss(train), self._build(device), (0,), 0, device)

    def _build(self, device: torch.device) -> Callable[[int], nn.Module]:
        def build(seed: int) -> nn.Module:
            with seeded(seed):
                return self.model().to(device)

        return build


CASES = {
    "adult-16": Case(lambda: mlp(104, 2), (104,), 2, 16, SGD),
    "adult": Case(lambda: mlp(104, 2), (104,), 2, 128, SGD),
    "location30": Case(lambda: mlp(446, 30, (256, 128)), (446,), 30, 32, {"name": "adam"}),
    "lenet-8": Case(lambda: lenet(10, 1, 8), (1, 8, 8), 10, 64, SGD),
    "lenet-28": Case(lambda: lenet(10, 1, 28), (1, 28, 28), 10, 64, SGD),
    "resnet20-gn": Case(lambda: resnet20(10, 3, "group"), (3, 32, 32), 10, 128, SGD),
}
SLOW = ("resnet20-gn",)
"""Left out on a CPU unless asked for."""


def measured(name: str, models: int, steps: int, rounds: int, device: torch.device) -> Row:
    """Times of one case."""
    context = CASES[name].context(steps, device)
    assert not why_not_stacked(context), why_not_stacked(context)
    alone, stacks = Alone(context, 0), {size: _stack(context, size) for size in (models, models // 2, models // 4)}
    ratios: dict[int, list[float]] = {size: [] for size in stacks}
    seconds: dict[int, list[float]] = {size: [] for size in (1, *stacks)}
    for epoch in range(1, rounds + 2):  # the first round warms up
        seconds[1].append(_seconds(alone, epoch, device))
        for size, stack in stacks.items():
            seconds[size].append(_seconds(stack, epoch, device) / size)
            ratios[size].append(seconds[1][-1] / seconds[size][-1])
    best = max(ratios, key=lambda size: statistics.median(ratios[size][1:]))
    q1, median, q3 = statistics.quantiles(ratios[best][1:], n=4)
    stack = stacks[best]
    kept = sum(w.nbytes for w in stack.weights.values()) * (3 if CASES[name].optimizer["name"] == "adam" else 2)
    peak = kept + peak_bytes(lambda: stack.step(stack.first_batch, ()), device)
    return {
        "case": name,
        "device": device.type,
        "models": models,
        "at_once": best,
        "ratio": round(median, 3),
        "ratio_q1": round(q1, 3),
        "ratio_q3": round(q3, 3),
        "seconds_alone": round(models * statistics.median(seconds[1][1:]), 4),
        "seconds_stacked": round(models * statistics.median(seconds[best][1:]), 4),
        "memory_mib": round(peak / 2**20, 1),
        "estimate_mib": round(best * model_bytes(context) / 2**20, 1),
        "n": rounds,
    }


def compiled(name: str, size: int, steps: int, device: torch.device) -> Row:
    """Seconds of a step of `size` models as a plain program and as a compiled one, and of compiling it."""
    context = CASES[name].context(steps, device)
    models, plain = list(range(0, 2 * size, 2)), _stack(context, size)
    before = plain.time_steps(5 * steps)
    found = trial(context, models, [context.build(0)] * size, 5 * steps)
    if isinstance(found, str):
        raise RuntimeError(found)
    after = plain.time_steps(5 * steps)
    return {"step_plain": (before + after) / 2, "step_compiled": found.step, "compiling": found.compiling}


def _stack(context: FleetContext, size: int) -> Stack:
    models = range(0, 2 * size, 2)  # equally many members
    return Stack(context, models, [context.build(context.training_seed(model)) for model in models])


def _seconds(trained: Alone | Stack, epoch: int, device: torch.device) -> float:
    began = time.perf_counter()
    trained.train_epoch(epoch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def profile(name: str, models: int, device: torch.device) -> str:
    """The operations of a step of all models, by the time they take themselves."""
    stack = _stack(CASES[name].context(4, device), models)
    stack.time_steps(2)
    with torch.profiler.profile() as found:
        stack.time_steps(5)
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time reference models as one program beside one after the other.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--quick", action="store_true", help="few models, steps and rounds")
    parser.add_argument("--compiled", action="store_true", help="compile the program too")
    parser.add_argument("--profile", action="store_true", help="also print the operations of a step")
    return parser.parse_args()


def main() -> int:
    """Run it."""
    chosen = options()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = pick_device(chosen.device)
    models, steps, rounds = (8, 2, 3) if chosen.quick else (chosen.models, chosen.steps, chosen.rounds)
    names = chosen.cases or [name for name in CASES if device.type == "cuda" or name not in SLOW]
    rows = []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}", file=sys.stderr)
    for name in names:
        rows.append(row := measured(name, models, steps, rounds, device))
        print(
            f"{name}: {row['ratio']:.2f}x ({row['ratio_q1']:.2f} to {row['ratio_q3']:.2f}) with {row['at_once']} at "
            f"once; {models} models {row['seconds_alone']:.3f} s alone, {row['seconds_stacked']:.3f} s as one program; "
            f"{row['memory_mib']:.0f} MiB (estimate {row['estimate_mib']:.0f})",
            flush=True,
        )
        if chosen.compiled:
            row |= compiled(name, row["at_once"], steps, device)
            print(
                f"    a step of {row['at_once']}: {1000 * row['step_plain']:.2f} ms, compiled "
                f"{1000 * row['step_compiled']:.2f} ms, after {row['compiling']:.0f} s of compiling",
                flush=True,
            )
        if chosen.profile:
            print(profile(name, row["at_once"], device), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
