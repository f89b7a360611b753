"""Whole models against one-record autograd: how each layer is captured, and that it is then right."""

import importlib.util
from pathlib import Path

import pytest
import token_models as models
import torch
from token_reference import assert_reads_truly, cross_entropy, per_record_gradients
from torch import nn

from ptaudit.sketches.reader import TokenReader

N = 6
SAMPLES = Path(__file__).parents[2] / "sample_models"
STRUCTURES = {
    "module used several times": (models.Twice, (6,), {"stem": "rule", "shared": "rule", "head": "rule"}),
    "convolution used on two sizes": (models.Pyramid, (2, 6, 6), {"conv": "rule"}),
    "frames folded into rows": (
        models.Frames,
        (3, 1, 5, 5),
        {"conv": "rule", "norm": "rule", "fc": "rule", "embed": "rule"},
    ),
    "frames folded into rows, time first": (
        lambda: models.Frames(time_first=True),
        (3, 1, 5, 5),
        {"conv": "rule", "norm": "rule", "fc": "rule", "embed": "rule"},
    ),
    "in-place operations": (
        models.InPlace,
        (2, 4, 4),
        {"conv1": "rule", "bn1": "rule", "conv2": "rule", "fc": "rule", "head": "rule"},
    ),
    "own parameters and functional use": (models.Custom, (4, 6), {"(root)": "rule", "fc": "rule"}),
    "unused and frozen": (
        models.Heads,
        (6,),
        {"body": "rule", "head": "rule", "idle": "none", "aside": "none"},
    ),
    "zero-initialised branch": (
        models.ZeroBranch,
        (1, 4, 4),
        {"stem": "rule", "odd": "vmap", "plain": "rule", "norm": "rule"},
    ),
    "activation checkpoint": (models.Checkpointed, (6,), {"stem": "rule", "inside": "rule", "head": "rule"}),
    "LSTM": (models.Recurrent, (4, 5), {"lstm": "vmap", "head": "rule"}),
}


def targets(n=N, classes=3):
    return torch.arange(n) % classes


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name):
    make, shape, captures = STRUCTURES[name]
    torch.manual_seed(0)
    model = make().train()
    inputs = torch.randn(N, *shape)
    if name == "zero-initialised branch":  # checked at zero, read where it has a gradient
        reader = TokenReader(model, cross_entropy, dim=16)
        reader.prepare(inputs, targets())
        assert {info.name: info.capture for info in reader.layers} == captures
        nn.init.normal_(model.norm.weight)
    assert_reads_truly(model, inputs, targets(), captures)


def test_shared_weight_belongs_to_its_first_module():
    torch.manual_seed(0)
    captures = {"embed": "rule", "mix": "rule", "decode": "rule"}
    index = torch.randint(0, 7, (N, 4))
    reader, _ = assert_reads_truly(models.Tied(), index, targets(classes=7), captures)
    assert [info.parameters for info in reader.layers] == [35, 30, 7]


def test_attention_with_a_table_of_positions():
    torch.manual_seed(0)
    captures = dict.fromkeys(("embed", "place", "attend", "attend.out_proj", "norm", "head"), "rule")
    assert_reads_truly(models.Attention(), torch.randint(0, 9, (N, 4)), targets(), captures)


def test_embedding_that_a_rule_does_not_cover():
    torch.manual_seed(0)
    index = torch.randint(0, 5, (N, 3))
    sparse = nn.Sequential(nn.Embedding(5, 4, sparse=True), models.Readout())
    assert_reads_truly(sparse, index, targets(), {"0": "loop"})
    renormed = nn.Sequential(nn.Embedding(5, 4, max_norm=0.5), models.Readout())
    before = renormed[0].weight.detach().clone()
    reader = TokenReader(renormed, cross_entropy, dim=16)
    reader.prepare(index, targets())
    reader.read(index, targets())
    assert torch.equal(renormed[0].weight, before)
    assert reader.layers[0].capture == "loop"


def test_gradient_scaled_by_the_batch_is_not_captured():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(3, 4, scale_grad_by_freq=True), models.Readout())
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(torch.randint(0, 3, (N, 3)), targets())
    assert reader.layers[0].capture == "none"
    assert "do not add up" in reader.layers[0].reason


BATCH_STATISTICS = {
    "pictures": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), models.Readout()
        ),
        (1, 5, 5),
        "do not add up",
    ),
    "rows": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), models.Readout()),
        (5,),
        "no single record passes through the model",
    ),
    "random in eval mode": (models.Noisy, (6,), "random in eval mode"),
}


@pytest.mark.parametrize("name", BATCH_STATISTICS)
def test_what_mixes_records_is_not_captured(name):
    make, shape, reason = BATCH_STATISTICS[name]
    torch.manual_seed(0)
    reader = TokenReader(make(), cross_entropy, dim=16)
    reader.prepare(torch.randn(N, *shape), targets())
    assert {info.capture for info in reader.layers} == {"none"}
    assert all(reason in info.reason for info in reader.layers)
    tokens = reader.read(torch.randn(N, *shape), targets())
    assert tokens.values.shape == (0, N, 16)
    assert tokens.norm_sq.shape == (0, N)
    assert not tokens.complete


def test_a_late_use_of_an_unused_layer_is_noticed():
    torch.manual_seed(0)
    inputs = torch.randn(N, 6)
    reader, tokens = assert_reads_truly(models.Switch(), inputs, targets(), {"body": "rule", "rare": "none"})
    assert reader.layers[1].reason == "unused: receives no gradient"
    inputs[-1, 0] = 100
    assert tokens.complete
    assert not reader.read(inputs, targets()).complete


def test_train_mode_batch_norm_is_read_with_its_running_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), models.Readout()).train()
    model(5 + 3 * torch.randn(32, 1, 5, 5))  # moves the running statistics
    assert_reads_truly(model, torch.randn(N, 1, 5, 5), targets(), {"0": "rule", "1": "rule"})


def load_sample(name):
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAMPLE_MODELS = {
    "lenet": (lambda: load_sample("lenet").lenet(num_classes=10, channels=1, size=8), (1, 8, 8)),
    "lenet in colour": (lambda: load_sample("lenet").lenet(num_classes=10, channels=3, size=32), (3, 32, 32)),
    "mlp": (lambda: load_sample("mlp").mlp(features=13, num_classes=3, hidden=(32, 16)), (13,)),
    "resnet18": (lambda: load_sample("resnet18").resnet18_gn(num_classes=10, channels=3), (3, 16, 16)),
}


@pytest.mark.parametrize("name", SAMPLE_MODELS)
def test_sample_models(name):
    make, shape = SAMPLE_MODELS[name]
    torch.manual_seed(0)
    model = make().double()  # no record is then at a kink of ReLU, where rounding decides the gradient
    n = 3 if name == "resnet18" else N
    captures = {path: "rule" for path, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert_reads_truly(model, torch.randn(n, *shape).double(), targets(n), captures, dim=64)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_unmodified_torchvision(name):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=10).double()
    captures = {path: "rule" for path, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert_reads_truly(model, torch.randn(3, 3, 40, 40).double(), targets(3), captures)


def test_a_record_at_a_kink_is_no_mixing():
    """In float32, a ReLU of this model goes one way for a record alone and the other way in the batch."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    reader = TokenReader(torchvision.models.squeezenet1_1(num_classes=10), cross_entropy, dim=16)
    reader.prepare(torch.randn(3, 3, 64, 64), targets(3))
    assert {info.capture for info in reader.layers} == {"rule"}


def test_bfloat16_model_gives_float32_tokens():
    torch.manual_seed(0)
    model = models.InPlace().to(torch.bfloat16)
    captures = {"conv1": "rule", "bn1": "rule", "conv2": "rule", "fc": "rule", "head": "rule"}
    assert_reads_truly(model, torch.randn(N, 2, 4, 4, dtype=torch.bfloat16), targets(), captures, rtol=0.05)


@pytest.mark.parametrize("where", ["around the read", "inside the model"])
def test_autocast(where):
    torch.manual_seed(0)
    plain, inputs = models.InPlace(), torch.randn(N, 2, 4, 4)

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = plain

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.body(x)

    grads = per_record_gradients(plain, cross_entropy, inputs, targets())
    true = sum(g.flatten(1).square().sum(1) for g in grads.values())
    reader = TokenReader(Inside() if where == "inside the model" else plain, cross_entropy, dim=16)
    with torch.autocast("cpu", torch.bfloat16, enabled=where == "around the read"):
        reader.prepare(inputs, targets())
        tokens = reader.read(inputs, targets())
    assert {info.capture for info in reader.layers} == {"rule"}
    assert tokens.values.dtype == torch.float32
    torch.testing.assert_close(tokens.total_norm_sq, true, rtol=0.1, atol=0)
