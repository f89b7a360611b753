"""Chunks of reference models over a Ray cluster: each is trained whole, by a worker that makes its context anew.

What travels is a recipe of the context (a spec, as text) and the numbers of models, and back what they say. A worker
trains a chunk with as many threads as this process has, so that on processors of one kind the numbers are the same.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch

from ptaudit.errors import ClusterError, PtauditError, in_one_line
from ptaudit.progress import Progress, Silent, Task
from ptaudit.training.checkpoint import difference
from ptaudit.training.fleet.chunk import named, train_chunk
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.engines import Trained
from ptaudit.training.fleet.signals import ModelSignals
from ptaudit.training.trainer import resident

TRIES = 3
"""Of a chunk whose worker dies."""
_SECONDS = 60.0
"""For a cluster to answer."""
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""A Ray of this machine hears nobody else, on any system (which Ray reads when it is imported), and tells nobody."""
_ALIKE = "all machines must have the same versions, and what the spec names at the same paths"
_TRIAL = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"

Found = list[tuple[int, ModelSignals]]
"""The models of a chunk and what they say."""


class Recipe(Protocol):
    """Makes what models are trained on and with, on any machine: a value that can be sent, compared and hashed."""

    def __call__(self) -> tuple[FleetContext, Mapping[str, str]]:
        """The context, and what models depend on beside it, as `train_fleet` takes them."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class OverRay:
    """The engine.

    Attributes:
        recipe: makes the context that the engine is called with.
        key: what models depend on beside the context: a worker that finds anything else trains nothing.
        address: of the cluster, see `check_cluster`; None for a Ray of this machine, for as long as it takes.
        progress: where to say that a worker is gone.
    """

    recipe: Recipe
    key: Mapping[str, str]
    address: str | None
    progress: Progress

    def __call__(self, context: FleetContext, chunks: Sequence[Sequence[int]], task: Task) -> Trained:
        """Train chunks side by side, as many as the cluster has room for; they come as they finish.

        Raises:
            ClusterError: the workers of a chunk died time and again, or one has other code, data or versions.
            PtauditError: a training diverged or failed.
        """
        if not chunks:
            return
        what = self.recipe, {**self.key, **context.key}, torch.get_num_threads()
        with _connected(self.address) as ray:
            train = ray.remote(_train).options(max_retries=0, **_room(ray.nodes(), context.device))
            under_way = {train.remote(*what, list(models)): (models, 1) for models in chunks}
            task.advance(0, f"in {len(chunks)} parts")
            while under_way:
                (done, *_), _ = ray.wait(list(under_way))
                models, tries = under_way.pop(done)
                found = self._found(ray, done, models, tries)
                if found is None:
                    under_way[train.remote(*what, list(models))] = models, tries + 1
                    continue
                for model, signals in found:
                    task.advance(1, f"{len(under_way)} of {len(chunks)} parts to come")
                    yield model, signals

    def _found(self, ray: Any, done: object, models: Sequence[int], tries: int) -> Found | None:
        """What a chunk says; None where its worker died and another one is to try."""
        try:
            found: Found = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, PtauditError):
                raise error.cause from error
            said = f"training reference {named(models)} raised {in_one_line(error.cause)}"
            raise ClusterError(said, where="a worker of the Ray cluster", remedy=_ALIKE) from error
        except ray.exceptions.RayError as error:
            said = f"the worker that trained reference {named(models)} is gone ({in_one_line(error)})"
            if tries < TRIES:
                self.progress.log(f"{said}; another one trains them")
                return None
            said += f", and so are those of {TRIES - 1} tries before"
            remedy = "`fleet.at_once: 1` takes least memory; what is finished is kept, go on with --resume"
            raise ClusterError(said, remedy=remedy) from error
        return found


def _train(recipe: Recipe, key: Mapping[str, str], threads: int, models: Sequence[int]) -> Found:
    """What a worker does: trains a chunk."""
    torch.set_num_threads(threads)
    where = f"machine {socket.gethostname()} of the Ray cluster"
    try:
        context, own = _made(recipe)
    except PtauditError as error:
        raise ClusterError(str(error), where=where, remedy=_ALIKE) from error
    if changes := difference(key, {**own, **context.key}):
        raise ClusterError(f"what reference models are made of differs there: {changes}", where=where, remedy=_ALIKE)
    return list(train_chunk(context, models, Silent().task("")))


@lru_cache(maxsize=1)
def _made(recipe: Recipe) -> tuple[FleetContext, Mapping[str, str]]:
    """The same for all chunks of a worker."""
    context, key = recipe()
    return replace(context, records=resident(context.records, context.device)), key


def _room(nodes: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, int]:
    """What a chunk takes of a machine: a GPU; or as many processors as it has threads, or all that a machine has."""
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
