"""What the Ray engine decides without Ray; with it, see tests/auditing/test_auditing_ray.py."""

from __future__ import annotations

import socket
import sys
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fleet_case import make_context
from ray_case import FakeRay, Gone, Raised
from training_case import make_blobs

from ptaudit.errors import ClusterError, DataError, PtauditError, TrainingDivergedError
from ptaudit.progress import Silent
from ptaudit.spec.fleet import FleetSpec
from ptaudit.training import cluster
from ptaudit.training.fleet.chunk import Chunk
from ptaudit.training.fleet.engines.ray import OverRay, _train
from ptaudit.training.fleet.fleet import train_fleet

KEY = {"code": "a"}


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


@dataclass(frozen=True)
class Blobs:
    """A recipe of the context that tests train on."""

    there: bool = True

    def __call__(self):
        if not self.there:
            raise DataError("no such file", where="/far/records.csv")
        context = make_context(make_blobs(), pool=40)
        return context, {**KEY, **context.key}


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


def test_the_local_engine_asks_for_no_ray(no_ray):
    assert len(train_fleet(make_context(make_blobs()), FleetSpec(models=2), KEY, Silent()).losses) == 2


def test_where_nothing_is_missing_ray_is_not_asked(no_ray, tmp_path):
    context, fleet = make_context(make_blobs()), FleetSpec(models=2, folder=str(tmp_path))
    first = train_fleet(context, fleet, KEY, Silent())
    again = train_fleet(context, fleet, KEY, Silent(), OverRay(Blobs(), KEY, None, Silent()))
    assert np.array_equal(first.outputs, again.outputs)


def test_a_worker_trains_what_this_process_would_with_as_many_threads():
    context, key = Blobs()()
    here = train_fleet(context, FleetSpec(models=2, at_once=2), KEY, Silent())
    before = torch.get_num_threads()
    try:
        found = _train(Blobs(), key, 2, Chunk((0, 1)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert [model for model, _ in found] == [0, 1]
    for model, signals in found:
        np.testing.assert_allclose(signals.outputs, here.outputs[model], rtol=1e-3, atol=1e-4)
        assert np.array_equal(signals.included, here.included[model])


@pytest.mark.parametrize(
    ("recipe", "change", "told"),
    [
        (Blobs(), {"code": "b"}, "differs there: code was b, is now a"),
        (Blobs(), {"data": "b"}, "differs there: data was b, is now [0-9a-f]{64}"),
        (Blobs(there=False), {}, r"/far/records\.csv: no such file"),
    ],
)
def test_a_machine_with_other_code_or_data_trains_nothing_and_is_named(recipe, change, told):
    key = {**Blobs()()[1], **change}
    where = f"machine {socket.gethostname()} of the Ray cluster"
    with pytest.raises(ClusterError, match=rf"{where}: .*{told}.*all machines must have the same") as error:
        _train(recipe, key, torch.get_num_threads(), Chunk((0,)))
    assert error.value.exit_code == 2


@pytest.fixture
def fake(monkeypatch):
    """Installs a Ray with some faults."""

    def install(*faults):
        ray = FakeRay(faults)
        monkeypatch.setattr(cluster, "_connected", lambda address: nullcontext(ray))
        return ray

    return install


def models(ray):
    """Of the chunks that were begun."""
    return [list(chunk.models) for chunk in ray.asked]


def trained(progress=None):
    """A fleet of 3 chunks, over Ray where there is a progress to tell."""
    context, key = Blobs()()
    over_ray = (OverRay(Blobs(), key, None, progress),) if progress else ()
    return train_fleet(context, FleetSpec(models=6, at_once=2), key, Silent(), *over_ray)


def test_signals_are_those_of_this_machine_in_whatever_order_chunks_finish(fake):
    ray, here, far = fake(), trained(), trained(Silent())
    assert models(ray) == [[0, 1], [2, 3], [4, 5]]
    for name in ("outputs", "losses", "included"):
        assert np.array_equal(getattr(here, name), getattr(far, name))
    assert here.training == far.training


def test_a_chunk_whose_worker_dies_is_trained_again_and_said(fake):
    ray, heard = fake(Gone("killed\nat some place"), Gone("killed")), Heard()
    far = trained(heard)
    assert models(ray) == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    said = "the worker that trained reference models 4 to 5 is gone (Gone: killed); another one takes over"
    assert heard.lines == [said] * 2
    assert np.array_equal(far.outputs, trained().outputs)


def test_tries_end_with_what_failed_and_how_to_go_on(fake):
    ray = fake(*[Gone("killed")] * cluster.TRIES)
    told = r"reference models 4 to 5 is gone \(Gone: killed\), and so are those of 2 tries before .*--resume"
    with pytest.raises(ClusterError, match=told):
        trained(Silent())
    assert models(ray) == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (TrainingDivergedError("reference model 4: nan", remedy="lower it"), r"^reference model 4: nan \(lower it\)$"),
        (ValueError("wrong\nshape"), r"training reference models 4 to 5 raised ValueError: wrong \(all machines must"),
    ],
)
def test_what_a_training_raises_is_not_tried_again(cause, told, fake):
    ray = fake(Raised(cause))
    with pytest.raises(PtauditError, match=told):
        trained(Silent())
    assert models(ray) == [[0, 1], [2, 3], [4, 5]]
