"""Reference models in an audit: trained, kept, played with."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, write_spec
from safetensors import safe_open

import ptaudit
from ptaudit.attacks.membership.registry import ATTACKS, MembershipAttack
from ptaudit.auditing import defended_runs
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.reference import pool_of, reference_bytes
from ptaudit.context.reference import ReferenceModels
from ptaudit.errors import RunFolderError, SpecError, TrainingDivergedError
from ptaudit.games.dynamics.course import course_of
from ptaudit.games.membership.info import OF_EACH_RECORD, likelihood_ratios, with_references
from ptaudit.spec.load import load
from ptaudit.training.device import pick_device
from ptaudit.training.fleet.assignment import assignment
from ptaudit.training.fleet.fleet import ReferenceSignals

FLEET = {"audit__games": ["membership"], "audit__views": ONE_VIEW, "audit__epochs": [0, 2], "fleet": {"models": 4}}

OWN = {"id": "g", "metric": "membership.record_tpr_at_fpr_0.01", "view": "model", "max": 0.9, "epoch": "last"}


def joint(run, metric="auc"):
    rows = run.leakage[(run.leakage.layer == "*") & (run.leakage.metric == metric)]
    return rows.set_index(["epoch", "adversary"]).value


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network that learns 160 records by heart."""
    folder = tmp_path_factory.mktemp("fleet")
    longer = {**FLEET, "train__epochs": 40, "audit__epochs": [0, 40], "train__optimizer__lr": 0.5}
    return ptaudit.audit(write_spec(folder, **longer), out=folder / "run")


def test_every_attack_has_rows_and_knows_nothing_before_training(run):
    found = joint(run)
    assert {name for epoch, name in found.index if epoch == 40} >= set(with_references())
    able = [name for name in with_references() if name != "shadow-classifier"]
    assert found[0][able].between(0.35, 0.65).all()
    assert set(run.leakage[run.leakage.adversary.isin(list(with_references()))].layer) == {"*"}


def test_reference_models_tell_more_than_the_loss_alone(run):
    found = joint(run)[40]
    assert found["rmia-offline"] > found["loss"] + 0.03


def test_the_run_says_how_many_models_and_how_they_were_trained(run):
    told = run.run.manifest["reference_models"]
    assert told["models"] == 4
    assert told["training"]
    assert run.run.timings["reference models"] > 0.0
    assert "4 models trained alike" in " ".join(run.run.manifest["threat_model"])


def test_rates_of_each_record_are_of_likelihood_ratios_alone_and_say_how_many_models_they_need(run):
    rows = run.leakage[run.leakage.metric.isin(OF_EACH_RECORD)]
    assert set(rows.adversary) == set(likelihood_ratios())
    assert len(rows) == 2 * 2 * len(likelihood_ratios())
    needed = {"record_tpr_at_fpr_0.01": 10, "record_tpr_at_fpr_0.001": 14}
    status = {metric: f"inconclusive: needs {n} reference models, there are 4" for metric, n in needed.items()}
    assert (rows.status == rows.metric.map(status)).all()


def test_check_foretells_how_many_models_rates_of_each_record_need(tmp_path):
    """Of what needs more held-out records it tells beside."""
    said = " ".join(call("check", write_spec(tmp_path, **FLEET)).stdout.split())
    for fpr, models in (("0.01", 10), ("0.001", 14)):
        why = f"needs {models} reference models, there are 4"
        assert f"membership.record_tpr_at_fpr_{fpr}: inconclusive, whatever leaks: {why}" in said


def test_models_that_are_there_are_not_trained_again(tmp_path):
    spec = write_spec(tmp_path, **{**FLEET, "fleet": {"models": 4, "folder": "kept"}})
    first = ptaudit.audit(spec, out=tmp_path / "a")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    again = ptaudit.audit(spec, out=tmp_path / "b")
    assert len(files) == 4
    assert files == {path: path.stat().st_mtime_ns for path in files}
    pd.testing.assert_frame_equal(first.leakage, again.leakage)
    more = ptaudit.audit(spec, out=tmp_path / "c", overrides=["fleet.models=6"])
    assert files.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}.items()
    assert more.run.manifest["reference_models"]["models"] == 6


def test_models_of_another_training_are_refused(tmp_path):
    spec = write_spec(tmp_path, **{**FLEET, "fleet": {"models": 2, "folder": "kept"}})
    ptaudit.audit(spec, out=tmp_path / "a")
    result = call("run", str(spec), "--out", str(tmp_path / "b"), "--set", "train.optimizer.lr=0.2")
    assert result.exit_code == 2
    assert "another training: train.optimizer" in result.stderr


def test_two_models_are_too_few_for_an_attack_that_needs_two_with_each_record(tmp_path):
    found = ptaudit.audit(write_spec(tmp_path, **{**FLEET, "fleet": {"models": 2}}), out=tmp_path / "run").leakage
    status = found[(found.adversary == "lira-online") & (found.epoch == 2)].status
    assert len(status)
    assert status.str.startswith("inconclusive: needs 2 models with and 2 without").all()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"audit__games": ["identity"]}, "no use without a game"),
        ({"fleet": {"models": 3}}, "use 4"),
        ({"fleet": None, "gates": [{"id": "g", "metric": "membership.auc", "view": "model", "max": 0.9,
          "adversary": "rmia-online", "epoch": "last"}]}, "add `fleet: {models: 16}`"),
        ({"fleet": None, "gates": [{**OWN, "over": "joint"}]}, "it needs `fleet: .models: 16.` and one of: lira"),
        ({"gates": [{**OWN, "adversary": "rmia-online"}]}, "adversary `rmia-online` reports no record_tpr_at_fpr_0.01"),
        ({"gates": [{**OWN, "over": "layers"}]}, "set over: joint"),
    ],
    ids=["no game", "odd", "gate without models", "own rate without", "own rate of another", "of layers"],
)  # fmt: skip
def test_what_has_no_use_is_refused(tmp_path, changes, what):
    with pytest.raises(SpecError, match=what):
        load(write_spec(tmp_path, **{**FLEET, **changes}))


def test_the_pool_has_as_many_held_out_records_as_members_those_that_are_audited_first(tmp_path):
    session = open_session(load(write_spec(tmp_path, **{**FLEET, "data__held_out": 0.7, "audit__records": 40})),
                           pick_device("cpu"))  # fmt: skip
    pool, split = pool_of(session), session.split
    assert set(split.members) <= set(pool)
    assert set(session.others) <= set(pool)
    assert len(pool) == 2 * len(split.members) == len(np.unique(pool))
    assert len(split.held_out) > len(split.members)


def test_an_attack_from_outside_plays_too(tmp_path, monkeypatch):
    module = tmp_path / "mine.py"
    module.write_text(
        "def score(target, references):\n    return target.confidence - references.signals.confidence.mean(0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ATTACKS, "mine", MembershipAttack("mine:score", "Mine.", outside=1))
    gate = {"id": "g", "metric": "membership.auc", "view": "model", "max": 1.0, "adversary": "mine", "epoch": "last"}
    found = ptaudit.audit(
        write_spec(tmp_path, **{**FLEET, "fleet": {"models": 2}, "gates": [gate]}), out=tmp_path / "r"
    )
    assert 0.0 < joint(found)[2]["mine"] < 1.0
    assert found.exit_code == 0


def test_every_defense_has_reference_models_that_were_trained_with_it(tmp_path):
    """Those of the training as it is would say nothing of noisy models; kept models are told apart by folder."""
    noise = {"name": "dp", "clip": 0.1, "noise_multiplier": 20.0}
    folder = {"fleet": {"models": 4, "folder": "kept"}}
    run = ptaudit.audit(write_spec(tmp_path, **{**FLEET, **folder, "defenses": [noise]}), out=tmp_path / "run")
    first = [tmp_path / "kept" / part / "model-00000.safetensors" for part in ("", "defenses/dp-20-c0.1")]
    plain, noisy = (safe_open(path, "numpy").get_tensor("outputs") for path in first)
    assert np.abs(plain - noisy).max() > 0.1
    of_model = run.leakage[(run.leakage["view"] == "model") & (run.leakage.epoch == 2)].set_index("trained_with")
    assert set(of_model.loc["dp-20-c0.1"].adversary) == set(of_model.loc["none"].adversary) >= set(with_references())
    # The same as where the training itself has the defense.
    alone = ptaudit.audit(
        write_spec(tmp_path, **{**FLEET, "train__defense": {**noise, "name": "dp_sgd"}}), out=tmp_path / "alone"
    )
    values = alone.leakage[(alone.leakage["view"] == "model") & (alone.leakage.epoch == 2)].value
    np.testing.assert_array_equal(of_model.loc["dp-20-c0.1"].value, values)


def test_a_folder_that_cannot_be_written_is_found_before_a_model_is_trained(tmp_path, monkeypatch):
    (tmp_path / "kept").write_text("a file")
    monkeypatch.setattr("ptaudit.training.fleet.fleet.make_plan", lambda *asked: pytest.fail("trained"))
    with pytest.raises(RunFolderError, match="kept"):
        ptaudit.audit(write_spec(tmp_path, **{**FLEET, "fleet": {"models": 4, "folder": "kept"}}), out=tmp_path / "run")


def test_check_counts_what_reference_models_say(tmp_path):
    """4 models, 3 epochs, all 320 records: ten class scores and a loss, as float32; and an epoch while attacks look."""
    session = open_session(load(write_spec(tmp_path, **{**FLEET, "audit__epochs": [0, 1, 2]})), pick_device("cpu"))
    looked_at = 4 * (len(session.members) + len(session.others)) * 11 * 24
    assert reference_bytes(session, session.model(0)) == 4 * 3 * len(pool_of(session)) * 11 * 4 + looked_at


@pytest.mark.parametrize(("engine", "held"), [("local", 2), ("ray", 3)])
def test_check_counts_what_those_of_defenses_say(engine, held, tmp_path):
    """Here that of one defense at a time lies beside that of the run; over Ray all of them do."""
    changes = {**FLEET, "fleet": {"models": 4, "engine": engine}}
    few, more = (
        open_session(load(write_spec(tmp_path, **changes, defenses=defenses)), pick_device("cpu"))
        for defenses in ([], [{"name": "sign"}, {"name": "prune", "ratio": 0.9}])
    )
    kept = 4 * len(few.spec.audited_epochs) * len(pool_of(few)) * 11 * 4
    assert reference_bytes(more, more.model(0)) - reference_bytes(few, few.model(0)) == (held - 1) * kept


def test_check_counts_what_is_followed_over_the_epochs(tmp_path):
    """By what numpy takes at its peak, of which most is of this size with many models and epochs."""
    changes = {"fleet": {"models": 16}, "audit__games": ["dynamics"], "train__epochs": 10, "audit__epochs": "all"}
    session = open_session(load(write_spec(tmp_path, **{**FLEET, **changes})), pick_device("cpu"))
    pool, spec, models, generator = pool_of(session), session.spec, 16, np.random.default_rng(0)
    shape = models, len(spec.audited_epochs), len(pool)
    said = ReferenceSignals(
        spec.audited_epochs,
        generator.standard_normal((*shape, 10), dtype=np.float32),
        generator.random(shape, dtype=np.float32),
        assignment(models, len(pool), 0),
        ("",) * models,
    )
    session = replace(session, reference=ReferenceModels(said, pool))
    audited, attack = np.concatenate([session.members, session.others]), spec.audit.games[0].attack
    tracemalloc.start()
    course_of(session, attack, audited)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    foretold = reference_bytes(session, session.model(0)) - said.outputs.nbytes - said.losses.nbytes
    assert 0.5 * peak < foretold < 2 * peak


def test_reference_models_that_diverge_with_a_defense_cost_no_table(tmp_path, monkeypatch):
    def diverges(*asked):
        raise TrainingDivergedError("model 3: the loss is nan", where="training")

    monkeypatch.setattr(defended_runs, "with_reference_models", diverges)
    spec = write_spec(tmp_path, **{**FLEET, "defenses": [{"name": "sign"}]})
    rows = ptaudit.audit(spec, out=tmp_path / "run").leakage
    last = rows[(rows.epoch == 2) & (rows.metric == "auc") & (rows.layer == "*")].set_index(
        ["trained_with", "adversary"]
    )
    assert last.status["sign", "loss"] == "ok"
    assert last.status["none", "rmia-offline"] == "ok"
    assert last.status["sign", "rmia-offline"].startswith("inconclusive: needs reference models")


def test_check_says_which_attacks_lack_models(tmp_path):
    said = " ".join(call("check", write_spec(tmp_path, **FLEET)).stdout.split())
    why = "needs 3 models with and 3 without each record, there is one with 2 and 2"
    assert f"membership by shadow-classifier: inconclusive, whatever leaks: {why}" in said
