"""The content game on gradients of small networks, as an audit plays it."""

import math
from dataclasses import replace

import torch
from torch.nn import functional as F

from ptaudit.attacks.content.features import LayerForm
from ptaudit.data import Records
from ptaudit.data.contents import content_of
from ptaudit.games.content.measure import Played, measure
from ptaudit.gradients.matrices import BatchSums
from ptaudit.sketches.reader import TokenReader
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

ALONE = View("one")


def cross_entropy(output, target):
    return F.cross_entropy(output.float(), target, reduction="none")


def game(model, inputs, targets, view=ALONE, records=None):
    """What the game is played on: gradients of all records at the model's weights, summed as the view says."""
    reader = TokenReader(model, cross_entropy, dim=64, seed=0)
    reader.prepare(inputs, targets)
    tokens = reader.read(inputs, targets)
    kept = reader.gradients(inputs, targets)
    norm = tokens.total_norm_sq.double().sqrt()
    factor = torch.ones_like(norm) if view.clip is None else view.clip / norm.clamp_min(view.clip)
    values = tokens.values.double() * factor[None, :, None]
    kept = [[one.scaled(factor) for one in layer] for layer in kept]
    seen = TokenObservation(Joint.of(values, view.noise_std > 0.0).rows(values), view.noise_std,
                            BatchSums(kept, view.noise_std))  # fmt: skip
    owners = {layer.name: layer for layer in reader.source.layers}
    forms = [
        LayerForm(bool(one) and all(part.whole for part in one), "bias" in owners[layer.name].parameters)
        for one, layer in zip(kept, tokens.layers)
    ]
    content = content_of(Records(inputs, targets, None) if records is None else records)
    return Played(seen, view, forms, content.targets(inputs), content, [math.inf] * (1 + len(forms)))


def only(played, layers):
    """The same with fewer layers in view, and no joint row but theirs."""
    sums = played.observation.sums
    tokens = played.observation.tokens
    seen = TokenObservation(
        torch.cat([tokens[list(layers)], tokens[len(played.forms) :]]),
        played.observation.noise_std,
        replace(sums, layers=[sums.layers[i] for i in layers]),
    )
    return replace(played, observation=seen, forms=[played.forms[i] for i in layers],
                   most_bits=[math.inf] * (1 + len(layers)))  # fmt: skip


def found(played, family="linear", seed=0):
    return measure(played, [family], seed)[family]


def pictures(n=400, side=8, seed=0):
    """Smooth pictures in [0, 1], of two classes that say little of them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 1, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=(side, side), mode="bilinear")
    return smooth.contiguous(), torch.randint(2, (n,), generator=generator)
