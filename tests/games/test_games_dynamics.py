"""The game of dynamics on fleets whose records become exposed at a known epoch, and on fleets that know nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from audit_case import ONE_VIEW, write_spec

from ptaudit.auditing.opening import open_session
from ptaudit.context.epoch_context import EpochContext, RecordsAtEpoch
from ptaudit.context.reference import ReferenceModels
from ptaudit.errors import SpecError
from ptaudit.games.dynamics import info
from ptaudit.games.dynamics.course import course_of
from ptaudit.games.dynamics.depth import depth_and_risk
from ptaudit.games.dynamics.info import OF_FLEET, OF_RUN, DynamicsGame
from ptaudit.games.dynamics.play import PLAY
from ptaudit.spec.catalog import REGIONS, TRANSITIONS
from ptaudit.spec.load import load
from ptaudit.spec.metrics import METRICS
from ptaudit.stats.dynamics.difficulty import Probed, prediction_depth
from ptaudit.stats.dynamics.movement import LEAST_EPOCHS
from ptaudit.stats.dynamics.plane import COUNTED
from ptaudit.stats.dynamics.regions import LEAST_MODELS, quarters
from ptaudit.training.device import pick_device
from ptaudit.training.fleet.assignment import assignment
from ptaudit.training.fleet.fleet import ReferenceSignals

EPOCHS = (0, 2, 4, 8)
SPEC = {
    "audit__games": ["dynamics"],
    "audit__views": ONE_VIEW,
    "audit__epochs": list(EPOCHS),
    "train__epochs": 8,
    "fleet": {"models": 24},
}


def session_of(folder, shift, models=24):
    """A session whose models were trained by nobody: confidences are Gaussian, higher by `shift` `(E, n)` where a
    model has the record."""
    session = open_session(load(write_spec(folder, **SPEC)), pick_device("cpu"))
    index = np.sort(np.concatenate([session.members, session.others]))
    n, generator = len(index), np.random.default_rng(0)
    included = assignment(models, n, 0)
    confidence = generator.standard_normal((models, len(EPOCHS), n))
    confidence += included[:, None] * (shift(n) if callable(shift) else shift)
    outputs = np.full((models, len(EPOCHS), n, 10), -30.0, dtype=np.float32)
    labels = session.records.targets.numpy()[index]
    outputs[..., np.arange(n), labels] = 0.0
    outputs[..., np.arange(n), (labels + 1) % 10] = -confidence
    said = ReferenceSignals(
        EPOCHS, outputs, np.logaddexp(0.0, -confidence).astype(np.float32), included, ("",) * models
    )
    return replace(session, reference=ReferenceModels(said, index)), index


def known(n):
    """A third of the records becomes exposed at epoch 2, another one at epoch 8."""
    shift = np.zeros((len(EPOCHS), n))
    shift[1:, : n // 3] = 8.0
    shift[3:, n // 3 : 2 * (n // 3)] = 8.0
    return shift


def test_records_that_become_exposed_at_a_known_epoch_are_found_there(tmp_path):
    session, index = session_of(tmp_path, known)
    course, third = course_of(session, "lira-offline-global", index), len(index) // 3
    exposed = course.movement.exposure.epoch
    assert (exposed[:third] == 2.0).mean() > 0.95
    assert (exposed[third : 2 * third] == 8.0).mean() > 0.95
    assert np.isnan(exposed[2 * third :]).all()
    shares = [one.value for one in course.movement.exposed.estimates]
    assert shares == pytest.approx([0.0, 1 / 3, 1 / 3, 2 / 3], abs=0.05)
    assert course.movement.transitions.peak.value == pytest.approx(1 / 3, abs=0.05)
    # Who ends vulnerable is one of those two thirds.
    assert course.warned is not None
    aucs = [one.auc.value for one in course.warned.early.forecasts]
    assert aucs[0] == pytest.approx(0.5, abs=0.15)
    assert min(aucs[1:]) > max(aucs[0], 0.5) + 0.05


def test_without_a_signal_nobody_becomes_exposed_and_nothing_is_foretold(tmp_path):
    session, index = session_of(tmp_path, 0.0)
    course = course_of(session, "bavaria-offline", index)
    assert np.isnan(course.movement.exposure.epoch).all()
    assert not course.movement.transitions.beyond_chance.any()
    assert not course.movement.exposed.beyond_chance.any()
    assert course.warned is not None
    assert course.warned.early.first is None
    assert all(one.auc.lo < 0.5 for one in course.warned.early.forecasts)


def test_too_few_models_foretell_nothing_and_move_all_the_same(tmp_path):
    session, index = session_of(tmp_path, known, models=8)
    course = course_of(session, "bavaria-offline", index)
    assert course.warned is None
    assert course.movement.exposed.estimates[-1].value > 0.5


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"fleet": None}, "needs 8 reference models, there are 0"),
        ({"fleet": {"models": 6}}, "needs 8 reference models, there are 6"),
        ({"audit__epochs": [8]}, "needs 2 audited epochs"),
        ({"audit__games": [{"name": "dynamics", "attack": "lira-online"}]}, "bavaria-offline"),
    ],
    ids=["no fleet", "few models", "one epoch", "an attack with memberships"],
)
def test_what_it_cannot_be_played_on_is_refused(tmp_path, changes, what):
    with pytest.raises(SpecError, match=what):
        load(write_spec(tmp_path, **{**SPEC, **changes}))


def test_names_are_those_of_the_statistics():
    assert quarters(16).names == REGIONS
    assert set(TRANSITIONS) <= set(METRICS)
    assert (info.COUNTED, info.LEAST_MODELS, info.LEAST_EPOCHS) == (COUNTED, LEAST_MODELS, LEAST_EPOCHS)
    assert set(DynamicsGame.metrics) <= set(METRICS)
    assert len({*OF_FLEET, *OF_RUN}) == len(OF_FLEET) + len(OF_RUN)


def test_prediction_depth_is_of_held_out_records_and_told_in_the_end(tmp_path):
    """Risk that follows the depth of these records in the audited model is found to."""
    session, _ = session_of(tmp_path, known)
    model = session.model(0)
    reader = session.reader(model)
    inside, outside = (reader.read(*session.batch(index)) for index in (session.members, session.others))
    context = EpochContext(session, 8, 0, model, reader.layers, inside, outside, reader)
    inputs, labels = session.batch(session.members)
    asked, _ = session.batch(session.others)
    with torch.no_grad():
        hidden = [[model[:stop](x).double().numpy() for stop in (2, 4)] for x in (inputs, asked)]
        said = model(asked).argmax(1).numpy()
    depth = prediction_depth(Probed(hidden[0], labels.numpy(), hidden[1]), said)
    assert len(set(depth.tolist())) > 1
    found = depth_and_risk(context, depth.astype(float))
    assert (found.n, found.value) == (len(session.others), pytest.approx(1.0))
    assert depth_and_risk(context, -depth.astype(float)).value == pytest.approx(-1.0)
    few = replace(context, session=replace(session, members=session.members[:20]))
    assert "needs 30 audited members" in depth_and_risk(few, depth.astype(float)).status


@pytest.mark.parametrize("broken", ["losses", "gradient_norms"])
def test_what_is_no_number_foretells_nothing(tmp_path, broken):
    """Losses of a model that diverged leave nothing to foretell from; norms alone are left out."""
    session, _ = session_of(tmp_path, known)
    model = session.model(0)
    reader = session.reader(model)
    inside, outside = (reader.read(*session.batch(index)) for index in (session.members, session.others))
    course = RecordsAtEpoch.of(inside, outside)
    course = replace(course, **{broken: np.full_like(course.losses, np.nan)})
    context = EpochContext(session, 0, 0, model, reader.layers, inside, outside, reader, course=[course])
    found = {one.adversary.adversary: one.found for one in PLAY.on_model(context, DynamicsGame(name="dynamics"))}
    assert found["run-forecast"]["forecast_auc"][0].conclusive == (broken != "losses")
    assert ("run-gradient-norm" in found, "run-loss" in found) == (False, broken != "losses")
    assert found["fleet-forecast"]["forecast_auc"][0].conclusive
