"""What it costs to read every record's gradient inside a training step, beside the ways its peers have.

    python benchmarks/overhead.py --threads 2                 # a quarter of an hour on two quiet cores
    python benchmarks/overhead.py --quick                     # under a minute, small models: only to see that it runs
    python benchmarks/overhead.py --models transformer --profile   # and what the captured step is made of

A step is forward, loss, backward, SGD with momentum. Five of them are compared:
    bare     nothing else
    matrix   ptaudit captures the layers with a weight matrix, every step
    all      ptaudit captures every trainable parameter, every step
    opacus   Opacus' GradSampleModule leaves the per-sample gradients; on a copy without in-place operations, and with
             its own attention where the model has one
    vmap     torch.func: vmap(grad) of the functional model
ptaudit's steps leave tokens of 64 numbers per layer and record, its peers whole per-sample gradients.

Time: every timed step comes right after a bare one, in turns; the figure is the median (and quartiles) of the ratio of
the two, so that what else the machine does falls out. Memory: the peak of one step over what lies there before it,
plus weights and momentum; on a CPU by what torch's allocator gives out (its profiler tells), on CUDA by
`max_memory_allocated`; scratch space inside the kernels' libraries is in neither.

`--json FILE` writes a list of {model, device, what, time_ratio, memory_ratio, n} with the quartiles `time_q1` and
`time_q3`, the median `seconds` of a step and `memory_mib`; n is the number of pairs.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from memory import peak_bytes  # noqa: E402
from models import MODELS, QUICK  # noqa: E402

from ptaudit.sketches.live import LiveReader, matrix_layers  # noqa: E402

WHATS = ("bare", "matrix", "all", "opacus", "vmap")
NEVER = 10**9
CUDA_BATCH = 256
Step = Callable[[], object]
Row = dict[str, Any]


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean loss of a batch."""
    return F.cross_entropy(model(x), y)


def _without_mask(encoder: nn.TransformerEncoder, x: Tensor, **masks: Tensor) -> Tensor:
    return nn.TransformerEncoder.forward(encoder, x)


class Bench:
    """One model and its five steps, each on a copy of the model of its own."""

    def __init__(self, name: str, device: torch.device, quick: bool) -> None:
        build, data, n = (QUICK if quick else MODELS)[name]
        torch.manual_seed(0)
        self.name, self.device = name, device
        self.n = CUDA_BATCH if device.type == "cuda" and not quick else n
        self._model = build().to(device).train()
        self.x, self.y = (tensor.to(device) for tensor in data(self.n))

    def step(self, what: str) -> Step:
        """The step, ready to be called; raises what the peer raises if it cannot do it."""
        model = copy.deepcopy(self._model)
        if what == "opacus":
            return self._opacus(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        if what == "vmap":
            return self._vmap(model, optimizer)
        layers = matrix_layers(model) if what == "matrix" else "all"
        reader = None if what == "bare" else LiveReader(model, layers=layers, check_every=NEVER)

        def step() -> object:
            with nullcontext() if reader is None else reader.capture(self.n) as seen:
                loss_of(model, self.x, self.y).backward()
            optimizer.step()
            optimizer.zero_grad()
            return seen and seen.tokens

        if reader is not None:
            captured = step()
            missing = [info.name for info in reader.layers if info.capture == "none"]
            assert not missing, missing
            assert captured.values.isfinite().all()
        return step

    def _opacus(self, model: nn.Module) -> Step:
        from opacus import GradSampleModule
        from opacus.validators import ModuleValidator

        model = ModuleValidator.fix(model).to(self.device).train()
        for module in model.modules():
            if getattr(module, "inplace", False):
                module.inplace = False
            if isinstance(module, nn.TransformerEncoder):  # its attention takes no padding mask; all here is real
                module.forward = partial(_without_mask, module)
        sampled = GradSampleModule(model)
        optimizer = torch.optim.SGD(sampled.parameters(), lr=0.01, momentum=0.9)

        def step() -> None:
            loss_of(sampled, self.x, self.y).backward()
            optimizer.step()
            sampled.zero_grad(set_to_none=True)
            for parameter in sampled.parameters():
                parameter.grad_sample = None

        return step

    def _vmap(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
        def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))

        per_sample = vmap(grad(one), in_dims=(None, 0, 0), randomness="different")

        def step() -> None:
            parameters = {name: p.detach() for name, p in model.named_parameters()}
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule
                grads = per_sample(parameters, self.x, self.y)
            for name, parameter in model.named_parameters():
                parameter.grad = grads.pop(name).mean(0)
            optimizer.step()
            optimizer.zero_grad()

        return step

    def rows(self, whats: Sequence[str], pairs: int) -> list[Row]:
        """Times and memory of the steps."""
        bare, steps = self.step("bare"), {}
        for what in whats:
            if what == "bare":
                continue
            try:
                steps[what] = self.step(what)
                steps[what]()
            except Exception as error:
                print(f"{self.name}: {what} cannot do it: {type(error).__name__}: {error}", file=sys.stderr)
                steps.pop(what, None)
        bare()
        weights = 2 * sum(p.numel() * p.element_size() for p in self._model.parameters())
        own = weights + peak_bytes(bare, self.device)
        seconds: dict[str, list[float]] = {what: [] for what in ("bare", *steps)}
        ratios: dict[str, list[float]] = {what: [] for what in steps}
        for turn in range(pairs):
            for what, step in steps.items() if turn % 2 else reversed(steps.items()):
                before, after = self.seconds(bare), self.seconds(step)
                seconds["bare"].append(before)
                seconds[what].append(after)
                ratios[what].append(after / before)
        found = [self._row("bare", [1.0], seconds["bare"], own, own)]
        for what, step in steps.items():
            found.append(self._row(what, ratios[what], seconds[what], weights + peak_bytes(step, self.device), own))
        return found

    def _row(self, what: str, ratios: Sequence[float], seconds: Sequence[float], memory: float, bare: float) -> Row:
        q1, median, q3 = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (1.0, 1.0, 1.0)
        return {
            "model": self.name,
            "device": self.device.type,
            "what": what,
            "time_ratio": round(median, 4),
            "time_q1": round(q1, 4),
            "time_q3": round(q3, 4),
            "memory_ratio": round(memory / bare, 4),
            "n": len(seconds) if what == "bare" else len(ratios),
            "seconds": round(statistics.median(seconds), 5),
            "memory_mib": round(memory / 2**20, 1),
        }

    def seconds(self, step: Step) -> float:
        """Of one step."""
        self._wait()
        began = time.perf_counter()
        step()
        self._wait()
        return time.perf_counter() - began

    def profile(self, what: str) -> str:
        """The operations of a step, by the time they take themselves."""
        step = self.step(what)
        step()
        with torch.profiler.profile() as profile:
            for _ in range(3):
                step()
        return profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def show(rows: Sequence[Row]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    machine = torch.cuda.get_device_name() if any(r["device"] == "cuda" for r in rows) else platform.processor()
    title = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {machine}"
    table = Table("model", "device", "what", "step", "time", "quartiles", "memory", "", "pairs", title=title)
    for row in rows:
        table.add_row(
            row["model"] if row["what"] == "bare" else "",
            row["device"],
            row["what"],
            f"{1e3 * row['seconds']:.1f} ms",
            f"{row['time_ratio']:.2f}x",
            f"{row['time_q1']:.2f} - {row['time_q3']:.2f}",
            f"{row['memory_ratio']:.2f}x",
            f"{row['memory_mib']:.0f} MiB",
            str(row["n"]),
        )
    Console(width=110).print(table)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time captured training steps beside bare ones and those of peers.")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--what", nargs="+", choices=WHATS, default=list(WHATS))
    parser.add_argument("--pairs", type=int, default=24, help="timed steps of each kind; at least 20 for a figure")
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU if there is one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--quick", action="store_true", help="small models, under a minute")
    parser.add_argument("--profile", action="store_true", help="also print the operations of bare and captured steps")
    return parser.parse_args()


def main() -> int:
    """Run it."""
    chosen = options()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    kind = "cuda" if chosen.device != "cpu" and torch.cuda.is_available() else "cpu"
    if chosen.device == "cuda" and kind != "cuda":
        print("there is no GPU here", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in [name for name in chosen.models if not chosen.quick or name in QUICK]:
        bench = Bench(name, torch.device(kind), chosen.quick)
        rows += bench.rows(chosen.what, 5 if chosen.quick else chosen.pairs)
        if chosen.profile:
            for what in ("bare", "all"):
                print(f"{name}, {what}", bench.profile(what), sep="\n")
    show(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
