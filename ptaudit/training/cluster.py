"""Trainings over a Ray cluster: each is done whole, by a worker that makes what it needs anew.

What travels is a recipe (a spec, as text) and what is different about one training, and back what it found. A worker
has as many threads as this process, so that on processors of one kind the numbers are the same.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar, cast

import torch

from ptaudit.errors import ClusterError, PtauditError, in_one_line
from ptaudit.progress import Progress
from ptaudit.training.checkpoint import difference

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

TRIES = 3
"""Of a job whose worker dies."""
_SECONDS = 60.0
"""For a cluster to answer."""
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""A Ray of this machine hears nobody else, on any system (which Ray reads when it is imported), and tells nobody."""
_ALIKE = "all machines must have the same versions, and what the spec names at the same paths"
_TRIAL = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"


class Recipe(Protocol[T_co]):
    """Makes what is trained on and with, on any machine: a value that can be sent, compared and hashed."""

    def __call__(self) -> tuple[T_co, Mapping[str, str]]:
        """What is made, and what its trainings depend on."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """What one worker does.

    Attributes:
        name: what it trains, in words.
        arguments: of the function that does it; what several jobs share travels once.
    """

    name: str
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Cluster:
    """Where jobs are done.

    Attributes:
        address: see `check_cluster`; None for a Ray of this machine, for as long as it takes.
        device: where a job trains.
        progress: where to say that a worker is gone.
        remedy: what helps where workers die, beside trying again.
    """

    address: str | None
    device: torch.device
    progress: Progress
    remedy: str

    def done(self, work: Callable[..., T], jobs: Sequence[Job]) -> Generator[tuple[Job, T]]:
        """Do jobs side by side, as many as the cluster has room for; they come as they finish.

        Raises:
            ClusterError: the workers of a job died time and again, or one has other code, data or versions.
            PtauditError: a training diverged or failed.
        """
        with _connected(self.address) as ray:
            begin = ray.remote(work).options(max_retries=0, **_room(ray.nodes(), self.device))
            sent = {id(one): ray.put(one) for job in jobs for one in job.arguments}

            def begun(job: Job) -> Any:
                return begin.remote(*(sent[id(one)] for one in job.arguments))

            under_way = {begun(job): (job, 1) for job in jobs}
            while under_way:
                (done, *_), _ = ray.wait(list(under_way))
                job, tries = under_way.pop(done)
                try:
                    found = cast(T, ray.get(done))
                except ray.exceptions.RayTaskError as error:
                    raise _failed(job, error) from error
                except ray.exceptions.RayError as error:
                    self._again(job, error, tries)
                    under_way[begun(job)] = job, tries + 1
                    continue
                yield job, found

    def _again(self, job: Job, error: Exception, tries: int) -> None:
        """Say that a job is to be done by another worker.

        Raises:
            ClusterError: it has been tried often enough.
        """
        said = f"the worker that trained {job.name} is gone ({in_one_line(error)})"
        if tries == TRIES:
            said += f", and so are those of {TRIES - 1} tries before"
            raise ClusterError(said, remedy=f"{self.remedy}; what is finished is kept, go on with --resume") from error
        self.progress.log(f"{said}; another one takes over")


def _failed(job: Job, error: Any) -> PtauditError:
    """What a worker raised."""
    if isinstance(error.cause, PtauditError):
        return error.cause
    said = f"training {job.name} raised {in_one_line(error.cause)}"
    return ClusterError(said, where="a worker of the Ray cluster", remedy=_ALIKE)


def made_alike(recipe: Recipe[T], key: Mapping[str, str], threads: int) -> T:
    """In a worker, what a recipe makes, found to be what it makes where the jobs come from; sets the threads.

    Args:
        recipe: called once for all jobs in a row that share it.
        key: what trainings depend on, there.
        threads: as many as there.

    Raises:
        ClusterError: this machine has other code, data or versions.
    """
    torch.set_num_threads(threads)
    where = f"machine {socket.gethostname()} of the Ray cluster"
    try:
        made, own = _made(recipe)
    except PtauditError as error:
        raise ClusterError(str(error), where=where, remedy=_ALIKE) from error
    if changes := difference(key, own):
        raise ClusterError(f"what the training is made of differs there: {changes}", where=where, remedy=_ALIKE)
    return cast(T, made)


@lru_cache(maxsize=1)
def _made(recipe: Recipe[object]) -> tuple[object, Mapping[str, str]]:
    return recipe()


def _room(nodes: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, int]:
    """What a job takes of a machine: a GPU; or as many processors as it has threads, or all that a machine has."""
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    if device.type != "cuda":
        most = max((machine.get("CPU", 0) for machine in machines), default=0)
        return {"num_cpus": max(1, min(torch.get_num_threads(), int(most)))}
    if not any(machine.get("GPU", 0) >= 1 for machine in machines):
        raise ClusterError("no machine of the Ray cluster has a GPU", where="fleet.engine", remedy="use --device cpu")
    return {"num_gpus": 1}


def need_ray() -> Any:
    """Ray, imported.

    Raises:
        PtauditError: it is not installed.
    """
    try:
        with _environment(_ALONE):
            import ray
    except ImportError as error:
        remedy = "pip install 'ptaudit[ray]', or `fleet.engine: local`"
        raise PtauditError("Ray is not installed", where="fleet.engine", remedy=remedy) from error
    return ray


def check_cluster(address: str) -> None:
    """Find a cluster at an address, `HOST:PORT`, or `auto` for the one that this machine is part of.

    A process of its own asks: where none answers, Ray waits for minutes and then ends the process that asked.

    Raises:
        ClusterError: there is none, or none that this machine is part of.
    """
    where, remedy = f"--address {address}", "`ray start --head` starts one, `ray start --address=HOST:6379` joins it"
    at = re.fullmatch(r"(?P<host>[\w.\-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})", address)
    if at is None and address != "auto":
        raise ClusterError("no address of a Ray cluster", where=where, remedy="write HOST:PORT, or auto")
    try:
        if at is not None:
            socket.create_connection((at["host"].strip("[]"), int(at["port"])), timeout=_SECONDS / 6).close()
        command, environment = [sys.executable, "-P", "-c", _TRIAL, address], {**os.environ, **_ALONE}
        tried = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except (OSError, OverflowError, subprocess.TimeoutExpired) as error:
        said = f"no Ray cluster answers there ({type(error).__name__})"
        raise ClusterError(said, where=where, remedy=remedy) from error
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or ["it said nothing"]
        said = next(
            (line for line in lines if line.startswith("ray.exceptions.")), lines[-1]
        )  # the first led to others
        raise ClusterError(f"no Ray cluster can be used there: {said[:400]}", where=where, remedy=remedy)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster, or to one that is started here: no dashboard, nothing that outsiders can reach."""
    ray = need_ray()
    if ray.is_initialized():
        raise PtauditError("Ray is in use in this process", where="fleet.engine", remedy="ray.shutdown() before")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    environment = {"RAY_COLOR_PREFIX": "0"}  # of what it says when a worker dies, which nothing stops it from
    with ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
            own = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            options |= {**own, "_temp_dir": str(Path(folder) / "ray")}  # which Ray opens to all
            environment |= {**_ALONE, "RAY_AUTH_TOKEN": _token()}  # else Ray leaves one in the home folder
        stack.enter_context(_environment(environment))
        stack.callback(ray.shutdown)
        try:
            with _own_sigterm():
                ray.init(**options)
        except Exception as error:  # what starts many processes can fail in any way
            said = f"Ray cannot be started or joined: {in_one_line(error)}"
            raise ClusterError(said, where="fleet.engine", remedy="or use `fleet.engine: local`") from error
        yield ray


@cache
def _token() -> str:
    """Of every Ray that this process starts: Ray reads it once."""
    return token_hex(32)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """SIGTERM stays what it is: Ray would have it end the process without a word of how to go on."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of the block, which may set others that do not stay either."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
