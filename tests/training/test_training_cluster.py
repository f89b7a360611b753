"""What is decided of a Ray cluster without Ray; with it, see tests/auditing/test_auditing_ray.py."""

from __future__ import annotations

import os
import socket
import sys

import pytest
import torch
from ray_case import machine

from ptaudit.errors import ClusterError, PtauditError
from ptaudit.training import cluster


def test_without_ray_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PtauditError, match=r"fleet\.engine: Ray is not installed \(pip install 'ptaudit\[ray\]'"):
        cluster.need_ray()


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
def test_a_job_takes_as_many_processors_as_threads_or_the_most_there_are(machines, threads, taken, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert cluster._room(machines, torch.device("cpu")) == {"num_cpus": taken}


def test_on_gpus_a_job_takes_one_which_there_must_be():
    assert cluster._room([machine(4), machine(4, 2)], torch.device("cuda", 1)) == {"num_gpus": 1}
    with pytest.raises(ClusterError, match="no machine of the Ray cluster has a GPU"):
        cluster._room([machine(4), machine(4, 2, alive=False)], torch.device("cuda"))


@pytest.mark.parametrize("address", ["somewhere", "ray://host:10001", "host:", ":6379", "a b:1", ""])
def test_what_is_no_address(address):
    with pytest.raises(ClusterError, match=r"--address .*: no address of a Ray cluster \(write HOST:PORT, or auto\)"):
        cluster.check_cluster(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_where_nothing_listens(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        ClusterError, match=r"no Ray cluster answers there \(\w+\) \(`ray start --head` starts one"
    ) as error:
        cluster.check_cluster(f"{host}:{port}")
    assert error.value.exit_code == 2


def test_what_listens_and_is_no_cluster_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS", 1.5)
    monkeypatch.setattr(cluster, "_TRIAL", "import time; time.sleep(60)")  # Ray itself waits for minutes
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match=r"no Ray cluster answers there \(TimeoutExpired\)"):
            cluster.check_cluster(address)


def test_why_ray_did_not_connect_is_told(monkeypatch):
    code = (
        "import sys; sys.exit('RuntimeError: x\\nray.exceptions.AuthenticationError: no token\\n\\nConnectionError: y')"
    )
    monkeypatch.setattr(cluster, "_TRIAL", code)
    with pytest.raises(ClusterError, match=r"can be used there: ray\.exceptions\.AuthenticationError: no token"):
        cluster.check_cluster("auto")


def test_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.setenv("PTAUDIT_TEST", "1")
    before = dict(os.environ)
    with cluster._environment({"PTAUDIT_TEST": "2", "PTAUDIT_NEW": "3"}):
        assert os.environ["PTAUDIT_TEST"] + os.environ["PTAUDIT_NEW"] == "23"
        os.environ["PTAUDIT_OTHER"] = "4"
    assert dict(os.environ) == before
