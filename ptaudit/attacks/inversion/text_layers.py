"""Where in a model tokens are read: its embedding, and layers that are given a vector at each position of a text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.attacks.inversion.linear_layers import typical
from ptaudit.attacks.inversion.messages import Granted
from ptaudit.model_input import Inputs, call

Called = list[tuple[str, nn.Module, Tensor]]
"""Modules that were called once, in the order of the calls, each with what it was given."""


@dataclass(frozen=True)
class TokenLayer:
    """A layer with a weight that is given a vector at each position of a text.

    The gradient of such a weight is a sum of outer products with these vectors.

    Attributes:
        path: of the module.
        weights: paths of the weights that are given these vectors, each `(rows, E)`.
        records_first: whether what it is given is `(n, P, E)`; else `(P, n, E)`.
        reads: `own` where a vector depends on the token of its own position alone, `before` where on that and the ones
            before, `all` where on others too.
    """

    path: str
    weights: tuple[str, ...]
    records_first: bool
    reads: str

    def given(self, granted: Granted, inputs: Inputs) -> Tensor:
        """What it is given for some texts, `(n, P, E)` float64."""
        found = next(given for path, _, given in _called(granted, inputs) if path == self.path)
        return (found if self.records_first else found.transpose(0, 1)).double()


def embedding_layer(granted: Granted) -> str | None:
    """Path of the embedding that is given the token ids; None without one."""
    ids = typical(granted.space, 3, granted.device)
    return next((path for path, _, given in _embeddings(granted, ids) if torch.equal(given, ids)), None)


def position_layer(granted: Granted) -> str | None:
    """Path of the embedding that is given 0, 1, 2, ... for the positions of every text; None without one."""
    ids = typical(granted.space, 3, granted.device)
    length = ids.shape[1]
    given = {path: given for path, _, given in _embeddings(granted, ids) if given.shape[-1:] == (length,)}
    places = torch.arange(length, device=ids.device)
    return next((path for path, one in given.items() if torch.equal(one, places.expand_as(one))), None)


def token_layers(granted: Granted, shared: Collection[str]) -> list[TokenLayer]:
    """The layers with a weight among those that are shared, in the order in which a text passes them.

    Weights that are given the same vectors, as queries, keys and values often are, are one layer.
    """
    (length,) = granted.space.shape
    number = 2 if length != 2 else 3
    ids = typical(granted.space, number, granted.device)
    changed, place = ids.clone(), length // 2
    changed[:, place] = (ids[:, place] + 1) % (granted.space.vocabulary or 1)
    found: list[TokenLayer] = []
    vectors: list[Tensor] = []
    both = zip(_called(granted, granted.space.inputs(ids)), _called(granted, granted.space.inputs(changed)))
    for (path, module, given), (_, _, other) in both:
        weight = f"{path}.{'in_proj_weight' if isinstance(module, nn.MultiheadAttention) else 'weight'}".lstrip(".")
        sides = list(given.shape[:2])
        if weight not in shared or given.dim() != 3 or sorted(sides) != sorted([number, length]):
            continue
        first = sides[0] == number
        moved = ((given - other).abs().amax(2) > 0.0).any(0 if first else 1)
        if not bool(moved[place]):
            continue
        same = next((i for i, known in enumerate(vectors) if known.shape == given.shape and known.equal(given)), None)
        if same is None:
            vectors.append(given)
            found.append(TokenLayer(path, (weight,), first, _reads(moved, place)))
        else:
            found[same] = TokenLayer(found[same].path, (*found[same].weights, weight), first, found[same].reads)
    return found


def _reads(moved: Tensor, place: int) -> str:
    """Which tokens vectors depend on, if those that moved when the token of a place did are `(P,)`."""
    if bool(moved[:place].any()):
        return "all"
    return "before" if bool(moved[place + 1 :].any()) else "own"


def _embeddings(granted: Granted, ids: Tensor) -> Called:
    return [one for one in _called(granted, granted.space.inputs(ids)) if isinstance(one[1], nn.Embedding)]


def _called(granted: Granted, inputs: Inputs) -> Called:
    """Embeddings, linear layers and self-attentions."""
    calls: dict[str, list[Tensor]] = {}
    modules = {
        path: module
        for path, module in granted.model.named_modules()
        if isinstance(module, nn.Embedding | nn.Linear | nn.MultiheadAttention)
    }

    def keep(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        attends = isinstance(modules[path], nn.MultiheadAttention)
        if isinstance(given[0], Tensor) and (not attends or given[0] is given[1]):
            calls.setdefault(path, []).append(given[0].detach().clone())

    hooks = [
        module.register_forward_pre_hook(lambda _, args, kwargs, path=path: keep(path, args, kwargs), with_kwargs=True)
        for path, module in modules.items()
    ]
    try:
        with torch.no_grad():
            call(granted.model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [(path, modules[path], given[0]) for path, given in calls.items() if len(given) == 1]
