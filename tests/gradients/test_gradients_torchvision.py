"""torchvision's classifiers as they are, against one-record autograd: what is read by rule, what by a fallback."""

import pytest
import torch
from token_reference import assert_reads_truly
from torch import nn

from ptaudit.gradients.layers import find_layers

models = pytest.importorskip("torchvision.models")
TARGETS = torch.arange(3)


def tiny_vit():
    return models.VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=10)


def tiny_convnext():
    setting = [models.convnext.CNBlockConfig(4, 8, 1), models.convnext.CNBlockConfig(8, None, 2)]
    return models.ConvNeXt(setting, layer_scale=0.5, num_classes=10)


def tiny_swin():
    return models.SwinTransformer([2, 2], 8, [1, 1], [2, 2], [2, 2], num_classes=10)


TINY = {
    "VisionTransformer": (tiny_vit, 16, {}),
    "ConvNeXt": (tiny_convnext, 16, {}),
    "SwinTransformer": (tiny_swin, 16, {"ShiftedWindowAttention": "vmap"}),  # a table of relative positions, by index
}


@pytest.mark.parametrize("name", TINY)
def test_tiny(name):
    make, side, exceptions = TINY[name]
    torch.manual_seed(0)
    model = make().double()
    for parameter in model.parameters():  # torchvision starts heads and tables at zero
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    captures = {layer.name: exceptions.get(type(layer.module).__name__, "rule") for layer in find_layers(model)}
    assert_reads_truly(model, torch.randn(3, 3, side, side).double(), TARGETS, captures)


PLAIN = [
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "densenet121",
    "squeezenet1_0",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "mnasnet0_5",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "googlenet",
    "inception_v3",
]
SIDES = {"alexnet": 64, "squeezenet1_0": 64, "densenet121": 64, "inception_v3": 96, "googlenet": 64, "swin_t": 64}
ARGS = {"vit_b_16": {"image_size": 32}, "inception_v3": {"init_weights": False}, "googlenet": {"init_weights": False}}


def expected(name, path, module):
    """`none` for auxiliary heads, which the model does not use in evaluation mode."""
    if name in ("googlenet", "inception_v3") and path.lower().startswith("aux"):
        return "none"
    return "vmap" if type(module).__name__ == "ShiftedWindowAttention" else "rule"


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_whole_model(name):
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=10, **ARGS.get(name, {})).double()
    if name == "vit_b_16":
        nn.init.normal_(model.heads.head.weight, std=0.1)  # torchvision starts it at zero
    side = SIDES.get(name, 48 if name != "vit_b_16" else 32)
    captures = {layer.name: expected(name, layer.name, layer.module) for layer in find_layers(model)}
    assert_reads_truly(model, torch.randn(3, 3, side, side).double(), TARGETS, captures)
