"""The face of the room: checks how each layer is read, then reads tokens of any records."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.agreement import ERRORS, MIXED, tolerance
from ptaudit.gradients.autograd import summed
from ptaudit.gradients.frozen_state import frozen_state, without_gradients
from ptaudit.gradients.gradient_check import CHECK_RECORDS, UNUSED_RECORDS, astray, check_layers, still_holds
from ptaudit.gradients.hooks import Reading
from ptaudit.gradients.keep import Keeper, kept_sketch
from ptaudit.gradients.layers import Capture, Layer, LayerInfo, find_layers, select
from ptaudit.gradients.matrices import RecordGradients
from ptaudit.gradients.per_example_pass import PerExamplePass, per_example_pass, reading_of
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import PerRecordLoss, RecordLosses
from ptaudit.gradients.whole_gradients import by_fallback
from ptaudit.model_input import Inputs, rows, to_device
from ptaudit.sketches.chunks import Chunks
from ptaudit.sketches.tokens import SketchedModel, Tokens, joined


class TokenReader:
    """Reads the tokens of a model's per-record gradients, as the model is at the moment of the call.

    Args:
        model: the model, on the device where it is read; it is left as found.
        loss: (output, target) -> one loss per record.
        dim: numbers in a token, a perfect square.
        seed: seed of the projections.
        layers: glob patterns of layer names whose tokens are wanted, or `all`.

    Raises:
        ModelError: no trainable parameters, or a pattern that matches no layer.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PerRecordLoss,
        dim: int = 256,
        seed: int = 0,
        layers: Sequence[str] = "all",
    ) -> None:
        self._model = model
        self._loss = loss
        self._dim = dim
        self._seed = seed
        self._found = find_layers(model)
        self._device = next(model.parameters()).device
        self._selected = select(self._found, layers)
        self._infos: tuple[LayerInfo, ...] = ()
        self._all_sketches: dict[str, LayerSketch] = {}
        self._sketches: dict[str, LayerSketch | None] = {}

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All trainable layers and how each is read; known after `prepare`."""
        if not self._infos:
            raise RuntimeError("call prepare() first")
        return self._infos

    @property
    def seed(self) -> int:
        """Seed of the projections."""
        return self._seed

    @property
    def source(self) -> SketchedModel:
        """What is read; known after `prepare`."""
        if not self._all_sketches:
            raise RuntimeError("call prepare() first")
        return SketchedModel(self._model, self._loss, self._found, self._all_sketches, self._device)

    def prepare(self, inputs: Inputs, targets: Tensor) -> None:
        """Checks on the first few records how each layer is read.

        Args:
            inputs: records (n, ...), n >= 2, or several such tensors; up to 64 are looked at.
            targets: (n, ...).

        Raises:
            ModelError: the model cannot be run on these records, or the loss is not per record.
        """
        sketches = {
            layer.name: LayerSketch(layer.name, layer.shapes, self._dim, self._seed).to(self._device)
            for layer in self._found
        }
        with frozen_state(self._model, self._device):
            self._infos = check_layers(self._losses(inputs, targets, slice(UNUSED_RECORDS)), self._found, sketches)
        self._all_sketches = sketches
        self._sketches = {name: s if name in self._selected else None for name, s in sketches.items()}

    def adopt(self, layers: Sequence[LayerInfo]) -> None:
        """Go on with how the layers were read before: later records, or later weights, may have shown more."""
        self._infos = tuple(layers)

    def only(self, layers: Collection[str]) -> TokenReader:
        """The same reader, of tokens of some of its layers; after `prepare`."""
        some = copy.copy(self)
        some._selected = self._selected & frozenset(layers)
        some._sketches = {name: s if name in layers else None for name, s in self._sketches.items()}
        return some

    def read(self, inputs: Inputs, targets: Tensor, chunk: int = 256) -> Tokens:
        """Reads the records in chunks; tokens do not depend on the chunk.

        If the rules no longer hold at the present weights, the check is made again and `layers` may change. Of every
        chunk the tokens must add up to the gradient of its summed loss: a layer that was unused so far and is reached
        now is checked on the records that reach it, and one whose rule does not hold for some of the records gives way
        to one backward pass per record.

        Args:
            inputs: records (N, ...).
            targets: (N, ...).
            chunk: records in one forward and backward pass; bounds memory. Halved for the rest of the call when the
                device runs out of memory.

        Raises:
            PtauditError: not even one record fits the memory of the device.
            ModelError: the trainable parameters are not those of `prepare`.
        """
        self._check_unchanged()
        readings = [replace(r, sketch=self._all_sketches[r.layer.name]) for r in self._readings()]
        with frozen_state(self._model, self._device):
            holds = still_holds(self._losses(inputs, targets, slice(CHECK_RECORDS)), readings)
        if not holds:
            self.prepare(inputs, targets)
        chunks, parts = Chunks(len(targets), chunk, self._device), []
        with frozen_state(self._model, self._device):
            for part in chunks:
                with chunks.within_memory():
                    parts.append(self._read_chunk(self._losses(inputs, targets, part)))
        return joined(parts, self.layers, self._selected, self._dim)

    def gradients(self, inputs: Inputs, targets: Tensor, chunk: int = 256) -> list[list[RecordGradients]]:
        """The gradients themselves, as matrices from which those of batches are summed exactly.

        Call `read` on the records first: it checks the rules again where they no longer hold.

        Args:
            inputs: records (N, ...).
            targets: (N, ...).
            chunk: records in one forward and backward pass.

        Returns:
            For each layer of `Tokens.layers` the matrices of its parameters; none where they cannot be kept in this
            form, so that only the layer's sketch is known.
        """
        chosen = {info.name: info for info in self.layers if info.capture != "none" and info.name in self._selected}
        keepers = {
            layer.name: Keeper(layer, chosen[layer.name].layout, kept_sketch(layer, self._seed, self._device))
            for layer in self._found
            if layer.name in chosen
        }
        sketches = {name: keeper.sketch for name, keeper in keepers.items()}
        layers = {way: [x for x in by if x.name in chosen] for way, by in self._captured().items()}
        readings = [keepers[layer.name].reading for layer in layers["rule"]]
        with frozen_state(self._model, self._device):
            for part in Chunks(len(targets), chunk, self._device):
                losses = self._losses(inputs, targets, part)
                with without_gradients(self._model):
                    one_pass = per_example_pass(losses, readings)
                found = {**one_pass.found, **by_fallback(losses, layers, sketches)}
                for name, keeper in keepers.items():
                    keeper.keep(found.get(name), len(losses), name in one_pass.failed)
        return [keepers[name].result() for name in chosen]

    def _read_chunk(self, losses: RecordLosses) -> PerExamplePass:
        """What the rules and the slower ways read; of every layer what is known to be right.

        Where a rule expands what is used, the model is another one in the pass of the rules, and the gradient of the
        summed loss takes a pass of its own. Where the model does not take that, because some records use a parameter in
        another way, these rules are given up.
        """
        while True:
            readings = self._readings()
            expanding = [reading.layer.name for reading in readings if reading.expands]
            truth = summed(losses, self._found) if expanding else None
            try:
                with without_gradients(self._model) if expanding else nullcontext():
                    one_pass = per_example_pass(losses, readings)
            except torch.OutOfMemoryError:
                raise
            except ERRORS as error:
                if not expanding:
                    raise
                for name in expanding:
                    self._demote(name, f"rule: {in_one_line(error)}")
                continue
            one_pass = one_pass if truth is None else replace(one_pass, summed=truth)
            if not self._woken(one_pass, losses):
                break
        for name, why in {**self._strays(one_pass, losses.targets.device), **one_pass.failed}.items():
            self._demote(name, why)
        found = {info.name: one_pass.found[info.name] for info in self.layers if info.name in one_pass.found}
        found |= by_fallback(losses, self._captured(), self._sketches)
        return replace(one_pass, summed={}, found=found)

    def _readings(self) -> list[Reading]:
        """Rules of the layers that have one."""
        ruled = [(layer, info) for layer, info in zip(self._found, self.layers) if info.capture == "rule"]
        found = [reading_of(layer, info.layout, self._sketches[layer.name]) for layer, info in ruled]
        return [reading for reading in found if reading is not None]

    def _strays(self, one_pass: PerExamplePass, device: torch.device) -> dict[str, str]:
        """Layers whose tokens do not add up to the gradient of the chunk, and how far they are from it."""
        layers = [x for x in self._captured()["rule"] if self._sketches[x.name] is not None]
        gaps = astray(layers, self._all_sketches, one_pass, one_pass.summed)
        allowed = tolerance(layers, device, one_pass.half)
        said = "on some records the rule differs from autograd by"
        return {name: f"{said} {gap:.2g}" for name, gap in gaps.items() if gap > allowed}

    def _woken(self, one_pass: PerExamplePass, losses: RecordLosses) -> bool:
        """Whether there were layers that were unused so far and are reached now; they are checked, and used then."""
        unused = [layer for layer, info in zip(self._found, self.layers) if info.unused]
        reached = [x for x in unused if any(_any(one_pass.summed[x.path(name)]) for name in x.parameters)]
        for layer in reached:
            self._wake(layer, losses)
        return bool(reached)

    def _wake(self, layer: Layer, losses: RecordLosses) -> None:
        """Checks a layer that was unused so far, on the first records that reach it."""
        reached: list[int] = []
        for i in range(len(losses)):
            if any(map(_any, summed(losses.some(slice(i, i + 1)), [layer]).values())):
                reached.append(i)
            if len(reached) == CHECK_RECORDS:
                break
        others = [i for i in range(len(losses)) if i not in reached]
        some = torch.tensor((reached + others)[: max(2, len(reached))], device=losses.targets.device)
        (now,) = check_layers(losses.some(some), [layer], self._all_sketches)
        now = replace(now, reason=MIXED) if now.unused else now  # its gradient is there in a batch alone
        self._infos = tuple(now if info.name == now.name else info for info in self._infos)

    def _demote(self, name: str, why: str) -> None:
        """From here on the layer is read one record at a time: which records reach it depends on the records."""
        self._infos = tuple(
            replace(info, capture="loop", reason=why, layout="") if info.name == name else info for info in self._infos
        )

    def _captured(self) -> dict[Capture, list[Layer]]:
        """The layers by how they are captured."""
        ways: tuple[Capture, ...] = ("rule", "vmap", "loop", "none")
        return {way: [x for x, info in zip(self._found, self.layers) if info.capture == way] for way in ways}

    def _losses(self, inputs: Inputs, targets: Tensor, part: slice) -> RecordLosses:
        here = to_device(rows(inputs, part), self._device), targets[part].to(self._device)
        return RecordLosses(self._model, self._loss, *here)

    def _check_unchanged(self) -> None:
        trainable = {id(p) for p in self._model.parameters() if p.requires_grad}
        if trainable != {id(p) for layer in self._found for p in layer.parameters.values()}:
            raise ModelError(
                "the trainable parameters are not those that the reader was made for",
                where=type(self._model).__name__,
                remedy="make a new TokenReader after freezing, unfreezing or replacing parameters",
            )


def _any(grad: Tensor | None) -> bool:
    return grad is not None and bool((grad.to_dense() if grad.is_sparse else grad).any())
