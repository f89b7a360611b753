"""Awkward models against one-record autograd: every layer agrees, or is an exception with its exact reason."""

import awkward_models as models
import pytest
import torch
from token_models import Readout
from token_reference import assert_reads_truly, cross_entropy, per_record_gradients, project, relative
from torch import nn

from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.whole_gradients import by_loop, by_vmap
from ptaudit.model_input import mapped
from ptaudit.sketches.reader import TokenReader

N = 6
PADDED = torch.zeros(N, 5, dtype=torch.bool)
PADDED[1, 3:] = True
PADDED[4, 2:] = True
IDS = torch.tensor([int(x) for x in "123384415256781222223177487124"]).view(N, 5)
IDS[PADDED] = 0
WORDS = torch.tensor([[0, 1, 2, 2], [3, 3, 4, 5], [6, 0, 0, 1], [2, 2, 2, 2], [5, 4, 3, 6], [1, 1, 6, 0]])
NO_BATCHED_NONZERO = "do not support batching operators that can output dynamic shape"
NO_BATCHED_RNN = "; vmap: RuntimeError: "
UNUSED = ("none", "unused: receives no gradient")


AGAIN = "rule: the module was called again during the backward pass; vmap: RuntimeError"
INSIDE = ("inside", "norm", "attend", "attend.out_proj")


def vmap(kind):
    return ("vmap", f"no rule for {kind}")


MODELS = {
    "output head tied to the embedding": (models.LanguageModel, WORDS, {}),
    "tied, without bias, with padding": (lambda: models.LanguageModel(False, padding_idx=2), WORDS, {}),
    "a weight of two layers": (models.SharedParameter, torch.randn(N, 5), {}),
    "own parameters": (models.OwnParameters, torch.randn(N, 4, 6), {"table": vmap("Module")}),
    "encoder with padding mask": (models.Sequences, (torch.randn(N, 5, 8), PADDED), {}),
    "encoder, norm first": (lambda: models.Sequences(norm_first=True), (torch.randn(N, 5, 8), PADDED), {}),
    "encoder, time first": (lambda: models.Sequences(False), (torch.randn(N, 5, 8), PADDED), {}),
    "one encoder layer three times": (models.Universal, torch.randn(N, 4, 8), {}),
    "decoder with cross-attention": (
        lambda: models.Decoder(batch_first=True),
        (torch.randn(N, 5, 8), torch.randn(N, 6, 8)),
        {},
    ),
    "decoder, time first": (models.Decoder, (torch.randn(N, 5, 8), torch.randn(N, 6, 8)), {}),
    "LSTM": (lambda: models.Reader(nn.LSTM, num_layers=2), torch.randn(N, 4, 5), {"rnn": vmap("LSTM")}),
    "bidirectional LSTM, time first": (
        lambda: models.Reader(nn.LSTM, batch_first=False, bidirectional=True),
        torch.randn(N, 4, 5),
        {"rnn": vmap("LSTM")},
    ),
    "bidirectional GRU": (
        lambda: models.Reader(nn.GRU, bidirectional=True),
        torch.randn(N, 4, 5),
        {"rnn": ("loop", f"no rule for GRU{NO_BATCHED_RNN}")},
    ),
    "RNN, time first": (
        lambda: models.Reader(nn.RNN, batch_first=False),
        torch.randn(N, 4, 5),
        {"rnn": ("loop", f"no rule for RNN{NO_BATCHED_RNN}")},
    ),
    "3d, transposed, instance norm": (models.UpAndDown, torch.randn(N, 2, 2, 6, 6), {}),
    "RMSNorm and halves of a weight": (models.Modern, torch.randn(N, 4, 6), {}),
    "parametrizations": (
        models.parametrized,
        torch.randn(N, 5),
        {
            "0.parametrizations.weight": vmap("ParametrizationList"),
            "2.parametrizations.weight": vmap("ParametrizationList"),
            "4.parametrizations.weight": vmap("ParametrizationList"),
            "5": ("vmap", "rule: "),  # the older weight_norm: the rule knows nothing of weight_g and weight_v
        },
    ),
    "in-place, depthwise separable": (models.Residual, torch.randn(N, 2, 6, 6), {}),
    "channels last": (
        lambda: models.Residual().to(memory_format=torch.channels_last),
        torch.randn(N, 2, 6, 6).to(memory_format=torch.channels_last),
        {},
    ),
    "two inputs": (models.Two, (torch.randn(N, 6), torch.tensor([0, 1, 4, 4, 2, 0])), {"join": vmap("Bilinear")}),
    "ids and mask by name, an object back": (models.Tokens, {"ids": IDS, "mask": ~PADDED}, {"idle": UNUSED}),
    "experts by record": (
        models.Experts,
        torch.cat([2 * torch.eye(3)[torch.arange(N) % 3], torch.randn(N, 3)], dim=1),
        dict.fromkeys((f"experts.{k}" for k in range(3)), ("loop", NO_BATCHED_NONZERO)),
    ),
    "pixel shuffle, squeeze and excite": (models.Pixels, torch.randn(N, 2, 5, 5), {}),
    "norm over channels": (models.ChannelNorm, torch.randn(N, 2, 5, 5), {}),
    "bags of words": (models.Bags, WORDS[:, :3] % 6, {"bag": vmap("EmbeddingBag")}),
    "reentrant checkpoint": (lambda: models.Rerun(True), torch.randn(N, 4, 6), {}),
    "checkpoint": (lambda: models.Rerun(False), torch.randn(N, 4, 6), {}),
    "a module in two checkpoints": (
        lambda: models.Rerun(True, times=2),
        torch.randn(N, 4, 6),
        dict.fromkeys(INSIDE, ("loop", AGAIN)),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_awkward_model(name):
    make, inputs, exceptions = MODELS[name]
    torch.manual_seed(2)
    model = make().train()
    targets = torch.arange(N) % (7 if isinstance(model, models.LanguageModel) else 3)
    captures = {layer.name: exceptions.get(layer.name, ("rule", ""))[0] for layer in find_layers(model)}
    reader, _ = assert_reads_truly(model, inputs, targets, captures)
    for info in reader.layers:
        assert exceptions.get(info.name, ("rule", ""))[1] in info.reason
        assert bool(info.reason) == (info.name in exceptions)


def test_frozen_layers_and_heads():
    """Half of the layers are frozen, one inside of the attention; what is left is read as before."""
    torch.manual_seed(0)
    model = models.Sequences()
    for name in ("encoder.layers.0.self_attn", "encoder.layers.1.linear1", "encoder.layers.1.self_attn.out_proj"):
        model.get_submodule(name).requires_grad_(False)
    captures = {layer.name: "rule" for layer in find_layers(model)}
    assert len(captures) == 2 * 6 + 1 - 4
    assert_reads_truly(model, (torch.randn(N, 5, 8), PADDED), torch.arange(N) % 3, captures)


def test_batch_norm_without_running_statistics_is_an_exception_with_its_reason():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), Readout())
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(torch.randn(N, 1, 5, 5), torch.arange(N) % 3)
    reason = (
        "gradients of single records do not add up to that of their batch: records are mixed in the forward pass, "
        "or it is random in eval mode; give BatchNorm running statistics or use GroupNorm"
    )
    assert [(info.capture, info.reason) for info in reader.layers] == [("none", reason)] * 2


FALLBACKS = {"vmap": by_vmap, "loop": by_loop}


@pytest.mark.parametrize("way", FALLBACKS)
@pytest.mark.parametrize("name", ["two inputs", "ids and mask by name, an object back", "encoder with padding mask"])
def test_fallbacks_take_tuples_and_dicts(name, way):
    make, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    model, targets = make().eval(), torch.arange(N) % 3
    layers = find_layers(model)
    shapes = {layer.name: {x: p.shape for x, p in layer.parameters.items()} for layer in layers}
    sketches = {layer.name: LayerSketch(layer.name, shapes[layer.name], 16, 0) for layer in layers}
    with frozen_state(model, torch.device("cpu")):
        found = FALLBACKS[way](RecordLosses(model, cross_entropy, inputs, targets), layers, sketches)
    grads = per_record_gradients(model, cross_entropy, inputs, targets)
    for layer in layers:
        tokens, norm_sq = found[layer.name]
        assert relative(tokens, project(layer, grads, 16, 0)) < 1e-4
        assert relative(norm_sq, sum(grads[layer.path(x)].flatten(1).square().sum(1) for x in layer.parameters)) < 1e-4


def test_an_expert_that_later_records_reach_in_part():
    """On the records of the check all go to one expert, whose rule then holds; on others it does not."""
    torch.manual_seed(0)
    model = models.Experts()
    with torch.no_grad():
        model.route.weight.zero_()
        model.route.weight[0, 0], model.route.weight[1, 0] = 9, -9
    inputs, targets = torch.randn(80, 6), torch.arange(80) % 3
    inputs[:, 0] = 1
    inputs[70:75, 0] = -1
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, targets)
    assert [info.capture for info in reader.layers] == ["rule", "rule", "none", "none"]
    tokens = reader.read(inputs, targets)
    assert [info.capture for info in reader.layers] == ["rule", "loop", "loop", "none"]
    assert "5 records" not in reader.layers[1].reason
    assert "75" in reader.layers[1].reason
    assert tokens.complete  # the second expert, unused until then, was checked on those five
    grads = per_record_gradients(model, cross_entropy, inputs, targets)
    assert [info.capture for info in tokens.layers] == ["rule", "loop", "loop"]
    for place, layer in enumerate(find_layers(model)[:3]):
        assert relative(tokens.values[place], project(layer, grads, 16, 0)) < 1e-4


def test_a_layer_that_only_later_records_reach_is_checked_on_those():
    """The rule would fail (rows of some records), and nothing of it is seen on the first four records."""
    torch.manual_seed(0)
    model = models.Experts()
    with torch.no_grad():
        model.route.weight.zero_()
        model.route.weight[0, 0], model.route.weight[1, 0] = 9, -9
    inputs = torch.randn(16, 6)
    inputs[:, 0] = 1
    inputs[9, 0] = -1
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, torch.arange(16) % 3)
    assert [info.capture for info in reader.layers][2] == "loop"


def test_a_parameter_behind_a_closed_gate_is_not_expanded_on_trust():
    """Where a gradient is zero any shape agrees with it, and a wrong one would still add up to the batch's gradient."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.randn(6))
            self.out = Readout()

        def forward(self, x):
            return self.out(x + self.gate * torch.tanh(x + self.offset))

    torch.manual_seed(0)
    model, inputs, targets = Gated(), torch.randn(N, N, 6), torch.arange(N) % 3
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, targets)
    nn.init.constant_(model.gate, 0.7)
    tokens = reader.read(inputs, targets)
    grads = per_record_gradients(model, cross_entropy, inputs, targets)
    assert relative(tokens.values[0], project(find_layers(model)[0], grads, 16, 0)) < 1e-4
    assert [(info.capture, info.layout) for info in reader.layers] == [("vmap", "")]


def test_train_mode_and_dropout_change_nothing():
    """The pass reads in eval mode, whatever mode the transformer is in; the fast inference kernels stay off."""
    torch.manual_seed(0)
    model, inputs, targets = models.Sequences(), (torch.randn(N, 5, 8), PADDED), torch.arange(N) % 3
    values = []
    for mode in (True, False):
        reader = TokenReader(model.train(mode), cross_entropy, dim=16)
        with torch.no_grad():
            reader.prepare(inputs, targets)
            values.append(reader.read(inputs, targets).values)
        assert {info.capture for info in reader.layers} == {"rule"}
        assert model.training is mode
    assert torch.equal(*values)


@pytest.mark.parametrize("name", ["encoder with padding mask", "RMSNorm and halves of a weight", "norm over channels"])
def test_bfloat16(name):
    make, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    model = make().to(torch.bfloat16)
    inputs = mapped(lambda x: x.bfloat16() if x.is_floating_point() else x, inputs)
    captures = {layer.name: "rule" for layer in find_layers(model)}
    assert_reads_truly(model, inputs, torch.arange(N) % 3, captures, rtol=0.1)


def test_reentrant_checkpoint_leaves_gradients_as_they_were():
    torch.manual_seed(0)
    model, inputs, targets = models.Rerun(True), torch.randn(N, 4, 6), torch.arange(N) % 3
    cross_entropy(model(inputs), targets).sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, targets)
    reader.read(inputs, targets)
    assert all(torch.equal(before[name], p.grad) for name, p in model.named_parameters())


ON_CUDA = (
    "output head tied to the embedding",
    "encoder with padding mask",
    "decoder, time first",
    "3d, transposed, instance norm",
    "ids and mask by name, an object back",
    "own parameters",
)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_CUDA)
def test_cuda_agrees_with_cpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    make, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    model, targets = make(), torch.arange(N) % 3
    found = []
    for device in ("cpu", "cuda"):
        reader = TokenReader(model.to(device), cross_entropy, dim=16)
        reader.prepare(inputs, targets)
        tokens = reader.read(inputs, targets)
        found.append([(info.capture, info.layout) for info in reader.layers])
        found.append(tokens.values.cpu())
    assert found[0] == found[2]
    torch.testing.assert_close(found[3], found[1], rtol=1e-2, atol=1e-3)
