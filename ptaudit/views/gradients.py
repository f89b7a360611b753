"""True gradients of batches: all trainable parameters of a model, or how they change in some local steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad
from torch.nn.functional import embedding_bag

from ptaudit.gradients.agreement import agrees, attempt
from ptaudit.gradients.autograd import dense, parameters_of, summed
from ptaudit.gradients.frozen_state import frozen_state, restored
from ptaudit.gradients.record_losses import RecordLosses, losses_at, over_records
from ptaudit.model_input import Inputs, as_real, leaves, mapped, rows
from ptaudit.sketches.tokens import SketchedModel
from ptaudit.spec.defenses import UNDEFENDED, DefenseSpec
from ptaudit.views.view import Update

_CHECK_RECORDS = 4
"""Records on which the faster ways are held against plain autograd."""

_APART = 1e-3
"""Gap that reduced precision may leave, relative to the gradient's norm."""

_PIXELS = 1 << 14
"""Numbers in a batch above which convolutions are faster in one backward pass a batch (twice, for LeNet at 64 pictures
of 28 x 28; half as fast at 8). Without convolutions many batches at once always win."""

_AT_ONCE, _CELLS, _KEPT_BYTES = 128, 1 << 22, 256 << 20
"""Batches in one pass; numbers in their gradients; bytes that their passes keep for the way back."""

_TABLE_CELLS = 1 << 24
"""Numbers in the gradients of one piece, where they are made of those of the records."""

TABLE_BYTES = 256 << 20
"""The gradients of all records are kept where they fit into this."""


@dataclass(frozen=True)
class Layout:
    """Where every parameter stands in the whole gradient.

    Attributes:
        shapes: of the parameters, by path, in order.
    """

    shapes: Mapping[str, torch.Size]

    @property
    def size(self) -> int:
        """Numbers in the whole gradient (d)."""
        return sum(shape.numel() for shape in self.shapes.values())

    def flat(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Gradients (g, *shape) by path as one matrix `(g, d)`, float32."""
        return torch.cat([grads[path].float().flatten(1) for path in self.shapes], dim=1)

    def parts(self, whole: Tensor) -> dict[str, Tensor]:
        """The way back."""
        pieces = torch.split(whole, [shape.numel() for shape in self.shapes.values()], dim=1)
        return {path: piece.reshape(-1, *shape) for (path, shape), piece in zip(self.shapes.items(), pieces)}


class BatchGradients:
    """Mean gradients of batches of given records at the model's present weights, in evaluation mode.

    They are those of the weights at which this was made, and not to be asked for later. The model is left as found;
    what is random in a pass comes from the caller's generator alone. Which way is taken depends on sizes and on a check
    against plain autograd, never on the clock.

    Args:
        source: model and loss, as a token reader has them.
        inputs: records (N, ...).
        targets: (N, ...).
        defense: what happens during the passes.
        update: with it, the mean of the gradients along the local steps.

    Attributes:
        records: the records, on the device of the model.
    """

    def __init__(
        self,
        source: SketchedModel,
        inputs: Inputs,
        targets: Tensor,
        *,
        defense: DefenseSpec = UNDEFENDED,
        update: Update | None = None,
    ) -> None:
        self._source = source
        self.records = source.losses(inputs, targets)
        self._inputs, self._targets = self.records.inputs, self.records.targets
        self._defense = defense
        self._steps, self._lr = (update.local_steps, update.lr) if update else (1, 0.0)
        self._parameters = parameters_of(source.layers)
        self.layout = Layout({path: as_real(p).shape for path, p in self._parameters.items()})
        self._convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in source.model.modules())
        self._record_bytes = 1
        self._vmap_holds, self._adds_up = self._checked()
        fits = 4 * len(targets) * self.layout.size <= TABLE_BYTES
        plain = self._steps == 1 and self._defense.acts_on == "gradient"
        self._table: Tensor | None = None
        if fits and plain and self._adds_up:
            self._table = self._tabulated()

    def read(self, members: Tensor, targets: Tensor | None, generator: torch.Generator) -> Iterator[Tensor]:
        """Mean gradients `(g, d)`, float32, of the batches in pieces that bound memory.

        Args:
            members: records of each batch, `(G, m)`.
            targets: what is used in the place of their targets, `(G, m, ...)`.
            generator: of what is random in a pass; a CPU generator.
        """
        members = members.to(self._source.device)
        if self._table is not None and targets is None:
            yield from (_means(self._table, b) for b in torch.split(members, max(1, _TABLE_CELLS // self.layout.size)))
            return
        kept = _KEPT_BYTES // (members.shape[1] * self._record_bytes)
        at_once = max(1, min(_AT_ONCE, kept, _CELLS // self.layout.size))
        for part in torch.split(torch.arange(len(members)), at_once):
            batch = members[part]
            used = self._targets[batch] if targets is None else targets[part].to(self._source.device)
            yield self._computed(batch, used, generator)

    def _computed(self, batch: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        inputs = rows(self._inputs, batch)
        with frozen_state(self._source.model, self._source.device), self._defense.during(self._source.model):
            if self._defense.acts_on == "pass":
                torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
            if self._vmap_holds and not (self._convolves and leaves(inputs)[0][0].numel() > _PIXELS):
                return self._by_vmap(inputs, targets)
            return self._one_by_one(inputs, targets)

    def _by_vmap(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """All batches in one pass, `(g, m, ...)` -> `(g, d)`."""
        losses = losses_at(self._source.model, self._source.loss)

        def mean_loss(weights: dict[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
            return losses(weights, x, y).mean()

        def walk(weights: dict[str, Tensor], x: Inputs, y: Tensor) -> dict[str, Tensor]:
            total = slope = grad(mean_loss)(weights, x, y)
            for _ in range(self._steps - 1):
                weights = {path: p - self._lr * slope[path] for path, p in weights.items()}
                slope = grad(mean_loss)(weights, x, y)
                total = {path: total[path] + g for path, g in slope.items()}
            return {path: g / self._steps for path, g in total.items()}

        weights = {path: p.detach() for path, p in self._parameters.items()}
        found = over_records(walk, weights, inputs, targets, randomness="different")
        return self.layout.flat({path: as_real(g) for path, g in found.items()})

    def _one_by_one(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """One backward pass a batch (and local step) by plain autograd, `(g, m, ...)` -> `(g, d)`."""
        losses = self._source.losses(inputs, targets)
        return torch.cat([self._walk(losses.some(i)) for i in torch.arange(len(targets))])

    def _walk(self, losses: RecordLosses) -> Tensor:
        """The mean gradient `(1, d)` along the local steps on one batch."""
        total = torch.zeros(1, self.layout.size, device=self._source.device)
        with restored(self._parameters.values() if self._steps > 1 else ()):
            for step in range(self._steps):
                found = dense(self._source.layers, summed(losses, self._source.layers))
                slope = {path: g / len(losses) for path, g in found.items()}
                total += self.layout.flat({path: g[None] for path, g in slope.items()})
                if step < self._steps - 1:
                    with torch.no_grad():
                        for path, parameter in self._parameters.items():
                            own = as_real(parameter)
                            own.sub_(slope[path].to(own), alpha=self._lr)
        return total / self._steps

    def _checked(self) -> tuple[bool, bool]:
        """Whether many batches at once give what one backward pass gives; and whether a batch's is its records' mean.

        The first fails where a model looks at values, or keeps parameters that a functional call does not replace; the
        second where records are mixed in the forward pass.
        """
        few = torch.arange(min(_CHECK_RECORDS, len(self._targets)), device=self._source.device)
        x, y = rows(self._inputs, few), self._targets[few]
        together, apart = (
            (mapped(lambda leaf: leaf[None], x), y[None]),
            (mapped(lambda leaf: leaf[:, None], x), y[:, None]),
        )
        with frozen_state(self._source.model, self._source.device):
            with saved_tensors_hooks(self._weigh, lambda kept: kept):
                whole = self._one_by_one(*together)
            adds_up = agrees(lambda: [self._one_by_one(*apart).mean(0, keepdim=True)], [whole], _APART)
            holds = agrees(lambda: [self._by_vmap(*together)], [whole], _APART)
            with self._defense.during(self._source.model):
                runs = attempt(lambda: self._by_vmap(*together)) is not None
        return holds and runs, adds_up

    def _weigh(self, kept: Tensor) -> Tensor:
        """Takes note of what a pass on the records of the check keeps, in bytes a record."""
        self._record_bytes += kept.nbytes // _CHECK_RECORDS
        return kept

    def _tabulated(self) -> Tensor:
        everyone = torch.arange(len(self._targets))[:, None]
        return torch.cat(list(self.read(everyone, None, torch.Generator())))


def _means(table: Tensor, members: Tensor) -> Tensor:
    """Mean rows of a table `(N, d)` for the batches `(g, m)`: by a product where a batch holds much of the table."""
    if 10 * members.shape[1] <= len(table):
        return embedding_bag(members, table, mode="mean")
    often = table.new_zeros(len(members), len(table))
    often.scatter_add_(1, members, torch.ones_like(members, dtype=table.dtype))
    return often @ table / members.shape[1]
