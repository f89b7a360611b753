"""An estimator of somebody else's: one file and a line in the registry."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, write_spec

from ptaudit import estimate
from ptaudit.estimators.registry import ESTIMATORS, Named, Option

MODULE = """
from ptaudit.estimators.base import Measured
from ptaudit.stats.estimate import Estimate

def measure(pairs, seed, width=1):
    one = Estimate(0.125 * width, 0.1, 0.2, 0.0, 4.0, len(pairs.record.unique()))
    return [Measured(one, one)] * len(pairs.x)
"""
CHANGES = {
    "data__limit": 240, "train__epochs": 1, "audit__epochs": [1], "audit__views": ONE_VIEW,
    "audit__games": [{"name": "mutual-information", "estimator": ["histogram", "gaussian"]}],
    "gates": [
        {"id": "low", "metric": "mutual-information.bits", "view": "batch-2", "adversary": "histogram", "max": 0.2},
    ],
}  # fmt: skip


@pytest.fixture
def histogram(tmp_path, monkeypatch):
    (tmp_path / "histogram.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    ESTIMATORS["histogram"] = Named("histogram", {"width": Option(1, least=1)})
    yield
    del ESTIMATORS["histogram"]
    sys.modules.pop("histogram", None)


def test_a_new_estimator_is_played_gated_and_in_the_schema(histogram, tmp_path):
    result = call("run", write_spec(tmp_path, **CHANGES), "--out", tmp_path / "run")
    assert result.exit_code in (0, 3), result.output
    rows = pd.read_csv(tmp_path / "run" / "leakage.csv")
    found = rows[(rows.adversary == "histogram") & (rows.metric == "bits")]
    assert found.value.tolist() == [0.125] * 3
    assert '"histogram"' in call("schema").output


def test_it_is_in_the_python_face_with_its_options(histogram):
    x = [[float(i)] for i in range(60)]
    assert estimate.mutual_information(x, x, estimator="histogram", width=2).value == 0.25
    with pytest.raises(ValueError, match="histogram: width must be an integer of at least 1, not 0"):
        estimate.mutual_information(x, x, estimator="histogram", width=0)


def test_without_it_the_name_is_unknown():
    with pytest.raises(ValueError, match="unknown estimator 'histogram'"):
        estimate.mutual_information([0.0, 1.0], [0.0, 1.0], estimator="histogram")
