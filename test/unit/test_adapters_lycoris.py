"""Networks of LyCORIS: what its layers compute in a forward, against the weights that ours change.

Its merged weights are no oracle: of a factored LoKr or LoHa they are scaled twice.
"""

import copy
import warnings
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from modules import adapter_files, adapters
from test.unit.adapter_models import applied, embedded_model, predict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lycoris import LycorisNetwork, create_lycoris
    from lycoris.modules.boft import ButterflyOFTModule
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.full import FullModule
    from lycoris.modules.glora import GLoRAModule
    from lycoris.modules.ia3 import IA3Module
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule
    from lycoris.modules.norms import NormModule

LAYERS = {
    "linear": (lambda: nn.Linear(24, 16), (2, 5, 24)),
    "convolution": (lambda: nn.Conv2d(8, 16, 3, stride=2, padding=1), (2, 8, 7, 7)),
    "convolution 1x1": (lambda: nn.Conv2d(8, 16, 1), (2, 8, 7, 7)),
    "group norm": (lambda: nn.GroupNorm(4, 16), (2, 16, 5, 5)),
    "layer norm": (lambda: nn.LayerNorm(16), (2, 5, 16)),
}
MATRICES = ("linear", "convolution", "convolution 1x1")


@dataclass(frozen=True)
class Case:
    """A network of LyCORIS. linear: whether its change grows with the strength as v1.10.1 has it do for all."""

    kind: type
    options: dict[str, object] = field(default_factory=dict)
    layers: tuple[str, ...] = MATRICES
    linear: bool = True


CASES = {
    "lora": Case(LoConModule),
    "lora, strength by the root of its rank": Case(LoConModule, {"rs_lora": True}),
    "lora with mid": Case(LoConModule, {"use_tucker": True}, ("convolution",)),
    "lora with a trained factor": Case(LoConModule, {"use_scalar": True}),
    "dora, rows": Case(LoConModule, {"weight_decompose": True}, linear=False),
    "dora, columns": Case(LoConModule, {"weight_decompose": True, "wd_on_out": False}, linear=False),
    "loha": Case(LohaModule),
    "loha with cores": Case(LohaModule, {"use_tucker": True}, ("convolution",)),
    "loha, rows": Case(LohaModule, {"weight_decompose": True}, linear=False),
    "lokr": Case(LokrModule, {"factor": 2}),
    "lokr, both factored": Case(LokrModule, {"factor": 4, "decompose_both": True, "lora_dim": 1}),
    "lokr, whole": Case(LokrModule, {"factor": 4, "full_matrix": True}),
    "lokr with core": Case(LokrModule, {"factor": 2, "use_tucker": True, "lora_dim": 1}, ("convolution",)),
    "lokr, columns": Case(LokrModule, {"factor": 2, "weight_decompose": True, "wd_on_out": False}, linear=False),
    "ia3, outputs": Case(IA3Module),
    "ia3, inputs": Case(IA3Module, {"train_on_input": True}),
    "glora": Case(GLoRAModule),
    "oft": Case(DiagOFTModule),
    "oft, limited": Case(DiagOFTModule, {"constraint": 0.01}),
    "oft, rescaled": Case(DiagOFTModule, {"rescaled": True}, linear=False),
    "boft": Case(ButterflyOFTModule, linear=False),
    "boft, rescaled": Case(ButterflyOFTModule, {"rescaled": True}, linear=False),
    "full": Case(FullModule),
    "norm": Case(NormModule, layers=("group norm", "layer norm")),
}


def network(case: Case, layer: nn.Module, strength: float) -> nn.Module:
    """A network on a layer, as trained: none of its weights is zero."""
    options = {"lora_dim": 4, "alpha": 2.0, **case.options}
    made = case.kind("lora_unet_x", layer, strength, **options).eval()
    made.apply_to()
    for name, parameter in made.named_parameters():
        if name in ("dora_scale", "rescale"):
            parameter.mul_(torch.rand_like(parameter) + 0.5)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


def operation(layer: nn.Module):
    """What a layer does, as a function of input, weight and bias."""
    if isinstance(layer, nn.Linear):
        return F.linear
    if isinstance(layer, nn.Conv2d):
        return layer._conv_forward
    if isinstance(layer, nn.GroupNorm):
        return lambda x, weight, bias: F.group_norm(x, layer.num_groups, weight, bias, layer.eps)
    return lambda x, weight, bias: F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


@pytest.mark.parametrize(
    ("name", "layer_name", "strength"),
    [
        (name, layer, strength)
        for name, case in CASES.items()
        for layer in case.layers
        for strength in ((1.0, 0.6) if case.linear else (1.0,))
    ],
)
@torch.no_grad()
def test_layer_computes_what_lycoris_computes(name, layer_name, strength):
    torch.manual_seed(0)
    make, shape = LAYERS[layer_name]
    layer, x = make(), torch.randn(shape)
    before = layer(x)
    theirs = network(CASES[name], copy.deepcopy(layer), strength)
    adapter = adapters.read({key: tensor.clone() for key, tensor in theirs.state_dict().items()})
    delta = adapter.delta(layer.weight, strength)
    changed = {"weight": layer.weight + delta.weight}
    if delta.bias is not None:
        changed["bias"] = layer.bias + delta.bias
    expected = theirs(x)
    assert not torch.allclose(expected, before, atol=1e-3)
    torch.testing.assert_close(functional_call(layer, changed, (x,)), expected, rtol=1e-4, atol=1e-5)
    added = adapter.output(operation(layer), x, layer.weight, strength)
    torch.testing.assert_close(before + added, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def model():
    return embedded_model()


ALGORITHMS = {
    "lora": {"algo": "locon", "linear_dim": 4, "linear_alpha": 2},
    "lokr": {"algo": "lokr", "factor": 4},
    "dora": {"algo": "locon", "linear_dim": 4, "linear_alpha": 2, "dora_wd": True},
    "oft": {"algo": "diag-oft", "linear_dim": 4},
}


@pytest.mark.parametrize("options", ALGORITHMS.values(), ids=ALGORITHMS)
@torch.no_grad()
def test_file_that_lycoris_saved_for_a_model(model, tmp_path, options):
    torch.manual_seed(0)
    LycorisNetwork.apply_preset({"target_module": ["CrossAttention"]})
    unet = model.network("denoiser")
    theirs = copy.deepcopy(unet)
    wrapper = create_lycoris(theirs, 1.0, **{"linear_dim": 4, "linear_alpha": 4, **options})
    wrapper.apply_to()
    for name, parameter in wrapper.named_parameters():
        if not name.endswith("dora_scale"):
            parameter.add_(torch.randn_like(parameter) * 0.05)
    wrapper.save_weights(str(tmp_path / "a.safetensors"), torch.float32, {})
    file = adapter_files.read(str(tmp_path / "a.safetensors"))
    assert all(name.startswith("lycoris_") for name in file.layers)
    before = predict(unet)
    with applied(model, file):
        torch.testing.assert_close(predict(unet), predict(theirs), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(before, predict(theirs), atol=1e-3)
