"""The obviously correct, slow way to the matrices of a batch: one backward pass of the summed loss."""

import torch
from torch.nn import functional as F

from ptaudit.gradients.layers import find_layers
from ptaudit.model_input import call, rows
from ptaudit.sketches.reader import TokenReader


def cross_entropy(output, target):
    return F.cross_entropy(output.float(), target, reduction="none")


def kept_of(model, inputs, targets, loss=cross_entropy, seed=3, chunk=256):
    """A reader's matrices by layer name, its tokens, and the reader."""
    reader = TokenReader(model, loss, dim=16, seed=seed)
    reader.prepare(inputs, targets)
    tokens = reader.read(inputs, targets)
    kept = reader.gradients(inputs, targets, chunk)
    assert len(kept) == len(tokens.layers)
    return {info.name: one for info, one in zip(tokens.layers, kept)}, tokens, reader


def batch_gradient(model, inputs, targets, members, loss=cross_entropy):
    """Gradient of the summed loss of one batch, float32, by parameter path."""
    was = model.training
    model.eval()
    model.zero_grad(set_to_none=True)
    loss(call(model, rows(inputs, members)), targets[members]).sum().backward()
    found = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.to_dense().clone()
        for name, p in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    model.train(was)
    return found


def matrices(layer, grads):
    """A layer's parameters as whole matrices: each weight with the bias of its rows as last column, all else a row."""
    shapes = {name: list(p.shape) for name, p in layer.parameters.items()}
    for name, shape in shapes.items():
        while name != "weight" and len(shape) > 1 and shape[0] == 1:
            shape.pop(0)
    found, used = [], set()
    for name, shape in shapes.items():
        if len(shape) < 2:
            continue
        matrix = grads[layer.path(name)].reshape(shape[0], -1)
        used.add(name)
        bias = name.replace("weight", "bias")
        if bias != name and shapes.get(bias) == [shape[0]] and bias not in used:
            matrix = torch.cat([matrix, grads[layer.path(bias)][:, None]], 1)
            used.add(bias)
        found.append(matrix)
    rest = [grads[layer.path(name)].flatten() for name in shapes if name not in used]
    return found + ([torch.cat(rest)[None]] if rest else [])


def drawn(games, m, n, seed=5):
    """Batches of distinct records `(games, m)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(n, generator=generator)[:m] for _ in range(games)])


def assert_sums_truly(model, inputs, targets, kept, members, loss=cross_entropy, rtol=2e-5, atol=1e-7):
    """Sums of batches against plain autograd, matrix by matrix; returns the names of layers that were compared.

    The allowed error is relative to the sum of the records' norms: where records cancel, rounding is that of the parts.
    """
    layers = {layer.name: layer for layer in find_layers(model)}
    compared = []
    for name, parts in kept.items():
        if not parts:
            continue
        found = [one.sums(members) for one in parts]
        for game, batch in enumerate(members):
            expected = matrices(layers[name], batch_gradient(model, inputs, targets, batch, loss))
            assert [tuple(e.shape) for e in expected] == [one.shape for one in parts if one.whole], name
            for one, total, right in zip(parts, found, expected):
                size = float(one.norms()[batch].sum())
                assert float((total[game] - right).norm()) <= rtol * size + atol, (name, game)
        compared.append(name)
    return compared
