"""Training loops as users write them, and what must be the same after them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

ALWAYS = 1e9
"""A budget that lets every pass be captured: what happens then does not depend on the clock."""


def net(**changes):
    torch.manual_seed(0)
    layers = {"a": nn.Linear(6, 16), "act": nn.ReLU(), "drop": nn.Dropout(0.3), "b": nn.Linear(16, 3)} | changes
    return nn.Sequential(*layers.values()) if not changes else nn.Sequential(*(x for x in layers.values() if x))


def data(records=320, size=32, seed=0, **options):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(records, 6, generator=draws)
    y = torch.randint(0, 3, (records,), generator=draws)
    return DataLoader(TensorDataset(x, y), size, shuffle=True, **options)


def sgd(model, rate=0.1):
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def plain(model, loader, epochs=2):
    optimizer = sgd(model)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def accumulating(model, loader):
    optimizer = sgd(model)
    for number, (x, y) in enumerate([*loader, *loader], start=1):
        (F.cross_entropy(model(x), y) / 4).backward()
        if number % 4 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)


def validating(model, loader):
    optimizer = sgd(model)
    for _ in range(2):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            model.eval()
            with torch.inference_mode():
                model(x)
            model.train()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            model(x)


def scaled(model, loader):
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    for x, y in [*loader, *loader]:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x).float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def by_hand(model, loader):
    for x, y in [*loader, *loader]:
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None


def lbfgs(model, loader):
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    for x, y in loader:

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


def attacking(model, loader):
    """Adversarial training: passes that differentiate by the inputs come before the one that trains."""
    optimizer = sgd(model)
    for x, y in [*loader, *loader]:
        near = x.clone()
        for _ in range(2):
            near.requires_grad_(True)
            (way,) = torch.autograd.grad(F.cross_entropy(model(near), y), near)
            near = (near + 0.01 * way.sign()).detach()
        optimizer.zero_grad()
        F.cross_entropy(model(near), y).backward()
        optimizer.step()


LOOPS = (plain, accumulating, validating, scaled, by_hand, lbfgs, attacking)


def trace(model):
    """All that could be left behind: hooks, flags and other attributes of modules and parameters, and of torch."""
    from torch.optim import optimizer

    inside = ("_parameters", "_buffers", "_modules")
    modules = {
        (path, key): repr(value)
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in inside
    }
    parameters = {
        (name, key): repr(getattr(p, key))
        for name, p in model.named_parameters()
        for key in ("_backward_hooks", "_post_accumulate_grad_hooks", "requires_grad", "__dict__")
    }
    hooks = len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks)
    return modules, parameters, hooks, F.linear
