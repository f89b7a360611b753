"""What given records would have shown: the shared gradient as a function of records, which can be differentiated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap

from ptaudit.attacks.inversion.messages import Granted, SharedGradients
from ptaudit.gradients.agreement import agrees
from ptaudit.gradients.record_losses import losses_at
from ptaudit.model_input import batched

_APART = 1e-3
"""Gap to plain autograd that rounding may leave, relative to the gradient's norm."""

_TRIED = 2

Weights = dict[str, Tensor]


class Simulation:
    """The gradients of dummy batches as the adversary believes they are shared: local steps, clipping and defense.

    What a defense does at random during a pass (dropout) is not repeated: the mean network stands for all that there
    may be, and a search whose objective jumps from step to step finds less.

    Each round of each problem is a batch; all batches go through `torch.func.vmap` in one pass, or where that does not
    give what plain autograd gives, through one pass each. The model is to be in evaluation mode, see `frozen_state`.

    Args:
        seen: tells which parameters are shared, batch sizes, rounds and local steps.
        granted: tells the rest.

    Attributes:
        size: numbers that are shared (d).
    """

    def __init__(self, seen: SharedGradients, granted: Granted) -> None:
        self._losses = losses_at(granted.model, granted.loss)
        self._weights = granted.weights
        self._defense, self._clip = granted.defense, granted.clip
        self._steps, self._lr = (seen.update.local_steps, seen.update.lr) if seen.update else (1, 0.0)
        self._paths = tuple(seen.gradients)
        # One and the same batch shows the same in every round, noise apart.
        self._slots = seen.slots[:1] if seen.fixed_batch or seen.batch_size == 1 else seen.slots
        self._slots = self._slots.to(granted.device)
        self.size = sum(g[0, 0].numel() for g in seen.gradients.values())
        shape, numbers = granted.space.shape, torch.Generator().manual_seed(0)
        self._shown: tuple[Tensor, ...] = ()
        self._vmap_holds = self._checked(shape, seen, granted, numbers)

    def seen(self, seen: SharedGradients) -> Tensor:
        """What is seen in the form of a simulation, `(B, r, d)`."""
        return torch.cat([seen.gradients[path].flatten(2) for path in self._paths], 2)

    def __call__(self, records: Tensor, labels: Tensor) -> Tensor:
        """What P problems would show, `(P, r, d)`, or `(P, 1, d)` where every round shows the same.

        Args:
            records: `(P, R, *shape)`.
            labels: `(P, R, ...)`, classes or whatever the loss takes.
        """
        rounds = len(self._slots)
        inputs, targets = records[:, self._slots].flatten(0, 1), labels[:, self._slots].flatten(0, 1)
        with batched():
            whole = self._clipped(inputs, targets) if self._clip is not None else self._gradients(inputs, targets)
        return self._as_shown(whole).view(len(records), rounds, self.size)

    def _gradients(self, inputs: Tensor, targets: Tensor) -> Weights:
        """Mean gradients along the local steps of batches `(g, m, ...)`, by path `(g, *shape)`."""
        return self._by_vmap(inputs, targets) if self._vmap_holds else self._one_by_one(inputs, targets)

    def _clipped(self, inputs: Tensor, targets: Tensor) -> Weights:
        """Means of the clipped gradients of the records of each batch."""
        g, m = targets.shape[:2]
        alone = self._gradients(inputs.flatten(0, 1)[:, None], targets.flatten(0, 1)[:, None])
        norm = torch.stack([part.flatten(1).square().sum(1) for part in alone.values()]).sum(0).sqrt()
        assert self._clip is not None
        factor = self._clip / norm.clamp_min(self._clip)
        each = factor.view(g, m)
        return {
            path: torch.einsum("gm,gm...->g...", each, part.view(g, m, *part.shape[1:])) / m
            for path, part in alone.items()
        }

    def _as_shown(self, whole: Weights) -> Tensor:
        """The shared numbers `(g, d)`; a defense of gradients acts on them, and the way back takes no notice of it.

        Signs and prunings have no slope: what is explained is what is shown, and what moves is the gradient behind it
        (a straight-through estimate).
        """
        flat = torch.cat([part.flatten(1) for part in whole.values()], 1)
        if self._defense.acts_on == "gradient":
            shown = self._defense.gradient(flat.detach(), torch.Generator().manual_seed(0))
            flat = flat + (shown - flat.detach())
        sizes = [part[0].numel() for part in whole.values()]
        parts = dict(zip(whole, torch.split(flat, sizes, 1)))
        return torch.cat([parts[path] for path in self._paths], 1)

    def _walk(self, slope: Callable[[Weights], Weights]) -> Weights:
        """The mean of the gradients along the local steps."""
        weights = self._weights
        total = found = slope(weights)
        for _ in range(self._steps - 1):
            weights = {path: w - self._lr * found[path] for path, w in weights.items()}
            found = slope(weights)
            total = {path: total[path] + g for path, g in found.items()}
        return {path: g / self._steps for path, g in total.items()}

    def _by_vmap(self, inputs: Tensor, targets: Tensor) -> Weights:
        def mean_loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
            return self._losses(weights, x, y).mean()

        def one(x: Tensor, y: Tensor) -> Weights:
            return self._walk(lambda weights: grad(mean_loss)(weights, x, y))

        found: Weights = vmap(one, randomness="different")(inputs, targets)
        return found

    def _one_by_one(self, inputs: Tensor, targets: Tensor) -> Weights:
        """By plain autograd, which is right for every model that takes its weights from outside."""

        def slope(x: Tensor, y: Tensor) -> Callable[[Weights], Weights]:
            def at(weights: Weights) -> Weights:
                free = {path: w if w.requires_grad else w.clone().requires_grad_() for path, w in weights.items()}
                loss = self._losses(free, x, y).mean()
                found = torch.autograd.grad(loss, list(free.values()), create_graph=True, materialize_grads=True)
                return dict(zip(free, found))

            return at

        each = [self._walk(slope(x, y)) for x, y in zip(inputs, targets)]
        return {path: torch.stack([one[path] for one in each]) for path in self._weights}

    def _checked(self, shape: tuple[int, ...], seen: SharedGradients, granted: Granted, dice: torch.Generator) -> bool:
        """Whether many batches at once give what one pass each gives, on records of no one."""
        m, device = seen.batch_size, granted.device
        inputs = torch.randn(_TRIED, m, *shape, generator=dice).to(device)
        classes = granted.space.classes
        targets = torch.randint(classes, (_TRIED, m), generator=dice).to(device) if classes else None
        if targets is None:
            assert granted.labels is not None
            targets = granted.labels[:1, :1].expand(_TRIED, m, *granted.labels.shape[2:])
        with batched():
            alone = self._one_by_one(inputs, targets)
            names = list(alone)
            return agrees(
                lambda: [(found := self._by_vmap(inputs, targets))[name].detach() for name in names],
                [alone[name].detach() for name in names],
                _APART,
            )
