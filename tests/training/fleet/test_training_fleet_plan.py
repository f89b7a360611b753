"""How many models are trained at once: by memory, and by what first steps take."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.progress import Silent
from ptaudit.training.fleet import memory
from ptaudit.training.fleet import plan as planning
from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.chunk import Chunk, train_chunk
from ptaudit.training.fleet.compiled import CompiledStack, Trial, trial
from ptaudit.training.fleet.memory import free_memory, lacks_memory, model_bytes
from ptaudit.training.fleet.plan import fastest, make_plan
from ptaudit.training.fleet.stack import Stack

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from memory import peak_bytes  # of the benchmarks

EIGHT = range(0, 16, 2)


def wide() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    )


def pictures() -> Records:
    return Records(torch.randn(60, 1, 8, 8), torch.arange(60) % 3, 3)


def measured(context) -> float:
    """Bytes per model of weights, what the optimizer remembers, and the peak of a step, of eight models."""
    stack = Stack(context, EIGHT, [context.build(model) for model in EIGHT])
    stack.step(stack.first_batch, ())
    peak = peak_bytes(lambda: stack.step(stack.first_batch, ()), context.device)
    spec = context.train.optimizer
    kept = 1 + (2 if spec.name == "adam" else spec.momentum > 0)
    return (peak + kept * sum(weight.nbytes for weight in stack.weights.values())) / len(EIGHT)


@pytest.mark.parametrize(
    ("model", "records", "train"),
    [
        (wide, None, {"batch_size": 8}),
        (wide, None, {"batch_size": 60, "optimizer": {"name": "adam"}}),
        (convolutions, pictures, {"batch_size": 30, "optimizer": {"name": "sgd"}}),
    ],
)
def test_the_estimate_of_memory_is_near_what_is_measured(model, records, train, fleet_context):
    context = fleet_context(model, **({} if records is None else {"records": records()}), **train)
    estimate = model_bytes(context)
    assert 0.8 * measured(context) < estimate < 2 * measured(context)


def test_no_more_at_once_than_memory_holds(fleet_context, monkeypatch):
    context = fleet_context()
    monkeypatch.setattr(planning, "free_memory", lambda device: int(2 * 5.5 * model_bytes(context)))
    plan = make_plan(context, EIGHT)
    assert plan.at_once == 5  # half of the memory is for the fleet
    assert str(plan).startswith("up to 5 as one program: small steps")

    monkeypatch.setattr(planning, "free_memory", lambda device: model_bytes(context))
    assert make_plan(context, EIGHT).reason == "memory does not hold two models and their batches"


def test_what_is_faster_is_taken(fleet_context, monkeypatch):
    context = fleet_context()
    monkeypatch.setattr(Alone, "time_steps", lambda self, steps: 1.0)
    monkeypatch.setattr(Stack, "time_steps", lambda self, steps: {8: 4.0, 4: 1.0, 2: 4.0}[len(self.models)])
    plan = fastest(context, EIGHT, 8)
    assert plan.at_once == 4
    assert plan.reason == "the fastest here"
    assert plan.measured.startswith("a step of a model takes 1000.00 ms with 1 at once, 2000.00 ms with 2 at once, ")
    monkeypatch.setattr(Stack, "time_steps", lambda self, steps: 1.1 * len(self.models))
    assert fastest(context, EIGHT, 8).at_once == 1


def test_on_a_cpu_no_clock_decides(fleet_context, monkeypatch):
    monkeypatch.setattr(Alone, "time_steps", None)
    monkeypatch.setattr(Stack, "time_steps", None)
    assert make_plan(fleet_context(), range(0, 80, 2)).at_once == planning.AT_ONCE
    plan = make_plan(fleet_context(convolutions, records=pictures()), EIGHT)
    assert plan.at_once == 1
    assert "convolutions" in plan.reason


def test_timing_is_real_and_leaves_the_models_to_come_alone(fleet_context):
    plan = fastest(fleet_context(), EIGHT, 8)
    assert plan.at_once in (1, 2, 4, 8)
    assert plan.measured.count(" at once") == 4


@pytest.mark.parametrize(
    ("found", "program", "told"),
    [
        (Trial(step=4.0, compiling=10.0), CompiledStack, "500.00 ms compiled, for which 10 s are needed"),
        (Trial(step=7.9, compiling=10.0), Stack, "987.50 ms compiled, for which 10 s are needed"),
        ("it does not compile: no", Stack, "with 8 at once; it does not compile: no"),
    ],
)
def test_compiled_where_that_pays_for_the_compiling(found, program, told, fleet_context, monkeypatch):
    """8 models at once, 2 epochs of 2 steps of 8 seconds: 32 seconds for which a compiler may have some."""
    context = fleet_context(pool=64)
    monkeypatch.setattr(Alone, "time_steps", lambda self, steps: 2.0)
    monkeypatch.setattr(Stack, "time_steps", lambda self, steps: 8.0 if len(self.models) == 8 else 100.0)
    monkeypatch.setattr(planning, "trial", lambda *_: found)
    assert fastest(context, EIGHT, 8).program is Stack  # of half a minute nothing is to be gained
    monkeypatch.setattr(planning, "WORTH_COMPILING", 30.0)
    plan = fastest(context, EIGHT, 8)
    assert (plan.at_once, plan.program) == (8, program)
    assert plan.measured.endswith(told)
    assert [chunk.program for chunk in plan.chunks(EIGHT)] == [program]


def test_what_does_not_compile_is_told(fleet_context, monkeypatch):
    def breaks(*_, **__):
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", lambda function, **_: breaks)
    context = fleet_context()
    assert trial(context, EIGHT, [context.build(0)] * 8, 1) == "it does not compile: RuntimeError: no compiler"


@pytest.mark.parametrize(("slip", "told"), [(1.1, "compiled, its gradients are not what they were"), (1.0, None)])
def test_what_is_compiled_to_something_else_is_not_taken(slip, told, fleet_context, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *given: slip * function(*given))
    context = fleet_context()
    found = trial(context, EIGHT, [context.build(0)] * 8, 1)
    assert found == told if told else isinstance(found, Trial)


@pytest.mark.slow
def test_a_compiled_program_trains_what_a_plain_one_does(fleet_context, monkeypatch):
    """With g++, and batches of two sizes."""
    context = fleet_context(pool=50)
    monkeypatch.setattr(planning, "WORTH_COMPILING", 0.0)
    monkeypatch.setattr(Alone, "time_steps", lambda self, steps: 1e9)
    assert " ms compiled, for which " in fastest(context, EIGHT, 8).measured
    found = [dict(train_chunk(context, Chunk((0, 2), kind), Silent().task(""))) for kind in (Stack, CompiledStack)]
    for model in (0, 2):
        np.testing.assert_allclose(found[0][model].losses, found[1][model].losses, rtol=1e-3, atol=1e-5)


def test_the_users_number_goes_first(fleet_context):
    assert make_plan(fleet_context(), EIGHT, 3).at_once == 3
    assert make_plan(fleet_context(), EIGHT, 100).at_once == 8
    assert str(make_plan(fleet_context(), EIGHT, 1)) == "one after the other: as fleet.at_once says"


def test_what_memory_does_not_hold_after_all_is_not_taken(fleet_context, monkeypatch):
    def scarce(self, steps):
        if len(self.models) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8")
        return 0.1

    monkeypatch.setattr(Alone, "time_steps", lambda self, steps: 1.0)
    monkeypatch.setattr(Stack, "time_steps", scarce)
    assert fastest(fleet_context(), EIGHT, 8).at_once == 2


def test_a_container_may_not_take_what_the_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    whole = free_memory(torch.device("cpu"))
    assert whole > 1_000_000
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_memory(torch.device("cpu")) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(torch.device("cpu")) > 1_000_000


def test_which_errors_say_that_memory_has_run_out():
    said = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried 8 bytes."
    assert lacks_memory(RuntimeError(said))
    assert lacks_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert lacks_memory(MemoryError())
    assert not lacks_memory(RuntimeError("shapes differ"))
    assert not lacks_memory(ValueError("out of memory"))
