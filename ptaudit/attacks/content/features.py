"""What a decoder is shown of the gradient of a batch, layer by layer.

A linear layer's gradient is a sum of outer products: output gradient times input, the input of a bias being 1. Of one
record every row is a multiple of its input, and the multiple stands in the bias column: dividing gives the input back
(Phong et al., "Privacy-preserving deep learning via additively homomorphic encryption", IEEE TIFS 13, 2018; Geiping et
al., arXiv 2003.14053, proposition 3.1). Of a batch it is a weighted mean of the inputs. The gradient of an embedding
has a row for every token that occurs. Where such numbers line up with the record's own, they are marked as aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.usable.family import FeatureMap, compressed, direction, plain
from ptaudit.views.observation import Observation, TokenObservation
from ptaudit.views.view import View

WHOLE = 2048
"""Layers of at most so many numbers are shown whole; of others the sketch."""

FARTHEST = 50.0
"""Largest ratio of an entry to the bias of its row: a vanishing bias says nothing."""

POWER_STEPS = 4
"""Of the iteration towards the leading singular vector."""

DECODED = ("shares", "row sizes")
"""What decoders are fitted to; the others say the same in another way, and are of use where they are aligned."""

_TINY = 1e-30
_USED = 1e-9


@dataclass(frozen=True)
class Block:
    """One way of looking at some layers of G batches.

    Attributes:
        places: the layers, as rows of the tokens that the view shares.
        values: `(G, d)` float32.
        maps: how they may be scaled for a decoder; without any only those that are aligned are looked at.
        aligned: whether number j is about number j of the record.
    """

    places: tuple[int, ...]
    values: Tensor
    maps: tuple[FeatureMap, ...]
    aligned: bool = False


@dataclass(frozen=True)
class LayerForm:
    """What is known of a layer's matrices.

    Attributes:
        whole: whether they are known, and neither side is projected.
        bias: whether the last column is the bias.
    """

    whole: bool
    bias: bool


@dataclass(frozen=True)
class Alignment:
    """How a record's numbers may line up with those of a layer.

    Attributes:
        width: numbers of a record (D): so many columns may be its inputs.
        rows: of sequences of tokens, the row of an embedding for each of the D tokens; None for other records.
    """

    width: int
    rows: Tensor | None = None


def blocks_of(
    observation: Observation,
    members: Tensor,
    view: View,
    forms: Sequence[LayerForm],
    alignment: Alignment,
    generator: torch.Generator,
) -> list[Block]:
    """Everything that decoders look at.

    Args:
        observation: what is seen.
        members: records of each batch, `(r, G, m)`.
        view: rounds, and whether all show one batch.
        forms: of the L layers that it shares.
        alignment: how records may line up with a layer.
        generator: of what is random in the view.

    Returns:
        Blocks of each layer, then those of all layers jointly. Several rounds are averaged.
    """
    if view.fixed_batch and view.rounds > 1:
        if isinstance(observation, TokenObservation):
            observation = observation.quieter(view.rounds)
        elif observation.random:
            members = members.expand(view.rounds, -1, -1)
    rounds = [_of_round(observation, batch, forms, alignment, generator) for batch in members]
    sketches = torch.stack([sketch for sketch, _ in rounds]).mean(0).float()
    found: list[Block] = []
    general: list[Tensor] = []
    for place in range(len(forms)):
        read = {name: torch.stack([notes[place][name] for _, notes in rounds]).mean(0) for name in rounds[0][1][place]}
        whole = read.pop("whole", None)
        general.append(sketches[place] if whole is None else whole)
        found.append(Block((place,), general[-1], (plain, direction)))
        for name, values in read.items():
            aligned, maps = values.shape[1] == alignment.width, (plain,) if name in DECODED else ()
            found += [Block((place,), values, maps, aligned)] if aligned or maps else []
    every = tuple(range(len(forms)))
    if observation.random:  # only the whole gradient's sketch has the noise of the mechanism
        return [*found, *(Block(every, row, (plain, direction)) for row in sketches[len(forms) :])]
    return [*found, Block(every, torch.cat([_even(one) for one in general], 1), (plain,))]


def _even(values: Tensor) -> Tensor:
    """Rows of about unit length on a logarithmic scale, so that no layer drowns the others."""
    length = torch.linalg.vector_norm(values, dim=1)
    typical = length[length > _TINY].median().nan_to_num(1.0)
    found: Tensor = compressed(values, typical) / values.shape[1] ** 0.5
    return found


def _of_round(
    observation: Observation,
    batch: Tensor,
    forms: Sequence[LayerForm],
    alignment: Alignment,
    generator: torch.Generator,
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Sketches `(R, G, k)`, and of every layer what its matrices tell, by name, `(G, d)` each."""
    parts: list[list[dict[str, Tensor]]] = []
    if any(form.whole for form in forms):
        for matrices in observation.read(batch, generator):
            parts.append([_of_layer(layer, form, alignment) for layer, form in zip(matrices, forms)])
    sketches = observation.observe(batch, generator)
    if not parts:
        return sketches, [{} for _ in forms]
    return sketches, [{name: torch.cat([one[name] for one in same]) for name in same[0]} for same in zip(*parts)]


def _of_layer(matrices: Sequence[Tensor], form: LayerForm, alignment: Alignment) -> dict[str, Tensor]:
    """What the matrices `(g, rows, columns)` of one layer tell."""
    if not form.whole or not matrices:
        return {}
    found = {}
    if sum(one[0].numel() for one in matrices) <= WHOLE:
        found["whole"] = torch.cat([one.flatten(1) for one in matrices], 1)
    weight = matrices[0]
    if alignment.rows is not None and weight.shape[1] > int(alignment.rows.max()):
        size = torch.linalg.vector_norm(weight[:, alignment.rows.to(weight.device)], dim=2)
        most = size.amax(1, keepdim=True).clamp_min(_TINY)
        found["used rows"] = (size > _USED * most).float()
        found["row sizes"] = (size / most).clamp_min(_USED).log10() / 9.0 + 1.0
    if form.bias and weight.shape[2] > 2:
        found |= inputs_of(weight)
    return found


def inputs_of(weight: Tensor) -> dict[str, Tensor]:
    """What a layer's input was, from its gradient with the bias as last column, `(g, rows, 1 + d)` -> `(g, d)` each.

    `shares`: every column as a multiple of the bias column, by least squares; `largest`: the row with the largest bias;
    `leading`: the leading right singular vector; each divided by its bias, and exact for one outer product.
    `magnitudes`: the sizes of the columns in units of that of the bias, 0 where no record uses the input.
    """
    bias = weight[:, :, -1]
    shares = (bias[:, None] @ weight)[:, 0]
    place = bias.abs().argmax(1)
    largest = weight[torch.arange(len(weight), device=weight.device), place]
    leading = shares
    for _ in range(POWER_STEPS):
        leading = torch.nn.functional.normalize(leading, dim=1)
        leading = (weight.mT @ (weight @ leading[..., None]))[..., 0]
    size = torch.linalg.vector_norm(weight, dim=1)
    found = {"shares": shares, "largest": largest, "leading": leading, "magnitudes": size}
    return {name: _by_last(values) for name, values in found.items()}


def _by_last(values: Tensor) -> Tensor:
    last = values[:, -1:]
    ratio = values[:, :-1] / torch.where(last.abs() > _TINY, last, 1.0)
    return torch.where(last.abs() > _TINY, ratio, 0.0).nan_to_num(0.0).clamp(-FARTHEST, FARTHEST)
