"""A context manager around a user's training loop."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import nn

from ptaudit.auditing.live import LiveRow, LiveWatch
from ptaudit.errors import ModelError, PtauditError, in_one_line
from ptaudit.escape import terminal
from ptaudit.games.identity.rolling import BATCH
from ptaudit.monitor.call_arguments import CallArguments
from ptaudit.monitor.fitness import check_model, gradients_of, records_of, tidied
from ptaudit.monitor.gradient_check import check_layers
from ptaudit.monitor.passes import NoTrainingPassError, PassObserver
from ptaudit.stats.estimate import Estimate
from ptaudit.views.records_needed import RECORDS_PER_MEMBER

if TYPE_CHECKING:
    import pandas as pd
    from torch.amp import GradScaler

COLUMNS = ("step", "layer", "bits", "lo", "hi", "null", "ceiling", "n", "status", "overhead", "noise")

OnLeakage = Callable[[int, str, Estimate], object]
"""Called with the optimizer step, the layer (`*` for all jointly) and the bits with interval and status."""

_PATIENCE = 8
"""Passes looked at in a row without a backward pass of their own, after which no more are looked at."""

_TANGLED = "several forward passes share a backward pass, so that their gradients cannot be told apart"


class StopTraining(Exception):  # noqa: N818  (nothing went wrong)
    """Raise it in `on_leakage`, or anywhere in the block: the block ends quietly and `Monitor.stopped` says why."""


class Monitor:
    """Watches what the gradients of a training give away about its records, layer by layer, while it runs.

        with ptaudit.Monitor(model, loader) as monitor:
            for x, y in loader:
                optimizer.zero_grad()
                loss_function(model(x), y).backward()
                optimizer.step()
        print(monitor)

    The loop stays as it is and ends with the same weights, bit for bit. Some of its own passes are captured, as many
    as the budget allows, and the identity game is played on the last 256 records: bits that the sum of 8 gradients
    gives away about which of K candidates is in it (`games.identity.rolling`). When the block ends, however it ends,
    hooks, flags, `.grad` and random state are what they would be without it.

    A pass is a call of `model` itself in training mode with gradients enabled, followed by a backward pass that reaches
    the parameters; gradient accumulation is several of them. It is over when an optimizer of the model is about to
    step, or the model is called again; games are played and `on_leakage` is called at that moment, before the step.
    Where several calls share one backward pass (contrastive losses, a GAN's discriminator) their gradients cannot be
    told apart: such passes are not captured and the result is `inconclusive`. So it is for BatchNorm in training mode,
    which mixes the records of a batch, and with fewer than 160 records.

    The game is played on sketches of a few numbers, which do not hold the algebra of a gradient: an adversary with
    whole gradients, as in an audit, finds more, without noise nearly every record of a batch of 8. So bits without
    noise that are below 90 % of their ceiling have the status `sketch-limited`: they tell layers and steps apart, and
    not how much there is to be found.

    On the first pass that is captured it is checked how each layer is read, in evaluation mode on the records of that
    pass; a layer that fails is `not captured`, with the reason. The seconds of the check are in `setup`, not in
    `overhead`.

    Records are known by their content (all tensors that the model is given with a row per record), so one that comes
    again is one record; with random augmentation it counts as a new one each time.

    Args:
        model: the model, where it is trained; the very object that the loop calls.
        loader: what the loop iterates over: a DataLoader, a list of batches, any iterable, or None. It is not iterated
            and nothing is read from it but the number of its records, where it has one: with too few for a game nothing
            is captured at all.
        budget: share of the bare training's time that looking may take.
        on_leakage: called for each layer after each game; it may raise `StopTraining` or change what is the user's own.
        layers: glob patterns of layer names, or `all`.
        seed: of sketches and games.
        reduction: whether the loss is the `mean` or the `sum` over the batch's records.
        noise: see the attribute.
        scaler: the loop's GradScaler, if there is one: its scale changes, and records of different scales are compared.

    Attributes:
        noise: standard deviation per coordinate of Gaussian noise that the loop itself adds to `.grad` before each
            step; may be set at any time. The game is then played with that noise on the sum of its 8 gradients, which
            hides less than a larger batch would: the bits are on the cautious side. Clipping is not seen.
        stopped: why the training was stopped; empty if it was not.
        setup: seconds that the check took.

    Raises:
        PtauditError: the model is compiled, replicated, sharded or not trainable, a pattern matches no layer, or an
            argument is out of range.
    """

    _watched: ClassVar[weakref.WeakSet[nn.Module]] = weakref.WeakSet()
    _looking: ClassVar[Monitor | None] = None

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[object] | None = None,
        budget: float = 0.1,
        on_leakage: OnLeakage | None = None,
        layers: str | Sequence[str] = "all",
        seed: int = 0,
        reduction: Literal["mean", "sum"] = "mean",
        *,
        noise: float = 0.0,
        scaler: GradScaler | None = None,
    ) -> None:
        check_model(model)
        if not 0.0 < budget < math.inf:
            raise PtauditError("must be a positive share of the training's time", where="budget", remedy="e.g. 0.1")
        if reduction not in ("mean", "sum"):
            raise PtauditError(f"{reduction!r} is neither `mean` nor `sum`", where="reduction")
        if on_leakage is not None and not callable(on_leakage):
            raise PtauditError("must be a function of (step, layer, bits)", where="on_leakage")
        self.noise = noise
        self.stopped = ""
        self.setup = 0.0
        self._model, self._on_leakage, self._seed = model, on_leakage, seed
        self._mean, self._scaler = reduction == "mean", scaler
        try:
            self._live = LiveWatch(model, budget, layers=layers, seed=seed)
        except ModelError as error:
            raise ModelError(error.what, where=error.where and "layers", remedy=error.remedy) from None
        self._passes = PassObserver(model, self._watch, self._tell)
        self._history: list[tuple[object, ...]] = []
        self._told: tuple[LiveRow, ...] = ()
        self._checked: frozenset[int] = frozenset()
        self._hopeless = _too_few(records_of(loader))
        self._in_vain = 0
        self._stack = ExitStack()
        self._used = False

    @property
    def noise(self) -> float:
        """See the class."""
        return self._noise

    @noise.setter
    def noise(self, value: float) -> None:
        if not 0.0 <= value < math.inf:
            raise PtauditError(f"{value} is no standard deviation", where="noise")
        self._noise = float(value)

    @property
    def leakage(self) -> dict[str, Estimate]:
        """The latest bits of every layer, and of all jointly under `*`; empty before the first game."""
        return {row.layer: row.bits for row in self._live.rows}

    @property
    def table(self) -> pd.DataFrame:
        """All games so far: a row per layer and game, in the columns of `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self._history, columns=list(COLUMNS))

    @property
    def overhead(self) -> float:
        """Seconds spent on looking, as a share of those of the bare passes so far; without `setup`."""
        return self._live.budget.overhead

    def __str__(self) -> str:
        live = self._live
        seen = f"{live.captures} of {live.passes} passes captured, overhead {self.overhead:.1%}"
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return terminal(f"{self._passes.taken} steps: {live.headline() or 'nothing known yet'}; {seen}{stopped}")

    def __enter__(self) -> Monitor:
        if self._used:
            raise ModelError("a Monitor watches one block", remedy="make a new one")
        if self._model in Monitor._watched:
            raise ModelError("the model is watched by another Monitor", remedy="end that one first")
        self._used = True
        Monitor._watched.add(self._model)
        self._stack.callback(Monitor._watched.discard, self._model)
        self._stack.enter_context(tidied(self._model))
        self._passes.attach(self._stack)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        with self._stack:
            try:
                self._passes.close(error)
            except StopTraining as stop:
                error = stop
        if isinstance(error, StopTraining):
            self.stopped = str(error) or "StopTraining was raised"
            return True
        return False

    @contextmanager
    def _watch(self, batch: CallArguments, alone: bool) -> Iterator[None]:
        """Around one pass, see `PassObserver`."""
        look = alone and Monitor._looking is None and self._wants(batch)
        records = float(len(batch)) if self._mean else 1.0
        self._live.noise = self.noise * records
        scale = self._scaler.get_scale() if look and self._scaler is not None else 1.0
        with self._live(self._passes.seen, batch, records / scale, look), self._captured() if look else nullcontext():
            yield

    @contextmanager
    def _captured(self) -> Iterator[None]:
        """Around a pass that is captured: it must get a backward pass of its own that reaches the parameters."""
        Monitor._looking = self
        try:
            with gradients_of(self._model) as arrived:
                yield
        except NoTrainingPassError:
            self._in_vain += 1
            if self._in_vain == _PATIENCE:
                self._hopeless = _TANGLED
            raise
        finally:
            Monitor._looking = None
        if not arrived:
            raise NoTrainingPassError
        self._in_vain = 0

    def _wants(self, batch: CallArguments) -> bool:
        """Whether to capture this pass; before the first one it is checked how the layers are read."""
        live = self._live
        reason = self._hopeless or _unusable(batch, bool(self._checked))
        live.obstacle = f"inconclusive: {reason}" if reason else ""
        if not live.wants(len(batch)):
            return False
        if (trained := _trainable(self._model)) != self._checked:
            self._check(batch)
            self._checked = trained
        return not self._hopeless and live.wants(len(batch))

    def _check(self, batch: CallArguments) -> None:
        began = time.perf_counter()
        try:
            self._live.begin(check_layers(self._model, batch, self._seed))
        except Exception as error:  # whatever the model raises: a monitor must not end the training that it watches
            self._hopeless = error.what if isinstance(error, PtauditError) else in_one_line(error)
        self.setup += time.perf_counter() - began

    def _tell(self) -> None:
        """Passes the rows of a new game on."""
        rows = self._live.rows
        if rows is self._told:
            return
        self._told, step = rows, self._passes.step
        for row in rows:
            _, _, *cells = row.cells()
            self._history.append((step, *cells, self.noise))
        if self._on_leakage is not None:
            for row in rows:
                self._on_leakage(step, row.layer, row.bits)


def _trainable(model: nn.Module) -> frozenset[int]:
    return frozenset(id(p) for p in model.parameters() if p.requires_grad)


def _unusable(batch: CallArguments, checked: bool) -> str:
    if len(batch) == 0:
        return "the model is given no tensor with a row per record"
    return "" if checked or len(batch) > 1 else "a batch of at least two records must show how the layers are read"


def _too_few(records: int | None) -> str:
    needed = RECORDS_PER_MEMBER * BATCH
    if records is None or records >= needed:
        return ""
    return f"needs {needed} records for batches of {BATCH}, the loader has {records}"
