"""Finds the forward and backward passes of a training loop that knows nothing of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils import _pytree as pytree

from ptaudit.monitor.call_arguments import CallArguments


class NoTrainingPassError(Exception):
    """The pass that was to be looked at was none of training: the parameters got no gradient from it alone."""


Watch = Callable[[CallArguments, bool], AbstractContextManager[None]]
"""Given a batch, and whether it is alone: no earlier pass still waits for its backward pass.

What it returns is entered when the pass begins and left when it is over, with a `NoTrainingPassError` if no backward
pass came.
"""


class _Pass:
    """A pass under way."""

    def __init__(self, context: AbstractContextManager[None]) -> None:
        self.returned = False
        self.flowed = False
        self._context = context
        context.__enter__()

    def leave(self, error: BaseException | None) -> None:
        """Ends it, whatever modes of torch are on at that moment."""
        with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), suppress(NoTrainingPassError):
            self._context.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class _Hook:
    """A hook that stays behind when its model is copied or saved: the copy has one that does nothing."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple[type[_Hook], tuple[Callable[..., None]]]:
        return _Hook, (_nothing,)


def _nothing(*args: Any) -> None:
    pass


class PassObserver:
    """Tells of every pass of a model in training mode with gradients, from its forward call on.

    A pass is over when the optimizer is about to step, when the model is called again, or at the end. Calls in
    evaluation mode or without gradients are none, nor are those inside of a backward pass (activation checkpoints).
    Whether a backward pass came is seen at the model's output. While an earlier call still waits for its backward
    pass, a pass is not alone: gradients of both may arrive together.

    Args:
        model: the model.
        watch: see `Watch`.
        over: called after a pass is over, in the thread of the training and outside of autograd.
    """

    def __init__(self, model: nn.Module, watch: Watch, over: Callable[[], None]) -> None:
        self.steps, self.seen = 0, 0
        self._model, self._watch, self._over = model, watch, over
        self._own = {id(p) for p in model.parameters()}
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._open: _Pass | None = None
        self._waiting = False
        self._busy = False

    @property
    def step(self) -> int:
        """The optimizer step under way, from 1; where no optimizer of torch steps, the number of passes."""
        return self.seen if self._optimizer is None else self.steps + 1

    @property
    def taken(self) -> int:
        """Steps that are over."""
        return self.seen if self._optimizer is None else self.steps

    def attach(self, stack: ExitStack) -> None:
        """Hooks that the stack will remove."""
        stack.callback(self._model.register_forward_pre_hook(_Hook(self._before), with_kwargs=True).remove)
        stack.callback(self._model.register_forward_hook(_Hook(self._after)).remove)
        stack.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        stack.callback(register_optimizer_step_post_hook(self._after_step).remove)

    def close(self, error: BaseException | None = None) -> None:
        """Ends the pass that is open."""
        last, self._open = self._open, None
        if last is None:
            return
        last.leave(error or (None if last.flowed else NoTrainingPassError()))
        self._over()

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._busy or torch._C._current_graph_task_id() != -1:
            return
        grads = torch.is_grad_enabled()
        if not grads and self._open is not None and not self._open.flowed:
            return  # a look at the validation set between loss and backward pass
        self.close()
        if not (module.training and grads):
            return
        self._busy = True
        try:
            self.seen += 1
            self._open = _Pass(self._watch(CallArguments(args, kwargs), not self._waiting))
        finally:
            self._busy = False

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._busy or self._open is None or self._open.returned:
            return
        current = self._open
        current.returned = True
        ends = [x for x in pytree.tree_leaves(output) if isinstance(x, Tensor) and x.requires_grad and not x.is_leaf]
        current.flowed = not ends
        self._waiting |= bool(ends)
        for tensor in ends:
            tensor.register_hook(lambda grad: self._flow(current))  # type: ignore[no-untyped-call]

    def _flow(self, one: _Pass) -> None:
        one.flowed, self._waiting = True, False

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not any(id(p) in self._own for group in optimizer.param_groups for p in group["params"]):
            return
        if self._optimizer is None or self._optimizer() is None:
            self._optimizer = weakref.ref(optimizer)
        self.close()
        self._waiting = False

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._optimizer is not None and optimizer is self._optimizer():  # of several, the one that came first
            self.steps += 1
