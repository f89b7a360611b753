from __future__ import annotations

import pytest
from pydantic import ValidationError

from ptaudit.spec.fleet import FleetSpec


def test_what_is_left_out():
    assert FleetSpec() == FleetSpec(models=16, folder=None, engine="local", at_once=None)
    assert FleetSpec(models=4, folder="fleet").plain() == {"models": 4, "folder": "fleet", "engine": "local"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"models": 3}, "3 reference models are an odd number"),
        ({"models": 0}, "greater than or equal to 2"),
        ({"models": 4.0}, "valid integer"),
        ({"models": True}, "valid integer"),
        ({"folder": ""}, "at least 1 character"),
        ({"engine": "dask"}, "'local' or 'ray'"),
        ({"at_once": 0}, "greater than or equal to 1"),
        ({"model": 4}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_refused(values, told):
    with pytest.raises(ValidationError, match=told):
        FleetSpec.model_validate(values)
