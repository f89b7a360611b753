"""End to end on real digits: an untrained model tells nothing of membership, whoever asks."""

from __future__ import annotations

from audit_case import write_spec
from scipy.stats import binom

import ptaudit
from ptaudit.tables.row import find


def test_an_untrained_model_knows_no_members(tmp_path):
    """Rows of one run are correlated, so runs count: in each adversary at most what chance allows."""
    path = write_spec(tmp_path, train__epochs=1, audit__epochs=[0], audit__games=["membership"], data__limit=None)
    runs, misses, alarms = 8, {}, 0
    for seed in range(runs):
        settings = [f"train.seed={seed}", f"data.seed={seed}", f"audit.seed={seed}", "audit.records=120"]
        rows = ptaudit.audit(path, out=tmp_path / str(seed), overrides=settings).run.rows
        for row in find(rows, metric="auc"):
            key = row.layer, row.adversary
            misses[key] = misses.get(key, 0) + (not row.lo <= 0.5 <= row.hi)
        alarms += sum(row.lo > 0.0 for row in find(rows, metric="bits"))
    assert len(misses) == 7
    assert max(misses.values()) <= binom.isf(1e-3, runs, 0.05)
    assert alarms <= binom.isf(1e-3, len(misses) * runs, 0.025)
