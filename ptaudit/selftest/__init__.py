"""`ptaudit selftest`: planted leaks and private toys with known answers, measured on the user's own machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ptaudit.progress import Progress
from ptaudit.report.selftest import Answer, Case, CaseResult
from ptaudit.selftest.bits import gaussian_batch, gaussian_noise, heavy_tails, outliers, shuffled_secret
from ptaudit.selftest.decisions import gate_verdicts
from ptaudit.selftest.networks import algebraic_leak, exact_tokens, memorised, planted_leak, private_toy, untrained

CASES: dict[str, Case] = {
    "identity, batch of 4": gaussian_batch,
    "identity, noise": gaussian_noise,
    "shuffled secret": shuffled_secret,
    "heavy tails": heavy_tails,
    "huge records": outliers,
    "tokens": exact_tokens,
    "planted leak": planted_leak,
    "algebraic leak": algebraic_leak,
    "private toy": private_toy,
    "membership, untrained": untrained,
    "membership, memorised": memorised,
    "gates": gate_verdicts,
}
"""Name to case; a new one is a function without arguments and a line here."""

_MOST_THREADS = 2
"""The cases are so small that more threads only get in each other's way."""


def run(progress: Progress) -> list[CaseResult]:
    """Measure every case; one that raises is missed and does not keep the others from being measured."""
    results = []
    with _few_threads(), progress.task("selftest", len(CASES)) as task:
        for name, case in CASES.items():
            task.advance(0, note=name)
            began = time.perf_counter()
            answer = _answer(case)
            seconds = time.perf_counter() - began
            results.append(CaseResult(name, answer.expected, answer.found, answer.passed, seconds))
            task.advance()
    return results


def _answer(case: Case) -> Answer:
    try:
        return case()
    except Exception as error:
        return Answer("an answer", f"{type(error).__name__}: {error}", False)


@contextmanager
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, _MOST_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)
