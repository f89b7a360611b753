from __future__ import annotations

import numpy as np
import torch
from audit_case import write_spec

from ptaudit.auditing.opening import open_session
from ptaudit.auditing.run_key import fleet_key
from ptaudit.progress import Silent
from ptaudit.spec.fleet import FleetSpec
from ptaudit.spec.load import load
from ptaudit.training.checkpoint import difference
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.fleet import train_fleet


def test_what_decides_a_reference_model_is_in_the_key_and_nothing_else(tmp_path):
    spec = write_spec(tmp_path)
    key = fleet_key(load(spec))
    assert key["model.entry"].endswith("models.py:net")
    assert {"ptaudit", "torch", "numpy", "python"} < key.keys()
    for same in ("data.held_out=0.25", "audit.seed=3", "name=other", "train.seed=4"):
        assert fleet_key(load(spec, [same])) == key

    assert difference(key, fleet_key(load(spec, ["model.args.hidden=8"]))).startswith("model.args")
    assert "data.augment.noise" in difference(key, fleet_key(load(spec, ["data.augment={noise: 0.1}"])))
    models = tmp_path / "models.py"
    models.write_text(models.read_text() + "\n# another\n")
    assert difference(key, fleet_key(load(spec))).startswith(f"code of {models} was ")


def test_reference_models_of_a_spec_tell_members_from_others(tmp_path):
    """What a session has is all that a fleet needs; the loss of a record is lower where a model was trained on it."""
    session = open_session(load(write_spec(tmp_path, train__epochs=15)), torch.device("cpu"))
    pool = np.concatenate([session.members, session.others])
    what = (session.records, pool, session.spec.train, session.loss, session.model)
    context = FleetContext(*what, (0, 15), 0, session.device, session.augment)
    fleet = FleetSpec(models=4, folder=str(tmp_path / "fleet"))
    signals = train_fleet(context, fleet, fleet_key(session.spec), Silent())
    gaps = [
        float(losses[~signals.included].mean() - losses[signals.included].mean())
        for losses in (signals.losses[:, 0], signals.losses[:, 1])
    ]
    assert abs(gaps[0]) < 0.02  # untrained
    assert gaps[1] > 0.02
    again = train_fleet(context, fleet, fleet_key(session.spec), Silent())
    assert np.array_equal(signals.losses, again.losses)
