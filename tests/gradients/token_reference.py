"""The obviously correct, slow way to tokens: one record at a time by autograd, projected by dense matrices."""

import torch
from torch.nn import functional as F

from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.projection import FoldedBlock, LayerSketch, MatrixBlock
from ptaudit.model_input import call, rows
from ptaudit.sketches.reader import TokenReader


def cross_entropy(output, target):
    return F.cross_entropy(output.float(), target, reduction="none")


def per_record_gradients(model, loss, inputs, targets):
    """Parameter name -> (n, *shape), zeros where the loss does not depend on it; the model is put in eval mode."""
    model.eval()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = []
    for i in range(len(targets)):
        for _, p in named:
            p.grad = None
        loss(call(model, rows(inputs, slice(i, i + 1))), targets[i : i + 1]).sum().backward()
        found.append([torch.zeros_like(p) if p.grad is None else p.grad.to_dense().clone() for _, p in named])
    for _, p in named:
        p.grad = None
    return {name: torch.stack([row[k] for row in found]).float() for k, (name, _) in enumerate(named)}


def dense_projection(block, shapes):
    """(dim, numbers) matrix of one block on its parameters side by side, each flattened."""
    if isinstance(block, MatrixBlock):
        weight = _kron(block.left, block.right)
        if block.bias is None:
            return (block.weight,), weight
        return (block.weight, block.bias), torch.cat([weight, _kron(block.left, block.corner[:, None])], dim=1)
    if isinstance(block, FoldedBlock):
        length = sum(shapes[name].numel() for name in block.names)
        return block.names, _kron(block.left, block.right)[:, :length]
    return block.names, block.matrix


def _flat(x):
    return x.reshape(len(x), -1)


def _kron(left, right):
    return torch.einsum("ar,bc->abrc", left, right).reshape(len(left) * len(right), -1)


def project(layer, grads, dim, seed):
    """Tokens (n, dim) of a layer's gradients."""
    shapes = {name: p.shape for name, p in layer.parameters.items()}
    total = 0
    for block in LayerSketch(layer.name, shapes, dim, seed).blocks:
        names, matrix = dense_projection(block, shapes)
        total = total + torch.cat([_flat(grads[layer.path(name)]) for name in names], dim=1) @ matrix.T
    return total


def relative(a, b):
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def assert_reads_truly(
    model, inputs, targets, captures, *, loss=cross_entropy, dim=16, seed=3, chunk=4, rtol=2e-4, complete=True
):
    """Tokens, norms and losses against the reference, and each layer captured in the way that was expected."""
    reader = TokenReader(model, loss, dim=dim, seed=seed)
    reader.prepare(inputs, targets)
    assert {info.name: info.capture for info in reader.layers} == captures, [info.reason for info in reader.layers]
    tokens = reader.read(inputs, targets, chunk=chunk)
    grads = per_record_gradients(model, loss, inputs, targets)
    layers = {layer.name: layer for layer in find_layers(model)}
    assert [info.name for info in tokens.layers] == [name for name, how in captures.items() if how != "none"]
    assert tokens.values.dtype == tokens.norm_sq.dtype == torch.float32
    total = torch.zeros(len(targets))
    for row, info in enumerate(tokens.layers):
        layer = layers[info.name]
        norm_sq = sum(_flat(grads[layer.path(name)]).square().sum(1) for name in layer.parameters)
        total += norm_sq
        assert norm_sq.any(), f"{info.name} has no gradient: nothing was compared"
        assert relative(tokens.norm_sq[row], norm_sq) < rtol, info
        assert relative(tokens.values[row], project(layer, grads, dim, seed)) < rtol, info
    assert relative(tokens.total_norm_sq, total) < rtol
    assert relative(tokens.loss, loss(call(model, inputs), targets).detach().float()) < rtol
    assert tokens.complete is complete
    return reader, tokens
