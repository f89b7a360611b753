"""The sample models that are more than layers in a row: read by rules throughout, of the published size."""

import importlib.util
from pathlib import Path

import pytest
import torch
from token_reference import assert_reads_truly
from torch import nn

from ptaudit.gradients.layers import find_layers

N = 4
TARGETS = torch.arange(N) % 2


def sample(name, **args):
    path = Path(__file__).parents[2] / "sample_models" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"sample_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)(**args)


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def by_rules(model):
    return {layer.name: "rule" for layer in find_layers(model)}


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", ["resnet20", "wrn"])
def test_residual_networks(name, norm):
    torch.manual_seed(0)
    args = {"depth": 10, "width": 1} if name == "wrn" else {}
    model = sample(name, norm=norm, **args).double()  # no record is then at a kink of ReLU
    model.train()(torch.randn(16, 3, 16, 16).double())  # moves running statistics
    assert_reads_truly(model, torch.randn(N, 3, 16, 16).double(), TARGETS, by_rules(model))


def test_published_sizes():
    # He et al., table 6: 0.27 million. Zagoruyko and Komodakis, tables 4 and 5: 2.7 and 36.5 million.
    assert size(sample("resnet20")) == 269_722
    assert size(sample("wrn", depth=16, width=4)) == pytest.approx(2.7e6, rel=0.03)
    assert size(sample("wrn", depth=28, width=10)) == pytest.approx(36.5e6, rel=0.002)
    convolutions = [m for m in sample("wrn", depth=28, width=1).modules() if isinstance(m, nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions) == 28 - 3  # and three that match shapes


def test_group_norm_keeps_records_apart_in_training_and_batch_norm_does_not():
    torch.manual_seed(0)
    x = torch.randn(N, 3, 16, 16)
    for name in ("resnet20", "wrn"):
        for norm, alike in (("group", True), ("batch", False)):
            model = sample(name, norm=norm).train()
            assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-4) is alike


@pytest.mark.parametrize("form", ["dict", "tuple", "ids alone"])
def test_transformer(form):
    torch.manual_seed(0)
    model = sample("transformer", vocab=11, length=6, width=8, heads=2)
    ids, mask = torch.randint(0, 11, (N, 6)), torch.ones(N, 6, dtype=torch.bool)
    mask[1, 3:] = False
    mask[3, 1:] = False
    inputs = {"dict": {"ids": ids, "mask": mask}, "tuple": (ids, mask.long()), "ids alone": ids}[form]
    reader, _ = assert_reads_truly(model.train(), inputs, TARGETS, by_rules(model))
    assert {info.layout for info in reader.layers} == {""}  # so that live capture can read it too


def test_transformer_ignores_what_is_masked():
    torch.manual_seed(0)
    model = sample("transformer", vocab=11, length=6, width=8, heads=2).eval()
    ids = torch.randint(1, 11, (2, 6))
    other = ids.clone()
    other[:, 4:] = 0
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * 2)
    torch.testing.assert_close(model(ids, mask), model(other, mask))
    torch.testing.assert_close(model(ids, mask), model(ids[:, :4]))
    assert not torch.allclose(model(ids), model(other))
    assert model(ids, torch.zeros(2, 6)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "args", "match"),
    [
        ("resnet20", {"norm": "layer"}, "batch or group, not layer"),
        ("wrn", {"depth": 18}, "depth must be .* not 18"),
        ("transformer", {"vocab": 5, "width": 10, "heads": 4}, "multiple of heads"),
    ],
)
def test_impossible_arguments(name, args, match):
    with pytest.raises(ValueError, match=match):
        sample(name, **args)
