"""The verdicts. A gate that passes says "this adversary's score is at most max", not "safe"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ptaudit.errors import PtauditError
from ptaudit.gate.advice import advise
from ptaudit.gate.cases import Cases, increase_cases, level_cases, select, several_seeds
from ptaudit.gate.undecided import in_words, records_to_decide
from ptaudit.spec.metrics import metric
from ptaudit.tables.columns import Mask
from ptaudit.tables.mechanism import limited, protected
from ptaudit.tables.run import Run
from ptaudit.tables.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec


def decide(gates: Sequence[GateSpec], run: Run, baseline: Run | None = None) -> list[Verdict]:
    """Decides every gate on the simultaneous 95 % bounds of its rows.

    It fails if the lower bound of a row is above the threshold, passes if every row was measured and every upper bound
    is at or below it, and is inconclusive otherwise.

    Args:
        gates: the gates of the spec.
        run: the run to judge.
        baseline: the run that `max_increase` refers to.

    Returns:
        One verdict a gate, in their order.

    Raises:
        PtauditError: if a gate matches no row, or needs a baseline that is missing or not comparable.
    """
    return [_decide(gate, run, baseline) for gate in gates]


def decide_each(
    gates: Sequence[GateSpec], run: Run, baseline: Run | None = None
) -> tuple[tuple[Verdict, ...], dict[str, PtauditError]]:
    """Decides every gate that can be decided; see `decide`.

    Returns:
        The verdicts of those, in their order; by the id of each other one why it could not be.
    """
    verdicts: list[Verdict] = []
    broken: dict[str, PtauditError] = {}
    for gate in gates:
        try:
            verdicts += decide([gate], run, baseline)
        except PtauditError as error:
            broken[gate.id] = error
    return tuple(verdicts), broken


def exit_code(verdicts: Iterable[Verdict], inconclusive: Literal["pass", "fail"] | None = None) -> int:
    """0 if all gates passed, 1 if one failed, 3 if one is inconclusive (`inconclusive`: count it as this)."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return 1
    if "inconclusive" in outcomes:
        return {"pass": 0, "fail": 1, None: 3}[inconclusive]
    return 0


def _decide(gate: GateSpec, run: Run, baseline: Run | None) -> Verdict:
    rows = select(gate, run.rows)
    if gate.kind != "max_increase":
        cases = level_cases(gate, rows, run)
        finding = _find(cases, gate.limit, _diverged(run) or _unprotected(gate, cases, run))
        advice = advise(gate, cases, finding.deciding, run) if finding.outcome == "fail" else None
        return _verdict(gate, run, cases, finding, advice)
    if baseline is None:
        raise PtauditError("no baseline to compare with", where=f"gate {gate.id}", remedy="give --baseline RUN")
    cases = increase_cases(gate, rows, run, baseline)
    unknown = None if gate.same_weights else _retraining_unknown(baseline, run)
    if unknown and len(cases.measured):
        finding = _Finding("inconclusive", np.ones(len(cases.measured), dtype=np.bool_), unknown)
    else:
        objection = _diverged(run) or _diverged(baseline) or _unprotected(gate, cases, run)
        finding = _find(cases, gate.limit, objection)
    return _verdict(gate, run, cases, finding)


@dataclass(frozen=True)
class _Finding:
    """An outcome, the measured rows that decided it, and the outcome in words; where it is between, about how many
    records would decide it."""

    outcome: Outcome
    deciding: Mask
    reason: str
    needed: int | None = None


def _find(cases: Cases, threshold: float, objection: str | None) -> _Finding:
    """The outcome; a `objection` keeps a gate from passing, not from failing."""
    failing, undecided = cases.lo > threshold, ~(cases.hi <= threshold)
    every = np.ones(len(cases.measured), dtype=np.bool_)
    if failing.any():
        return _Finding("fail", failing, f"{_of(failing.sum(), cases)} above {threshold:g}")
    if len(cases.missing):
        row = cases.missing[0]
        what = row.status if row.status != "ok" else "not a number"
        reason = f"{_of(len(cases.missing), cases)} not measured, first {row.layer}: {what}"
        return _Finding("inconclusive", ~every, reason)
    if undecided.any():
        reason = f"{_of(undecided.sum(), cases)} may be above or below {threshold:g}"
        return _Finding("inconclusive", undecided, reason, records_to_decide(cases, undecided, threshold))
    if cases.saturated.any():
        return _Finding("inconclusive", cases.saturated, _saturated(cases))
    if objection:
        return _Finding("inconclusive", every, objection)
    return _Finding("pass", every, f"{_of(len(every), cases)} at most {threshold:g}")


def _of(some: int, cases: Cases) -> str:
    return f"{some} of {len(cases)} row{'' if len(cases) == 1 else 's'}"


def _saturated(cases: Cases) -> str:
    first = cases.measured[int(np.argmax(cases.saturated))]
    return f"{_of(cases.saturated.sum(), cases)} saturated, first {first.layer}: it could hardly have shown more"


def _diverged(run: Run) -> str | None:
    status = str(run.manifest.get("status", ""))
    return f"run {run.name} {status}" if status.startswith("diverged") else None


def _unprotected(gate: GateSpec, cases: Cases, run: Run) -> str | None:
    """Why a gate that needs noise of known size cannot pass; None if it can."""
    bare = 0 if gate.needs != "mechanism" else int((~protected(run, cases.measured)).sum())
    if not bare:
        return None
    spec = "" if run.spec_text else " (the folder has no spec, which would say so)"
    return f"no noise mechanism stands behind {_of(bare, cases)}{spec}: nothing but the adversary limits what is found"


def _retraining_unknown(*runs: Run) -> str | None:
    if several_seeds(*runs):
        return None
    if all(len(run.seeds) > 1 or len(run.manifest.get("seeds", ())) > 1 for run in runs):
        return "the tables of the single seeds (seeds/) are missing: noise between them unknown"
    return "one seed: retraining noise not included (set train.seeds to two or more, or same_weights: true)"


def _verdict(gate: GateSpec, run: Run, cases: Cases, finding: _Finding, advice: str | None = None) -> Verdict:
    value = lo = hi = math.nan
    if finding.deciding.any():
        place = int(np.argmax(np.where(finding.deciding, cases.value, -np.inf)))
        worst = cases.measured[place]
        value, lo, hi = (float(numbers[place]) for numbers in (cases.value, cases.lo, cases.hi))
    else:
        worst = cases.missing[0]
    needed = finding.needed if metric(gate.measure).score else None  # the width of a bound need not shrink
    if needed is not None:
        advice = in_words(gate, run, needed, worst.n)
    return Verdict(
        id=gate.id,
        metric=gate.metric,
        view=gate.view,
        trained_with=gate.trained_with,
        over=gate.over,
        epoch=gate.epoch,
        threshold=gate.limit,
        kind=gate.kind,
        outcome=finding.outcome,
        worst_layer=worst.layer,
        worst_epoch=worst.epoch,
        worst_adversary=worst.adversary,
        worst_knows=worst.knows,
        value=value,
        lo=lo,
        hi=hi,
        rows=len(cases),
        reason=finding.reason,
        advice=advice,
        limited=int(limited(run, cases.measured).sum()),
        n=worst.n,
        needed=needed,
    )
