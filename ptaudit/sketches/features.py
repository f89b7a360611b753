"""What the gradient may tell about: features of the records, the X of I(X; G).

Everything is reduced by random projections that depend on the seed and on names and shapes alone: no record decides
what is kept of another. Independent projections of several parts are added, which is a projection of the parts side by
side (Johnson and Lindenstrauss); each part is centred and brought to the same size before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptaudit.errors import DataError, ModelError
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.projection import generator_for, projection
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.model_input import Inputs, call, count, leaves, rows

Kind = Literal["activations", "input", "label"]

KINDS: tuple[Kind, ...] = ("activations", "input", "label")

CODES = 1 << 16
"""Integers are told apart up to this many; larger ones share codes."""

_SLAB = 1 << 14
_FEW = 3

_CHUNK = 256
"""Records in one pass."""

_Key = tuple[str, int, int]
"""Module, its so manieth call, the so manieth tensor of its output."""


def features(kind: Kind, records: RecordLosses, classes: int | None, dim: int = 32, seed: int = 0) -> Tensor:
    """Features of N records, where these are.

    - `activations`: the outputs of the model's own trainable modules for each record alone, in evaluation mode (arXiv
      2502.02913 fuses them with the token). Each call of a module, and each tensor of what it returns, is a part.
    - `input`: the raw input. Real numbers and bytes (pixels) are numbers. Other integers are names, of words or of
      categories: one part tells how often each occurs, another which one stands where.
    - `label`: the class, or the number to be predicted.

    Args:
        kind: one of `KINDS`.
        records: on the device of their model, which is left as found; only `activations` looks at it.
        classes: number of classes, None where targets are numbers.
        dim: numbers in a feature, of activations and inputs.
        seed: of the projections.

    Returns:
        (N, dim) float32; of labels int64 classes (N,), or float32 targets (N, k).

    Raises:
        DataError: too few records, or inputs or targets that are not finite or are no class.
        ModelError: the model cannot be run on these records, or its activations are not finite.
    """
    if kind == "label":
        return _labels(records.targets, classes)
    if kind == "input":
        return _sum([part for leaf in leaves(records.inputs) for part in _of_input(leaf, dim, seed)])
    if kind == "activations":
        return _activations(records.model, records.inputs, dim, seed)
    raise ValueError(f"no features {kind!r}; there are {', '.join(KINDS)}")


def of_each_layer(records: RecordLosses, dim: int = 64, seed: int = 0) -> list[Tensor]:
    """What every trainable module returns for each record alone, in evaluation mode, in the order of their calls.

    Args:
        records: on the device of their model, which is left as found.
        dim: numbers kept of each, a random projection where there are more.
        seed: of the projections.

    Returns:
        Of L outputs, `(N, dim)` float32 each, where the records are.

    Raises:
        DataError: too few records.
        ModelError: the model cannot be run on these records, or its activations are not finite.
    """
    return _projected_calls(records.model, records.inputs, dim, seed)


def projected(x: Tensor, dim: int, *key: object) -> Tensor:
    """Random projection of real numbers, in slabs of bounded size: (n, d) -> (n, dim), float32.

    Squared distances are kept up to a factor of about 1 +- sqrt(2 / dim); exactly where d <= dim.
    """
    d, x = x.shape[1], x.float()
    if d <= dim:
        return x @ projection(dim, d, generator_for("features", *key)).to(x.device).T
    found = x.new_zeros(len(x), dim)
    for start in range(0, d, _SLAB):
        part = x[:, start : start + _SLAB]
        draw = torch.randn(dim, part.shape[1], generator=generator_for("features", *key, start))
        found += part @ draw.to(x.device).T
    return found / math.sqrt(dim)


def _labels(targets: Tensor, classes: int | None) -> Tensor:
    if classes is None:
        found = targets.float().flatten(1) if targets.dim() > 1 else targets.float()[:, None]
        return _finite(found, DataError, "targets", "data")
    if targets.dim() != 1:
        raise DataError(
            f"one class for each record is needed, not targets of shape {tuple(targets.shape[1:])}",
            where="features: label",
            remedy="use features: activations",
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise DataError(f"a class is not among 0 to {classes - 1}", where="features: label")
    return targets.long()


def _of_input(leaf: Tensor, dim: int, seed: int) -> list[Tensor]:
    """Parts of one input tensor, each (N, dim)."""
    if leaf.is_complex():
        raise DataError("inputs are complex numbers", where="features: input")
    shape = tuple(leaf.shape[1:])
    flat = leaf.reshape(len(leaf), -1)
    if leaf.is_floating_point() or leaf.dtype in (torch.uint8, torch.bool):
        parts = [projected(batch, dim, seed, "input", shape) for batch in torch.split(flat, _CHUNK)]
        return [_finite(torch.cat(parts), DataError, "inputs", "features: input")]
    codes = torch.randn(CODES, dim, generator=generator_for("features", seed, "codes")).to(leaf.device)
    signs = torch.randint(0, 2, (flat.shape[1], dim), generator=generator_for("features", seed, "places", shape))
    positions = (2.0 * signs - 1.0).to(leaf.device)
    often, located = torch.zeros(2, len(flat), dim, device=leaf.device)
    for start in range(0, len(flat), _CHUNK):
        here = slice(start, start + _CHUNK)
        for position, column in enumerate(flat[here].remainder(CODES).T):
            often[here] += codes[column]
            located[here] += codes[column] * positions[position]
    return [often, located]


def _activations(model: nn.Module, inputs: Inputs, dim: int, seed: int) -> Tensor:
    return _sum(_projected_calls(model, inputs, dim, seed))


def _projected_calls(model: nn.Module, inputs: Inputs, dim: int, seed: int) -> list[Tensor]:
    """Of each call of a trainable module, and each tensor that it returns, `(n, dim)`."""
    n = count(inputs)
    if n < _FEW:
        raise DataError(f"{n} records; at least {_FEW} are needed", where="features: activations")
    with frozen_state(model, leaves(inputs)[0].device), torch.no_grad():
        batch_dims = _batch_dims(model, inputs)
        pieces = (rows(inputs, slice(start, start + _CHUNK)) for start in range(0, n, _CHUNK))
        parts = [_project_calls(model, piece, batch_dims, dim, seed) for piece in pieces]
    found = [torch.cat([part[key] for part in parts]) for key in batch_dims]
    for (name, _, _), part in zip(batch_dims, found):
        _finite(part, ModelError, "activations", name)
    return found


def _batch_dims(model: nn.Module, inputs: Inputs) -> dict[_Key, int]:
    """For each output, the dimension that counts the records: the one that grows with them."""
    seen: list[dict[_Key, Tensor]] = []
    for n in (_FEW - 1, _FEW):
        with _outputs(model) as outputs:
            _run(model, rows(inputs, slice(n)))
        seen.append({key: torch.tensor(output.shape) for key, output in outputs.items()})
    found: dict[_Key, int] = {}
    for key, shape in seen[1].items():
        before = seen[0].get(key)
        if before is not None and len(before) == len(shape):
            grown = (shape != before).nonzero().flatten().tolist()
            if len(grown) == 1 and (int(before[grown[0]]), int(shape[grown[0]])) == (_FEW - 1, _FEW):
                found[key] = grown[0]
    if not found:
        raise ModelError(
            "no trainable module returns something for each record",
            where=type(model).__name__,
            remedy="use features: input or label",
        )
    return found


def _project_calls(
    model: nn.Module, inputs: Inputs, batch_dims: Mapping[_Key, int], dim: int, seed: int
) -> dict[_Key, Tensor]:
    """Projections (n, dim) of what the modules return, taken at once: the model may change it in place."""
    n = count(inputs)

    def reduced(key: _Key, output: Tensor) -> Tensor | None:
        if key not in batch_dims:
            return None
        return projected(output.movedim(batch_dims[key], 0).reshape(n, -1), dim, seed, *key)

    with _outputs(model, reduced) as found:
        _run(model, inputs)
    if found.keys() != batch_dims.keys():
        raise ModelError("modules are called more or less often from batch to batch", where=type(model).__name__)
    return found


@contextmanager
def _outputs(model: nn.Module, change: Any = lambda key, output: output) -> Iterator[dict[_Key, Tensor]]:
    """Collects what trainable modules return, changed; what is changed to None is left out."""
    found: dict[_Key, Tensor] = {}
    calls: dict[str, int] = {}

    def collect(name: str, output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        for index, tensor in enumerate(_tensors(output)):
            if tensor.is_floating_point():
                key = (name, calls[name], index)
                kept = change(key, tensor)
                if kept is not None:
                    found[key] = kept

    with ExitStack() as stack:
        for layer in find_layers(model):
            handle = layer.module.register_forward_hook(lambda m, i, output, name=layer.name: collect(name, output))
            stack.callback(handle.remove)
        yield found


def _tensors(output: Any) -> Iterator[Tensor]:
    """All tensors of an output that may be a tuple, a dict or nested ones."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _run(model: nn.Module, inputs: Inputs) -> None:
    try:
        call(model, inputs)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"the model cannot be run on the records: {error}", where=type(model).__name__) from error


def _sum(parts: list[Tensor]) -> Tensor:
    """Parts (N, dim), each centred and of the same size, added; a part that does not vary adds nothing."""
    total = torch.zeros_like(parts[0])
    for part in parts:
        exact = part.double()
        centred = exact - exact.mean(0)
        size = centred.square().mean().sqrt()
        if float(size) > 1e-6 * float(exact.square().mean().sqrt()):
            total += (centred / size).float()
    return total / math.sqrt(len(parts))


def _finite(found: Tensor, error: type[DataError] | type[ModelError], what: str, where: str) -> Tensor:
    if not bool(found.isfinite().all()):
        raise error(f"{what} are not finite", where=where, remedy="mend the data, or lower the learning rate")
    return found
