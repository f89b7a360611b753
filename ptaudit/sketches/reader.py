"""The face of the room: proves how each layer is read, then reads tokens of any records."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, PtauditError, in_one_line
from ptaudit.gradients.fallback import loop_contributions, one_by_one, summed, vmap_contributions
from ptaudit.gradients.frozen_state import quiet
from ptaudit.gradients.gradient_check import PROOF_RECORDS, USE_RECORDS, astray, prove, still_holds
from ptaudit.gradients.gradient_trial import ERRORS, MIXED, tolerance
from ptaudit.gradients.keep import Keeper, KeptSketch, kept_sketch
from ptaudit.gradients.layers import Capture, Layer, LayerInfo, find_layers, select
from ptaudit.gradients.matrices import RecordGradients
from ptaudit.gradients.per_example_pass import PerRecordLoss, Reading, Sweep, reading_of, sweep, sweep_with_sum
from ptaudit.gradients.projection import LayerSketch
from ptaudit.sketches.tokens import Chunk, Source, Tokens, joined
from ptaudit.training.batch import Inputs, rows, to_device


class TokenReader:
    """Reads the tokens of a model's per-record gradients, as the model is at the moment of the call.

    Args:
        model: the model, on `device`; it is left as found.
        loss: (output, target) -> one loss per record.
        dim: numbers in a token, a perfect square.
        seed: seed of the projections.
        layers: glob patterns of layer names whose tokens are wanted, or `all`.
        device: where the model is.

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
        device: torch.device | str = "cpu",
    ) -> None:
        self._model = model
        self._loss = loss
        self._device = torch.device(device)
        self._dim = dim
        self._seed = seed
        self._found = find_layers(model)
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
    def source(self) -> Source:
        """What is read; known after `prepare`."""
        if not self._all_sketches:
            raise RuntimeError("call prepare() first")
        return Source(self._model, self._loss, self._found, self._all_sketches, self._device)

    def prepare(self, inputs: Inputs, targets: Tensor) -> None:
        """Proves on the first few records how each layer is read.

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
        few = self._here(inputs, targets, slice(USE_RECORDS))
        with quiet(self._model, self._device):
            self._infos = prove(self._model, self._loss, self._found, sketches, *few)
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

        If the rules no longer hold at the present weights, the proof is made again and `layers` may change. Of every
        chunk the tokens must add up to the gradient of its summed loss: a layer that was unused so far and is reached
        now is proven on the records that reach it, and one whose rule does not hold for some of the records gives way
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
        self._prove_again_if_needed(inputs, targets)
        parts = []
        with quiet(self._model, self._device):
            start = 0
            while start < len(targets):
                end = chunk_end(start, len(targets), chunk)
                here = self._here(inputs, targets, slice(start, end))
                try:
                    parts.append(self._read_chunk(*here))
                    start = end
                    continue
                except torch.OutOfMemoryError as error:
                    _check_can_halve(len(here[1]), error)
                chunk = len(here[1]) // 2  # outside of the handler, whose traceback holds the tensors of the pass
                _free(self._device)
        return joined(parts, self.layers, self._selected, self._dim)

    def gradients(self, inputs: Inputs, targets: Tensor, chunk: int = 256) -> list[list[RecordGradients]]:
        """The gradients themselves, as matrices from which those of batches are summed exactly.

        Call `read` on the records first: it proves the rules again where they no longer hold.

        Args:
            inputs: records (N, ...).
            targets: (N, ...).
            chunk: records in one forward and backward pass.

        Returns:
            For each layer of `Tokens.layers` the matrices of its parameters; none where they cannot be kept in this
            form, so that only the layer's sketch is known.
        """
        chosen = [info.name for info in self.layers if info.capture != "none" and info.name in self._selected]
        sketches = {layer.name: kept_sketch(layer, self._seed, self._device) for layer in self._found}
        keepers = {
            layer.name: self._keeper(layer, sketches[layer.name]) for layer in self._found if layer.name in chosen
        }
        by_rule = [keepers[layer.name] for layer in self._captured_by("rule") if layer.name in keepers]
        with quiet(self._model, self._device):
            start = 0
            while start < len(targets):
                end = chunk_end(start, len(targets), chunk)
                args = self._here(inputs, targets, slice(start, end))
                start = end
                swept = sweep(self._model, self._loss, [keeper.reading for keeper in by_rule], *args)
                found = dict(swept.found)
                if by_vmap := [layer for layer in self._captured_by("vmap") if layer.name in keepers]:
                    found |= vmap_contributions(self._model, self._loss, by_vmap, sketches, *args)
                if by_loop := [layer for layer in self._captured_by("loop") if layer.name in keepers]:
                    found |= loop_contributions(self._model, self._loss, by_loop, sketches, *args)
                for name, keeper in keepers.items():
                    keeper.keep(found.get(name), len(args[1]), name in swept.failed)
        return [keepers[name].result() for name in chosen]

    def _keeper(self, layer: Layer, sketch: KeptSketch) -> Keeper:
        layout = next(info.layout for info in self.layers if info.name == layer.name)
        return Keeper(layer, layout, sketch)

    def _read_chunk(self, inputs: Inputs, targets: Tensor) -> Chunk:
        swept, truth = self._swept(inputs, targets)
        unused = [layer for layer, info in zip(self._found, self.layers) if info.unused]
        if reached := [x for x in unused if any(_any(truth[x.path(name)]) for name in x.parameters)]:
            for layer in reached:
                self._wake(layer, inputs, targets)
            swept, truth = self._swept(inputs, targets)
        for name, why in {**self._strays(swept, truth, targets.device), **swept.failed}.items():
            self._demote(name, why)
        found = {info.name: swept.found[info.name] for info in self.layers if info.name in swept.found}
        args = (self._sketches, inputs, targets)
        if by_vmap := self._captured_by("vmap"):
            found |= vmap_contributions(self._model, self._loss, by_vmap, *args)
        if by_loop := self._captured_by("loop"):
            found |= loop_contributions(self._model, self._loss, by_loop, *args)
        return Chunk(found, swept.loss)

    def _swept(self, inputs: Inputs, targets: Tensor) -> tuple[Sweep, dict[str, Tensor | None]]:
        """What the rules read, and the gradient of the summed loss: from one pass, unless a rule expands what is used.

        The model is then another one in the pass of the rules. Where it does not take that, because some records use a
        parameter in another way, these rules are given up.
        """
        readings = self._readings()
        if expanding := [reading.layer.name for reading in readings if reading.expands]:
            truth = summed(self._model, self._loss, self._found, inputs, targets)
            try:
                return sweep(self._model, self._loss, readings, inputs, targets), truth
            except torch.OutOfMemoryError:
                raise
            except ERRORS as error:
                for name in expanding:
                    self._demote(name, f"rule: {in_one_line(error)}")
        return sweep_with_sum(self._model, self._loss, self._readings(), inputs, targets)

    def _readings(self) -> list[Reading]:
        """Rules of the layers that have one."""
        found = []
        for layer, info in zip(self._found, self.layers):
            if info.capture == "rule":
                reading = reading_of(layer, info.layout, self._sketches[layer.name])
                assert reading is not None
                found.append(reading)
        return found

    def _strays(self, swept: Sweep, truth: Mapping[str, Tensor | None], device: torch.device) -> dict[str, str]:
        """Layers whose tokens do not add up to the gradient of the chunk, and how far they are from it."""
        layers = [x for x in self._captured_by("rule") if self._sketches[x.name] is not None]
        gaps = astray(layers, self._all_sketches, swept, truth)
        allowed = tolerance(layers, device, swept.half)
        said = "on some records the rule differs from autograd by"
        return {name: f"{said} {gap:.2g}" for name, gap in gaps.items() if gap > allowed}

    def _wake(self, layer: Layer, inputs: Inputs, targets: Tensor) -> None:
        """Proves a layer that was unused so far, on the first records that reach it."""
        reached: list[int] = []
        for i, grads in enumerate(one_by_one(self._model, self._loss, [layer], inputs, targets)):
            if any(map(_any, grads.values())):
                reached.append(i)
            if len(reached) == PROOF_RECORDS:
                break
        others = [i for i in range(len(targets)) if i not in reached]
        some = torch.tensor((reached + others)[: max(2, len(reached))], device=targets.device)
        (now,) = prove(self._model, self._loss, [layer], self._all_sketches, rows(inputs, some), targets[some])
        now = replace(now, reason=MIXED) if now.unused else now  # its gradient is there in a batch alone
        self._infos = tuple(now if info.name == now.name else info for info in self._infos)

    def _demote(self, name: str, why: str) -> None:
        """From here on the layer is read one record at a time: which records reach it depends on the records."""
        self._infos = tuple(
            replace(info, capture="loop", reason=why, layout="") if info.name == name else info for info in self._infos
        )

    def _captured_by(self, capture: Capture) -> list[Layer]:
        return [layer for layer, info in zip(self._found, self.layers) if info.capture == capture]

    def _prove_again_if_needed(self, inputs: Inputs, targets: Tensor) -> None:
        readings = [replace(r, sketch=self._all_sketches[r.layer.name]) for r in self._readings()]
        few = self._here(inputs, targets, slice(PROOF_RECORDS))
        with quiet(self._model, self._device):
            holds = still_holds(self._model, self._loss, readings, *few)
        if not holds:
            self.prepare(inputs, targets)

    def _here(self, inputs: Inputs, targets: Tensor, part: slice) -> tuple[Inputs, Tensor]:
        return to_device(rows(inputs, part), self._device), targets[part].to(self._device)

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


def _check_can_halve(records: int, error: torch.OutOfMemoryError) -> None:
    if records == 1:
        raise PtauditError(
            "the device has no memory left to read the gradient of one record",
            where="audit",
            remedy="use a device with more memory, or --device cpu",
        ) from error


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def chunk_end(start: int, total: int, chunk: int) -> int:
    """Where a chunk ends: the last one never holds a single record, of which there are no batch statistics."""
    end = start + chunk
    return end - 1 if total - end == 1 and chunk > 2 else min(end, total)
