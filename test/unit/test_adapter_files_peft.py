"""Files that diffusers and peft write, against the networks they were written from."""

import copy
import functools
import json

import pytest
import torch
from safetensors.torch import save_file

from modules import adapter_files, model_load, torchvision_ops
from modules.errors import ModelLoadError
from test.unit.adapter_models import CPU, applied, embedded_model, encode, predict
from tools import tiny_checkpoints

torchvision_ops.declare_missing()

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline  # noqa: E402
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya  # noqa: E402
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model  # noqa: E402

LINEAR = ["to_q", "to_k", "to_v", "to_out.0"]


@pytest.fixture(scope="module")
def model():
    return embedded_model()


def trained(network: torch.nn.Module, config: LoraConfig) -> torch.nn.Module:
    """A copy of a network with a LoRA of peft on it that changes something."""
    torch.manual_seed(0)
    network = copy.deepcopy(network)
    inject_adapter_in_model(config, network)
    randomise(network)
    return network.eval()


@torch.no_grad()
def randomise(network: torch.nn.Module) -> None:
    """Gives what peft added weights as of a training."""
    for name, parameter in network.named_parameters():
        if "lora_magnitude_vector" in name:
            parameter.mul_(torch.rand_like(parameter) + 0.5)
        elif "lora_" in name:
            parameter.add_(torch.randn_like(parameter) * 0.1)


def written_by_diffusers(folder, pipeline=StableDiffusionPipeline, **networks) -> adapter_files.NetworkFile:
    """What a pipeline of diffusers saves of networks, with the strength in the header."""
    arguments = {}
    for name, network in networks.items():
        arguments[f"{name}_lora_layers"] = get_peft_model_state_dict(network)
        arguments[f"{name}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    pipeline.save_lora_weights(folder, **arguments)
    return adapter_files.read(str(folder / "pytorch_lora_weights.safetensors"))


CONFIGS = {
    "alpha in the header": {"lora_alpha": 12},
    "alphas and ranks of some layers": {
        "lora_alpha": 2,
        "alpha_pattern": {"attn1.to_q": 9, "mid_block.*attn2.to_k": 3},
        "rank_pattern": {"attn1.to_q": 2},
    },
    "strength by the root of the rank": {"lora_alpha": 4, "use_rslora": True},
    "convolutions": {"lora_alpha": 4, "target_modules": ["conv1", "conv_shortcut", "proj_in"]},
    "dora": {"lora_alpha": 4, "use_dora": True},
    "dora of convolutions": {"lora_alpha": 4, "use_dora": True, "target_modules": ["conv1", "conv2"]},
    "biases": {"lora_alpha": 4, "lora_bias": True, "target_modules": ["to_out.0"]},
}


@pytest.mark.filterwarnings("ignore:Adapter 'default'. 32 LoRA tensor.s. have invalid shape")  # peft, of its biases
@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS)
def test_file_of_diffusers_does_what_its_network_does(model, tmp_path, options):
    unet = model.network("denoiser")
    theirs = trained(unet, LoraConfig(**{"r": 4, "target_modules": LINEAR, **options}))
    file = written_by_diffusers(tmp_path, unet=theirs)
    assert not file.unread
    before = predict(unet)
    with applied(model, file):
        ours = predict(unet)
    assert (ours - before).abs().max() > 1e-3
    torch.testing.assert_close(ours, predict(theirs), rtol=1e-4, atol=1e-4)
    assert torch.equal(predict(unet), before)


def test_text_encoder_of_diffusers(model, tmp_path):
    text_model = model.cond_stage_model.wrapped.transformer.text_model
    theirs = trained(text_model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "out_proj", "fc1"]))
    file = written_by_diffusers(tmp_path, text_encoder=theirs)
    before = encode(text_model)
    with applied(model, file):
        torch.testing.assert_close(encode(text_model), encode(theirs), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, encode(theirs), atol=1e-3)
    assert all(target.layer.is_text for target in model.layer_names.match(file).targets)


def test_text_encoder_by_the_names_before_transformers_5(model, tmp_path):
    text_model = model.cond_stage_model.wrapped.transformer.text_model
    theirs = trained(text_model, LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj", "fc1"]))
    tensors = {f"text_encoder.text_model.{k}": v for k, v in get_peft_model_state_dict(theirs).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    with applied(model, adapter_files.read(str(tmp_path / "a.safetensors"))):
        torch.testing.assert_close(encode(text_model), encode(theirs), rtol=1e-4, atol=1e-4)


OLDER = {
    "diffusers before peft": lambda tensors: convert_state_dict_to_diffusers(tensors),
    "attention processors": lambda tensors: {
        key.replace(".to_out.0.", ".to_out.")
        .replace(".to_", ".processor.to_")
        .replace(".lora_A.", "_lora.down.")
        .replace(".lora_B.", "_lora.up."): value
        for key, value in tensors.items()
    },
    "without header": lambda tensors: tensors,
}


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
def test_older_files_of_diffusers_have_strength_1(model, tmp_path, older):
    unet = model.network("denoiser")
    theirs = trained(unet, LoraConfig(r=4, lora_alpha=4, target_modules=LINEAR))
    tensors = {f"unet.{key}": value for key, value in older(get_peft_model_state_dict(theirs)).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    with applied(model, adapter_files.read(str(tmp_path / "a.safetensors"))):
        torch.testing.assert_close(predict(unet), predict(theirs), rtol=1e-4, atol=1e-4)


def test_file_that_diffusers_converted_for_others(model, tmp_path):
    unet = model.network("denoiser")
    theirs = trained(unet, LoraConfig(r=4, lora_alpha=4, target_modules=LINEAR))
    tensors = {f"base_model.model.{key}": value for key, value in get_peft_model_state_dict(theirs).items()}
    converted = convert_state_dict_to_kohya(
        {key.replace("base_model.model.", "unet."): v for key, v in tensors.items()}
    )
    save_file(converted, tmp_path / "a.safetensors")
    with applied(model, adapter_files.read(str(tmp_path / "a.safetensors"))):
        torch.testing.assert_close(predict(unet), predict(theirs), rtol=1e-4, atol=1e-4)


@pytest.fixture
def folder(model, tmp_path):
    """A folder as peft writes it, and the network it was written from."""
    torch.manual_seed(0)
    options = {"r": 4, "lora_alpha": 10, "alpha_pattern": {"attn2.to_v": 3}, "target_modules": LINEAR}
    theirs = get_peft_model(copy.deepcopy(model.network("denoiser")), LoraConfig(**options))
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    return tmp_path, theirs.eval()


def test_folder_of_peft(model, folder):
    path, theirs = folder
    unet = model.network("denoiser")
    with applied(model, adapter_files.read(str(path / "adapter_model.safetensors"))):
        torch.testing.assert_close(predict(unet), predict(theirs), rtol=1e-4, atol=1e-4)


def test_folder_of_peft_whose_settings_are_damaged(folder):
    path, _ = folder
    (path / "adapter_config.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"adapter_config\.json, which says how strong .*, cannot be read"):
        adapter_files.read(str(path / "adapter_model.safetensors"))


def test_strength_of_a_layer_counts_before_that_of_the_header(model, tmp_path):
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 64), f"{name}.lora_B.weight": torch.ones(64, 2)}
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 6})}
    save_file(tensors, tmp_path / "a.safetensors", header)
    save_file({**tensors, f"{name}.alpha": torch.tensor(1.0)}, tmp_path / "b.safetensors", header)
    scales = [adapter_files.read(str(tmp_path / f"{n}.safetensors")).layers[name].scale for n in "ab"]
    assert scales == [3.0, 0.5]


@pytest.mark.parametrize(
    "config",
    [
        {"unet.lora_alpha": "much"},
        {"unet.lora_alpha": 1, "unet.alpha_pattern": [1]},
        {"unet.lora_alpha": 1, "unet.alpha_pattern": {"(": 2}},
        {"unet.lora_alpha": {}, "unet.use_rslora": True},
    ],
)
def test_strength_in_the_header_that_cannot_be_read(tmp_path, config):
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 64), f"{name}.lora_B.weight": torch.ones(64, 2)}
    save_file(tensors, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(config)})
    with pytest.raises(ModelLoadError, match=r"to_q what cannot be used: peft's settings of its strength"):
        adapter_files.read(str(tmp_path / "a.safetensors"))


PREFIXES = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")


@torch.no_grad()
def test_file_of_diffusers_for_sdxl(tmp_path):
    tiny = tiny_checkpoints.write("sdxl", tmp_path / "model.safetensors")
    model = model_load.build(model_load.prepare(str(tmp_path / "model.safetensors"), {}), CPU)
    unet = trained(tiny.unet, LoraConfig(r=4, lora_alpha=8, target_modules=[*LINEAR, "conv1", "linear_1"]))
    first, second = (
        trained(tiny.texts[prefix], LoraConfig(r=2, lora_alpha=alpha, target_modules=["q_proj", "fc1"]))
        for prefix, alpha in zip(PREFIXES, (3, 5), strict=True)
    )
    networks = {"unet": unet, "text_encoder": first, "text_encoder_2": second}
    file = written_by_diffusers(tmp_path, StableDiffusionXLPipeline, **networks)
    assert file.family.name == "sdxl"
    x, time, text = torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 8, 96)
    pooled, size = torch.randn(1, 64), torch.ones(1, 6)
    ours = functools.partial(model.model, x, time, c_crossattn=[text], c_adm=pooled, time_ids=size)
    texts = [model.network(name).wrapped.transformer.text_model for name in ("clip_l", "clip_g")]
    before = ours()
    with applied(model, file):
        predicted, encoded = ours(), [encode(text_model) for text_model in texts]
    expected = unet(x, time, text, added_cond_kwargs={"text_embeds": pooled, "time_ids": size}).sample
    assert (before - expected).abs().max() > 1e-3
    torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-4)
    for result, theirs in zip(encoded, (first, second.text_model), strict=True):
        torch.testing.assert_close(result, encode(theirs), rtol=1e-4, atol=1e-4)
