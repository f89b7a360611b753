"""Noise that follows the leakage: a training loop of one's own that turns its noise up and down by what it gives away.

A small network learns scikit-learn's digits. The loop adds Gaussian noise to every gradient, and `ptaudit.Monitor`
measures while it trains how many bits the noisy sum of 8 gradients gives away about which of 64 records is in it. Above
the wanted level the noise is raised, below it is lowered. A ledger adds up the bits of all steps, and the training ends
when it is full.

What this is not: differential privacy. No gradient is clipped, so that a single record may still stand out; the noise
depends on the data that it hides; and the ledger adds up what one adversary was measured to learn from single steps,
which bounds neither what another learns nor what many steps give away together. For a guarantee use DP-SGD. This shows
how a measured leakage can steer a training ("adaptive privacy budget", Meng et al., arXiv 2502.02913).

    python examples/adaptive_noise.py --wanted 0.4 --ledger 1000
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import ptaudit


class Dial:
    """The noise of the training and the ledger of what was given away; a callback of the Monitor.

    Args:
        wanted: bits that all layers jointly may give away in a step.
        ledger: bits at which the training ends.
        noise: standard deviation to begin with, per coordinate of the mean gradient.
    """

    def __init__(self, wanted: float, ledger: float, noise: float = 0.01) -> None:
        self.wanted, self.ledger, self.noise = wanted, ledger, noise
        self.given, self.last = 0.0, 0
        self.rows: list[tuple[int, float, float]] = []

    def __call__(self, step: int, layer: str, bits: ptaudit.estimate.Estimate) -> None:
        """Called before the step is taken, once for every layer; `*` is what an observer of the gradient sees."""
        if layer != "*" or not bits.conclusive:
            return
        self.given += bits.value * (step - self.last)
        self.last = step
        self.rows.append((step, self.noise, bits.value))
        interval = f"{bits.value:.2f} [{bits.lo:.2f}, {bits.hi:.2f}]"
        print(f"{step:>6}  {self.noise:.5f}  {interval:>19}  {self.given:>7.0f}", flush=True)
        if self.given >= self.ledger:
            raise ptaudit.StopTraining(f"{self.given:.0f} bits were given away, {self.ledger:.0f} allowed")
        if bits.lo > self.wanted:
            self.noise *= 1.5
        elif bits.hi < self.wanted:
            self.noise /= 1.25


def train(dial: Dial, epochs: int, budget: float, seed: int = 0) -> tuple[nn.Module, ptaudit.Monitor, float]:
    """Trains with the noise of the dial.

    Args:
        dial: the noise.
        epochs: most epochs.
        budget: share of the training's time that looking may take. These steps take less than a millisecond, so a game
            costs as much as hundreds of them; 0.1 will do for a training worth watching.
        seed: of weights, order and noise.

    Returns:
        The model, its monitor, and the accuracy on held-out records.
    """
    torch.manual_seed(seed)
    inputs, targets = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    inputs = (inputs / 16).float()
    loader = DataLoader(TensorDataset(inputs[:1400], targets[:1400]), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with ptaudit.Monitor(model, loader, budget=budget, on_leakage=dial, noise=dial.noise) as monitor:
        for _ in range(epochs):
            for x, y in loader:
                monitor.noise = dial.noise
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad += dial.noise * torch.randn_like(parameter)
                optimizer.step()

    with torch.no_grad():
        right = model(inputs[1400:]).argmax(1) == targets[1400:]
    return model, monitor, right.float().mean().item()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Noise that follows the measured leakage of a training.")
    parser.add_argument("--wanted", type=float, default=0.4, help="bits a step may give away (default 0.4)")
    parser.add_argument("--ledger", type=float, default=1000.0, help="bits at which training ends (default 1000)")
    parser.add_argument("--epochs", type=int, default=200, help="most epochs (default 200)")
    parser.add_argument("--budget", type=float, default=1.0, help="share of time for looking (default 1.0)")
    given = parser.parse_args()

    print("  step    noise   bits given away      ledger")
    _, monitor, accuracy = train(Dial(given.wanted, given.ledger), given.epochs, given.budget)
    print(monitor)
    print(f"held-out accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
