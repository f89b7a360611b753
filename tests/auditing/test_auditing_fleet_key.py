from __future__ import annotations

from audit_case import write_spec

from ptaudit.auditing.run_key import fleet_key
from ptaudit.spec.load import load
from ptaudit.training.checkpoint import difference


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
