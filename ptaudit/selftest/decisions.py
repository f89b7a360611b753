"""Gates on a planted table: every verdict is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ptaudit.gate import decide, exit_code
from ptaudit.report.selftest import Answer
from ptaudit.spec.model import GateSpec
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.table import Table

RECORDS, CEILING = 400, 8.0
PLANTED = {"quiet": 0.2, "leaky": 2.0}
"""Layer to its true bits; the standard error of each is 0.05 bit."""


def gate_verdicts() -> Answer:
    """Clearly below, clearly above, too close to say, and a row that could not be measured, which never passes."""
    measured = _planted_rows()
    lost = replace(measured[0], layer="lost", value=math.nan, lo=math.nan, hi=math.nan, draws=None)
    run, torn = (Run("planted", Table.of(rows), (), (), {}, {}, "") for rows in (measured, [*measured, lost]))
    questions = ((run, "quiet", 1.0), (run, "layers", 1.0), (run, "leaky", 2.0), (torn, "layers", 7.0))
    verdicts = [decide([_gate(over, top)], table)[0] for table, over, top in questions]
    found = [(verdict.outcome, exit_code([verdict])) for verdict in verdicts]
    known = [("pass", 0), ("fail", 1), ("inconclusive", 3), ("inconclusive", 3)]
    named = verdicts[1].worst_layer
    passed = found == known and named == "leaky"
    return Answer(_words(known, "leaky"), _words(found, named), passed)


def _planted_rows() -> list[Row]:
    """Rows of known mean, with intervals and resamples as the games make them."""
    noise = np.random.default_rng(0).standard_normal((len(PLANTED), RECORDS))
    centred = noise - noise.mean(1, keepdims=True)
    values = np.array(list(PLANTED.values()))[:, None] + centred
    rows = []
    for i, (layer, e) in enumerate(zip(PLANTED, from_matrix(values, null=0.0, ceiling=CEILING, seed=0))):
        place = (1, 1, layer, i, "Linear", 10, "batch", "identity", "likelihood-ratio")
        numbers = (e.value, e.lo, e.hi, e.null, e.ceiling, e.detectable, e.n, e.status, e.draws)
        rows.append(Row(*place, "adaptive", "none", "none", "bits", *numbers))
    return rows


def _gate(over: str, top: float) -> GateSpec:
    return GateSpec(id="planted", metric="identity.bits", view="batch", over=over, max=top)


def _words(outcomes: Sequence[tuple[str, int]], named: str) -> str:
    return f"{', '.join(f'{outcome} {code}' for outcome, code in outcomes)}; {named}"
