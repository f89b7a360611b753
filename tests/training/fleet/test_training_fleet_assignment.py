from __future__ import annotations

import numpy as np
import pytest

from ptaudit.training.fleet.assignment import assignment, members


@pytest.mark.parametrize("records", [2, 7, 60, 61])
def test_a_model_has_half_of_the_records_and_a_record_half_of_the_models(records):
    found = assignment(10, records, 0)
    assert found.shape == (10, records)
    assert found.dtype == bool
    assert set(found.sum(axis=1)) == {records // 2, records - records // 2}
    assert set(found.sum(axis=0)) == {5}


def test_the_first_models_are_the_same_however_many_follow():
    assert np.array_equal(assignment(4, 31, 5), assignment(12, 31, 5)[:4])
    assert np.array_equal(assignment(4, 31, 5)[3], members(3, 31, 5))
    assert not np.array_equal(assignment(4, 31, 5), assignment(4, 31, 6))


def test_pairs_are_independent_of_each_other():
    """Two records are together in a model as often as in a random half: (m - 1) / (2 m - 1) of the models with one."""
    found = assignment(4000, 10, 1)[::2].astype(float)
    together = found.T @ found / len(found)
    others = together[~np.eye(10, dtype=bool)]
    assert np.allclose(np.diag(together), 1 / 2, atol=0.04)  # 3.6 standard errors
    assert np.allclose(others, 5 / 10 * 4 / 9, atol=0.04)


def test_an_odd_number_of_models_is_refused():
    with pytest.raises(ValueError, match="3 models: they come in pairs"):
        assignment(3, 10, 0)
