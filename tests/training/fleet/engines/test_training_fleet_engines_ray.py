"""What the Ray engine decides without Ray; with it, see tests/auditing/test_auditing_ray.py."""

from __future__ import annotations

import socket
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fleet_case import make_context
from training_case import make_blobs

from ptaudit.errors import ClusterError, DataError, PtauditError, TrainingDivergedError
from ptaudit.progress import Silent
from ptaudit.spec.fleet import FleetSpec
from ptaudit.training.fleet.engines import ray as engine
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
        return make_context(make_blobs(), pool=40), KEY


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_the_error_says_how_to_install_it(no_ray):
    with pytest.raises(PtauditError, match=r"fleet\.engine: Ray is not installed \(pip install 'ptaudit\[ray\]'"):
        engine.need_ray()


def test_the_local_engine_asks_for_no_ray(no_ray):
    assert len(train_fleet(make_context(make_blobs()), FleetSpec(models=2), KEY, Silent()).losses) == 2


def test_where_nothing_is_missing_ray_is_not_asked(no_ray, tmp_path):
    context, fleet = make_context(make_blobs()), FleetSpec(models=2, folder=str(tmp_path))
    first = train_fleet(context, fleet, KEY, Silent())
    again = train_fleet(context, fleet, KEY, Silent(), engine.OverRay(Blobs(), KEY, None, Silent()))
    assert np.array_equal(first.outputs, again.outputs)


def test_a_worker_trains_what_this_process_would_with_as_many_threads():
    context, key = Blobs()()
    here = train_fleet(context, FleetSpec(models=2, at_once=2), KEY, Silent())
    before = torch.get_num_threads()
    try:
        found = engine._train(Blobs(), {**key, **context.key}, 2, [0, 1])
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
    key = {**KEY, **Blobs()()[0].key, **change}
    where = f"machine {socket.gethostname()} of the Ray cluster"
    with pytest.raises(ClusterError, match=rf"{where}: .*{told}.*all machines must have the same") as error:
        engine._train(recipe, key, torch.get_num_threads(), [0])
    assert error.value.exit_code == 2


def machine(cpu=0.0, gpu=0.0, alive=True):
    return {"Alive": alive, "Resources": {name: n for name, n in (("CPU", cpu), ("GPU", gpu)) if n}}


@pytest.mark.parametrize(
    ("machines", "threads", "taken"),
    [
        ([machine(4), machine(16)], 8, 8),
        ([machine(4), machine(2)], 8, 4),
        ([machine(4), machine(16, alive=False)], 8, 4),
        ([machine()], 8, 1),
        ([machine(8)], 1, 1),
    ],
)
def test_a_chunk_takes_as_many_processors_as_threads_or_the_most_there_are(machines, threads, taken, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert engine._room(machines, torch.device("cpu")) == {"num_cpus": taken}


def test_on_gpus_a_chunk_takes_one_which_there_must_be():
    assert engine._room([machine(4), machine(4, 2)], torch.device("cuda", 1)) == {"num_gpus": 1}
    with pytest.raises(ClusterError, match="no machine of the Ray cluster has a GPU"):
        engine._room([machine(4), machine(4, 2, alive=False)], torch.device("cuda"))


class Gone(Exception):  # noqa: N818
    """What Ray raises where a worker dies."""


class Raised(Gone):
    """What Ray raises where a task did."""

    def __init__(self, cause):
        super().__init__("(pid=1) Traceback")
        self.cause = cause


class FakeRay:
    """Tasks run here, when they are waited for, the last one first; `faults` are raised in the place of the first."""

    exceptions = SimpleNamespace(RayTaskError=Raised, RayError=Gone)

    def __init__(self, faults):
        self.faults, self.asked = list(faults), []

    def nodes(self):
        return [machine(4)]

    def remote(self, function):
        def begin(*what):
            self.asked.append(what[-1])
            return lambda: function(*what)

        return SimpleNamespace(options=lambda max_retries, num_cpus: SimpleNamespace(remote=begin))

    def wait(self, tasks):
        return tasks[-1:], tasks[:-1]

    def get(self, task):
        if self.faults:
            raise self.faults.pop(0)
        return task()


@pytest.fixture
def fake(monkeypatch):
    """Installs a Ray with some faults."""

    def install(*faults):
        ray = FakeRay(faults)
        monkeypatch.setattr(engine, "_connected", lambda address: nullcontext(ray))
        return ray

    return install


def trained(progress=None):
    """A fleet of 3 chunks, over Ray where there is a progress to tell."""
    context, key = Blobs()()
    over_ray = (engine.OverRay(Blobs(), key, None, progress),) if progress else ()
    return train_fleet(context, FleetSpec(models=6, at_once=2), key, Silent(), *over_ray)


def test_signals_are_those_of_this_machine_in_whatever_order_chunks_finish(fake):
    ray, here, far = fake(), trained(), trained(Silent())
    assert ray.asked == [[0, 1], [2, 3], [4, 5]]
    for name in ("outputs", "losses", "included"):
        assert np.array_equal(getattr(here, name), getattr(far, name))
    assert here.training == far.training


def test_a_chunk_whose_worker_dies_is_trained_again_and_said(fake):
    ray, heard = fake(Gone("killed\nat some place"), Gone("killed")), Heard()
    far = trained(heard)
    assert ray.asked == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    said = "the worker that trained reference models 4 to 5 is gone (Gone: killed); another one trains them"
    assert heard.lines == [said] * 2
    assert np.array_equal(far.outputs, trained().outputs)


def test_tries_end_with_what_failed_and_how_to_go_on(fake):
    ray = fake(*[Gone("killed")] * engine.TRIES)
    told = r"reference models 4 to 5 is gone \(Gone: killed\), and so are those of 2 tries before .*--resume"
    with pytest.raises(ClusterError, match=told):
        trained(Silent())
    assert ray.asked == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]


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
    assert ray.asked == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("address", ["somewhere", "ray://host:10001", "host:", ":6379", "a b:1", ""])
def test_what_is_no_address(address):
    with pytest.raises(ClusterError, match=r"--address .*: no address of a Ray cluster \(write HOST:PORT, or auto\)"):
        engine.check_cluster(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_where_nothing_listens(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        ClusterError, match=r"no Ray cluster answers there \(\w+\) \(`ray start --head` starts one"
    ) as error:
        engine.check_cluster(f"{host}:{port}")
    assert error.value.exit_code == 2


def test_what_listens_and_is_no_cluster_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(engine, "_SECONDS", 1.5)
    monkeypatch.setattr(engine, "_TRIAL", "import time; time.sleep(60)")  # Ray itself waits for minutes
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match=r"no Ray cluster answers there \(TimeoutExpired\)"):
            engine.check_cluster(address)


def test_why_ray_did_not_connect_is_told(monkeypatch):
    code = (
        "import sys; sys.exit('RuntimeError: x\\nray.exceptions.AuthenticationError: no token\\n\\nConnectionError: y')"
    )
    monkeypatch.setattr(engine, "_TRIAL", code)
    with pytest.raises(ClusterError, match=r"can be used there: ray\.exceptions\.AuthenticationError: no token"):
        engine.check_cluster("auto")


def test_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.setenv("PTAUDIT_TEST", "1")
    before = dict(engine.os.environ)
    with engine._environment({"PTAUDIT_TEST": "2", "PTAUDIT_NEW": "3"}):
        assert engine.os.environ["PTAUDIT_TEST"] + engine.os.environ["PTAUDIT_NEW"] == "23"
        engine.os.environ["PTAUDIT_OTHER"] = "4"
    assert dict(engine.os.environ) == before
