"""Every way of training, stopped after an epoch and taken up again, ends with the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ptaudit.training.checkpoint import CheckpointStore

DP = {"name": "dp_sgd", "clip": 0.5, "noise_multiplier": 0.7}
FEATURES = {
    "smoothing": {"label_smoothing": 0.1},
    "accumulate": {"accumulate": 3},
    "clip": {"clip_norm": 0.1},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16", "accumulate": 2, "clip_norm": 1.0},
    "sam": {"sam": {"rho": 0.1}},
    "asam-fp16": {"sam": {"rho": 0.5, "adaptive": True}, "precision": "fp16", "accumulate": 2},
    "dp": {"defense": DP},
    "dp-adam": {"defense": DP, "optimizer": {"name": "adam", "lr": 0.01}, "accumulate": 2},
    "dp-shuffle": {"defense": DP | {"sampling": "shuffle"}},
    "dp-target": {"defense": {"name": "dp_sgd", "clip": 0.5, "epsilon": 5.0}},
}


class StopHereError(Exception):
    pass


class Net(nn.Module):
    """Dropout, and a parameter that only `vmap` can clip."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.shift = nn.Parameter(torch.zeros(4))
        self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(16, 3))

    def forward(self, x):
        return self.body(x + self.shift)


def layers(seed: int) -> nn.Module:
    return Net(seed).body


@pytest.mark.parametrize(
    ("feature", "make"),
    [*((feature, layers) for feature in FEATURES), ("fp16", Net), ("dp", Net)],
)
def test_resumed_run_ends_with_the_same_bits(replay, tmp_path, feature, make):
    settings = {"epochs": 3, "schedule": {"name": "cosine"}, **FEATURES[feature]}
    if "defense" in settings:
        pytest.importorskip("opacus")
    whole = replay(model=make(0), **settings)
    if feature == "fp16":
        # A step of the first epoch overflows: the scale is then part of what must come back.
        whole.step.load(whole.step.state() | {"scale": 2.0**40})
    stats = whole.run((), ())

    def stop(moment):
        if moment.epoch == 2:
            raise StopHereError

    store = CheckpointStore(tmp_path, {})
    cut = replay(model=make(0), **settings)
    if feature == "fp16":
        cut.step.load(cut.step.state() | {"scale": 2.0**40})
    with pytest.raises(StopHereError):
        cut.run(range(4), [stop], checkpoint=store)
    resumed = replay(model=make(9), **settings)
    torch.rand(7)  # the global generator has no say
    assert resumed.run((), (), checkpoint=store) == stats
    for (name, value), other in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert resumed.step.state() == whole.step.state()


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_changes_the_training(replay, feature):
    """A key that did nothing would pass all other tests here."""
    settings = FEATURES[feature]
    if "defense" in settings:
        pytest.importorskip("opacus")
    plain = replay(model=layers(0), epochs=1, optimizer=settings.get("optimizer", {"name": "sgd", "lr": 0.1}))
    with_it = replay(model=layers(0), epochs=1, **({"optimizer": {"name": "sgd", "lr": 0.1}} | settings))
    plain.run((), ())
    with_it.run((), ())
    assert not all(map(torch.equal, plain.model.state_dict().values(), with_it.model.state_dict().values()))
