"""A Ray that does its tasks in this process, and fails as it is told."""

from __future__ import annotations

from types import SimpleNamespace


def machine(cpu=0.0, gpu=0.0, alive=True):
    return {"Alive": alive, "Resources": {name: n for name, n in (("CPU", cpu), ("GPU", gpu)) if n}}


class Gone(Exception):  # noqa: N818
    """What Ray raises where a worker dies."""


class Raised(Gone):
    """What Ray raises where a task did."""

    def __init__(self, cause):
        super().__init__("(pid=1) Traceback")
        self.cause = cause


class FakeRay:
    """Tasks run here, when they are waited for, the last one first; `faults` are raised in the place of the first.

    `asked` is the last argument of each that was begun.
    """

    exceptions = SimpleNamespace(RayTaskError=Raised, RayError=Gone)

    def __init__(self, faults):
        self.faults, self.asked = list(faults), []

    def put(self, value):
        return value

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
