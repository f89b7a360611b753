"""Reference models, seeds and defenses over a Ray cluster: the same tables as here, whoever dies on the way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from audit_case import MODELS, ONE_VIEW, call, start, tables, write_spec

import ptaudit
from ptaudit.auditing import over_ray, reference
from ptaudit.errors import ClusterError
from ptaudit.training.fleet.engines import local

FLEET = {"audit__games": ["membership"], "audit__views": ONE_VIEW, "train__loss": "models.py:mortal"}
CHUNKS = {"fleet": {"models": 4, "at_once": 2}, "defenses": [{"name": "sign"}]}
"""With a defense, whose reference models are trained over a Ray of their own."""
ON_RAY = ("fleet.engine=ray",)

MORTAL = """

import os, pathlib, signal, sys
import torch

HERE = pathlib.Path(__file__).parent
CALLS = []

def mortal(output, target):
    '''Cross-entropy; the first Ray worker that calls it 30 times is killed, if `once` is there.'''
    CALLS.append(1)
    if len(CALLS) == 30 and sys.argv[0].endswith("default_worker.py"):
        (HERE / f"worker-{os.getpid()}").touch()
        if (HERE / "once").exists():
            (HERE / "once").unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
    return torch.nn.functional.cross_entropy(output, target, reduction="none")
"""


def mortal_spec(folder: Path, **changes: object) -> Path:
    spec = write_spec(folder, **{**FLEET, **CHUNKS, **changes})
    (folder / "models.py").write_text(MODELS + MORTAL, encoding="utf-8")
    return spec


with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'ptaudit[ray]'")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A spec whose workers die, and the tables of a run without Ray."""
    folder = tmp_path_factory.mktemp("ray")
    ptaudit.audit(mortal_spec(folder), out=folder / "here")
    return folder


@pytest.fixture
def cluster(monkeypatch):
    """Two workers that are nobody else's, on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path: there are sockets in it
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listens to this machine alone
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("PYTHONPATH", str(Path(ptaudit.__file__).parents[1]), prepend=os.pathsep)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    options = [f"--port={port}", f"--temp-dir={folder}", "--num-cpus=2", "--include-dashboard=false"]
    with subprocess.Popen([*ray, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.1)


@with_ray
def test_a_worker_dies_and_the_tables_are_the_same(home, tmp_path, monkeypatch):
    """In a process of its own, as Ray must change nothing in it: what listens, what is shown, what is left."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (home / "once").touch()
    with start("run", home / "spec.yaml", "--out", home / "over", "--set", *ON_RAY) as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert tables(home / "over") == tables(home / "here")
    assert not (home / "once").exists()
    assert err.count("the worker that trained reference models ") == 1  # what Ray says may stand on the same line
    assert err.count("another one takes over") == 1
    assert "reference models: done after" in err
    assert "\x1b" not in err
    assert not (tmp_path / ".ray").exists()


@with_ray
def test_over_a_cluster_that_is_there_the_tables_are_the_same(home, cluster):
    before = set(home.glob("worker-*"))
    words = "run", home / "spec.yaml", "--out", home / "far", "--set", *ON_RAY, "--address", cluster
    with start(*words) as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert tables(home / "far") == tables(home / "here")
    assert len({*home.glob("worker-*")} - before) >= 2


@with_ray
def test_seeds_and_a_defense_side_by_side_one_of_whom_dies(tmp_path, cluster):
    """Reference models are trained here, and travel to those who play with them."""
    spec = mortal_spec(tmp_path, fleet={"models": 4}, train__seeds=[0, 1])
    (tmp_path / "once").touch()
    with start("run", spec, "--out", tmp_path / "far", "--address", cluster) as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    ptaudit.audit(spec, out=tmp_path / "here")
    assert tables(tmp_path / "far") == tables(tmp_path / "here")
    assert len({*tmp_path.glob("worker-*")}) >= 2
    assert not (tmp_path / "once").exists()
    assert err.count("another one takes over") == 1
    assert err.count("seed 1, epoch 2: loss") == 2  # with the defense and without


def test_a_cluster_that_fails_costs_nothing_that_is_finished(tmp_path, monkeypatch):
    def fails(*_):
        def engine(context, chunks, task):
            yield from local(context, chunks[:1], task)
            raise ClusterError("the worker is gone")

        return engine

    monkeypatch.setattr(over_ray, "need_ray", lambda: None)
    monkeypatch.setattr(reference, "OverRay", fails)
    spec, out = mortal_spec(tmp_path, defenses=None), tmp_path / "run"
    with pytest.raises(ClusterError):
        ptaudit.audit(spec, out=out, overrides=ON_RAY)
    kept = out / ".resume" / "reference"
    assert [path.name for path in sorted(kept.iterdir())] == ["model-00000.safetensors", "model-00001.safetensors"]
    trained = []
    monkeypatch.setattr(reference, "OverRay", lambda *_: lambda *what: trained.extend(what[1]) or local(*what))
    ptaudit.audit(spec, out=out, overrides=ON_RAY, resume=True)
    assert [chunk.models for chunk in trained] == [(2, 3)]
    ptaudit.audit(spec, out=tmp_path / "here")
    assert tables(out) == tables(tmp_path / "here")


@pytest.mark.parametrize("verb", ["run", "check"])
def test_where_ray_is_absent_nothing_is_begun(verb, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    spec = write_spec(tmp_path, **{**FLEET, "train__loss": "cross_entropy", "fleet": {"models": 2, "engine": "ray"}})
    result = call(verb, spec)
    assert result.exit_code == 2
    assert result.stderr.endswith("Ray is not installed (pip install 'ptaudit[ray]', or `fleet.engine: local`)\n")
    assert not (tmp_path / "runs").exists()


@with_ray
def test_check_tells_the_price_of_one_machine(tmp_path):
    spec = write_spec(tmp_path, **{**FLEET, "train__loss": "cross_entropy", "fleet": {"models": 2}})
    assert "reference models on one machine" not in call("check", spec).stdout
    assert "reference models on one machine" in call("check", spec, "--set", *ON_RAY).stdout
