"""What is attacked: the frozen table of cases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One game on one view of one epoch.

    Attributes:
        name: of the case.
        spec: which training, see `redteam_specs`.
        game: name or id of the game.
        view: name of the view.
        epoch: audited epoch.
        floor: bits that an attack is known to find; None where none is.
    """

    name: str
    spec: str
    game: str
    view: str
    epoch: int
    floor: float | None = None


CASES = (
    # A convolutional network on digits: that of the quickstart.
    Case("digits-identity-8", "digits", "identity", "plain-8", 8, 7.77),
    Case("digits-identity-32", "digits", "identity", "plain-32", 8, 7.22),
    Case("digits-identity-32-untrained", "digits", "identity", "plain-32", 0),
    Case("digits-label-8", "digits-label", "label", "plain-8", 8),
    Case("digits-identity-noise-untrained", "digits-noise", "identity", "noise", 0),
    Case("digits-identity-noise", "digits-noise", "identity", "noise", 8),
    Case("digits-identity-sign-8", "digits-defended", "identity", "sign-8", 8),
    Case("digits-identity-sign-32", "digits-defended", "identity", "sign-32", 8),
    Case("digits-identity-prune-8", "digits-defended", "identity", "prune-8", 8),
    Case("digits-identity-update-32", "digits-update", "identity", "update-32", 8),
    # A network for tables on Adult.
    Case("adult-identity-8", "adult", "identity", "batch-8", 3, 7.88),
    Case("adult-identity-32", "adult", "identity", "batch-32", 3, 3.33),
    Case("adult-identity-32-untrained", "adult", "identity", "batch-32", 0),
    Case("adult-identity-sign-32", "adult-defended", "identity", "sign-32", 3),
    Case("adult-identity-update-32", "adult-update", "identity", "update-32", 3),
    Case("adult-property-1", "adult-batch", "property", "batch-1", 3, 1.0),
    Case("adult-property-8", "adult-batch", "property", "batch-8", 3, 1.0),
    Case("adult-property-64", "adult-batch", "property", "batch-64", 3, 1.0),
    Case("adult-property-512", "adult-large", "property", "batch-512", 3),
    Case("adult-property-noise", "adult-noise", "property", "noise", 3),
    Case("adult-distribution-1", "adult-batch", "distribution", "batch-1", 3, 0.266),
    Case("adult-distribution-8", "adult-batch", "distribution", "batch-8", 3, 0.806),
    Case("adult-distribution-64", "adult-batch", "distribution", "batch-64", 3, 0.942),
    Case("adult-distribution-noise", "adult-noise", "distribution", "noise", 3),
    Case("adult-sex-8", "adult-record", "sex", "batch-8", 3, 0.070),
    Case("adult-sex-known-8", "adult-record", "sex-known", "batch-8", 3, 0.426),
    Case("adult-race-8", "adult-record", "race", "batch-8", 3),
    Case("adult-race-known-8", "adult-record", "race-known", "batch-8", 3),
    # A convolutional network on Fashion-MNIST.
    Case("fashion-identity-8", "fashion", "identity", "batch-8", 4, 7.98),
    Case("fashion-identity-32", "fashion", "identity", "batch-32", 4, 7.95),
    Case("fashion-label-8", "fashion-label", "label", "batch-8", 4),
    Case("fashion-property-8", "fashion-property", "property", "batch-8", 4, 0.960),
    Case("fashion-property-32", "fashion-property", "property", "batch-32", 4, 0.594),
    # A ResNet with GroupNorm on CIFAR-10.
    Case("resnet-identity-2", "resnet", "identity", "batch-2", 4),
    Case("resnet-identity-8", "resnet", "identity", "batch-8", 4),
    Case("resnet-label-8", "resnet-label", "label", "batch-8", 4),
    # A Transformer, and a bag of words, on short messages.
    Case("transformer-identity-8", "transformer", "identity", "batch-8", 4),
    Case("transformer-identity-32", "transformer", "identity", "batch-32", 4),
    Case("transformer-label-8", "transformer-batch", "label", "batch-8", 4),
    Case("transformer-digits-8", "transformer-batch", "digits", "batch-8", 4),
    Case("embedding-identity-64", "embedding", "identity", "batch-64", 4),
    Case("embedding-distribution-8", "embedding", "distribution", "batch-8", 4),
    # Patients who came several times.
    Case("users-1", "users", "user", "users-1", 3),
    Case("users-4", "users", "user", "users-4", 3),
)

QUICK = (
    Case("digits-identity-32", "digits-quick", "identity", "plain-32", 8, 7.22),
    Case("adult-quick-property-8", "adult-quick", "property", "batch-8", 3, 0.95),
)
"""Cases that say something within the time of a test."""
