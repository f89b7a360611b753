from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptaudit.errors import ModelError, PtauditError
from ptaudit.spec.model import ModelSpec
from ptaudit.training.model import build_model

SAMPLES = Path(__file__).parents[2] / "sample_models"

MODELS = """
import torch
from torch import nn

def good(width=3): return nn.Linear(2, width)
def not_a_module(): return [nn.Linear(2, 2)]
def nothing_to_train(): return nn.ReLU()
def frozen(): return nn.Linear(2, 2).requires_grad_(False)
def lazy(): return nn.Sequential(nn.LazyLinear(3))
def broken(): raise KeyError("oops")
def script(): return nn.Sequential(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)))
def empty(): return nn.Linear(2, 2, device="meta")
ready = nn.Flatten()
def needs_size(size): return nn.Linear(size, 2)
"""


@pytest.fixture
def entry(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    return lambda name, **args: ModelSpec(entry=f"{tmp_path}/models.py:{name}", args=args)


def test_weights_follow_the_seed_and_the_global_generator_is_left_alone(entry):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = (build_model(entry("good", width=4), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert first.weight.shape == (4, 2)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("not_a_module", {}, "returned list, not a torch.nn.Module"),
        ("nothing_to_train", {}, "no trainable parameters"),
        ("frozen", {}, "no trainable parameters"),
        ("lazy", {}, r"parameter 0\.weight has no shape"),
        ("script", {}, r"is TorchScript.*return it as it is before torch\.jit"),
        ("empty", {}, "parameter weight is on the meta device"),
        ("ready", {}, r"a model, not a function that returns one \(build it in a function"),
        ("broken", {}, r"failed: KeyError: 'oops'"),
        ("needs_size", {}, r"do not fit needs_size\(size\): missing a required argument: 'size'"),
        ("good", {"witdh": 3}, r"good\(width=3\): got an unexpected keyword argument 'witdh'"),
    ],
)
def test_wrong_models_are_named(entry, name, args, message):
    with pytest.raises(ModelError, match=message) as error:
        build_model(entry(name, **args), 0)
    assert f"models.py:{name}" in str(error.value)


def test_missing_function(entry):
    with pytest.raises(PtauditError, match=r"godo.*did you mean"):
        build_model(entry("godo"), 0)


def test_torchvision_model():
    model = build_model(ModelSpec(entry="torchvision:resnet18", args={"num_classes": 7}), 0)
    assert model.fc.out_features == 7


@pytest.mark.parametrize(
    ("entry", "args", "shape", "classes"),
    [
        ("lenet.py:lenet", {"size": 8}, (1, 8, 8), 10),
        ("lenet.py:lenet", {"num_classes": 4}, (1, 28, 28), 4),
        ("lenet.py:lenet", {"channels": 3, "size": 32}, (3, 32, 32), 10),
        ("mlp.py:mlp", {"features": 30}, (30,), 2),
        ("mlp.py:mlp", {"features": 5, "num_classes": 1, "hidden": []}, (5,), 1),
        ("resnet18.py:resnet18_gn", {}, (3, 32, 32), 10),
    ],
)
def test_sample_models_take_a_batch_and_treat_each_record_alone(entry, args, shape, classes):
    model = build_model(ModelSpec(entry=f"{SAMPLES}/{entry}", args=args), 0)
    inputs = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(inputs)
        alone = torch.cat([model(record[None]) for record in inputs])
    assert output.shape == (3, classes)
    torch.testing.assert_close(output, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(output[0], output[1])


def test_sample_models_have_the_published_sizes():
    def count(entry, **args):
        model = build_model(ModelSpec(entry=f"{SAMPLES}/{entry}", args=args), 0)
        return sum(parameter.numel() for parameter in model.parameters())

    # torchvision's ResNet-18 has 11,689,512 with 1,000 classes; here a 3x3 stem and 10 classes.
    assert count("resnet18.py:resnet18_gn") == 11_689_512 - 3 * 64 * (49 - 9) - 513 * 990
    assert [name for name, _ in build_model(ModelSpec(entry=f"{SAMPLES}/lenet.py:lenet"), 0).named_children()] == [
        "conv1",
        "conv2",
        "fc1",
        "fc2",
        "fc3",
    ]


def test_lenet_of_an_impossible_size():
    with pytest.raises(ModelError, match="multiple of 4, not 30"):
        build_model(ModelSpec(entry=f"{SAMPLES}/lenet.py:lenet", args={"size": 30}), 0)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_parameters_without_numbers_are_not_trained(tmp_path):
    """A layer without outputs gives nothing away; it must not be in anybody's way."""
    code = "from torch import nn\ndef net(): return nn.ModuleList([nn.Linear(4, 0), nn.Linear(0, 3)])"
    (tmp_path / "empty.py").write_text(code)
    model = build_model(ModelSpec(entry=f"{tmp_path}/empty.py:net", args={}), 0)
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["1.bias"]
