"""The transformer of Stable Diffusion 3 under the names that files of networks have for its layers."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules import adapter_files, model_load, network_patches, torchvision_ops
from modules.denoisers import mmdit
from modules.model_families import diffusers_names
from test.unit.adapter_models import CPU, applied

WIDTH, LAST = 64, 2
LAYERS = {
    "joint_blocks.0.x_block.attn.qkv": 3 * WIDTH,
    "joint_blocks.0.x_block.attn2.qkv": 3 * WIDTH,
    "joint_blocks.1.context_block.attn.qkv": 3 * WIDTH,
    "joint_blocks.1.x_block.mlp.fc1": 4 * WIDTH,
    "joint_blocks.1.context_block.adaLN_modulation.1": 6 * WIDTH,
    "joint_blocks.2.context_block.adaLN_modulation.1": 2 * WIDTH,
    "final_layer.adaLN_modulation.1": 2 * WIDTH,
}
"""Layers of the transformer under their original names -> rows of their weights."""


@pytest.fixture(scope="module")
def model(tiny_files):
    return model_load.build(model_load.prepare(str(tiny_files("sd3.5-medium")[0]), {}), CPU)


@pytest.fixture(scope="module")
def factors():
    """Layer of the transformer, by its original name -> a LoRA's two matrices for it."""
    torch.manual_seed(0)
    return {name: (torch.randn(rows, 2), torch.randn(2, WIDTH)) for name, rows in LAYERS.items()}


def diffusers_form(factors):
    """The same LoRA, for the layers as diffusers has them: q, k and v apart, and scale before shift at the end."""
    ups = mmdit.to_diffusers("", LAST, {f"{name}.weight": up for name, (up, _) in factors.items()})
    found = {}
    for name, up in ups.items():
        as_query = re.sub(r"_[kv]([._])", r"_q\1", name)
        original = diffusers_names.rename(as_query, diffusers_names.MMDIT_NAMES).removesuffix(".weight")
        found[name.removesuffix(".weight")] = (up, factors[original][1].clone())
    return found


def originals(network):
    """Copies of a transformer's weights under their original names."""
    return diffusers_names.original_mmdit({key: weight.clone() for key, weight in network.state_dict().items()})


def kohya(factors):
    return {
        f"lora_unet_{name.replace('.', '_')}.{end}": tensor
        for name, pair in factors.items()
        for end, tensor in zip(("lora_up.weight", "lora_down.weight"), pair, strict=True)
    }


def peft(prefix, factors):
    return {
        f"{prefix}{name}.{end}": tensor
        for name, pair in factors.items()
        for end, tensor in zip(("lora_B.weight", "lora_A.weight"), pair, strict=True)
    }


def onetrainer(factors):
    return {name.replace("lora_unet_", "lora_transformer_"): tensor for name, tensor in kohya(factors).items()}


FORMS = {
    "kohya": kohya,
    "ComfyUI": lambda factors: peft("diffusion_model.", factors),
    "checkpoint": lambda factors: peft("model.diffusion_model.", factors),
    "diffusers": lambda factors: peft("transformer.", diffusers_form(factors)),
    "peft": lambda factors: peft("base_model.model.", diffusers_form(factors)),
    "OneTrainer": lambda factors: onetrainer(diffusers_form(factors)),
    "LyCORIS": lambda factors: {
        name.replace("lora_unet_", "lycoris_"): tensor for name, tensor in kohya(diffusers_form(factors)).items()
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_lora_changes_the_same_weights_under_each_name(model, factors, form, tmp_path):
    save_file({key: tensor.contiguous() for key, tensor in form(factors).items()}, tmp_path / "a.safetensors")
    file = adapter_files.read(str(tmp_path / "a.safetensors"))
    network = model.network("denoiser")
    before = originals(network)
    with applied(model, file):
        after = originals(network)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {f"{name}.weight" for name in LAYERS}
    for name, (up, down) in factors.items():
        expected = before[f"{name}.weight"] + up @ down
        torch.testing.assert_close(after[f"{name}.weight"], expected, atol=1e-4, rtol=1e-5)
    assert file.family.name == "sd3"


def test_a_lora_of_another_family_is_named_although_its_text_encoders_fit(model, tmp_path):
    file = "sdxl.safetensors"
    tensors = {
        "lora_unet_output_blocks_0_1_transformer_blocks_0_attn2_to_k": (WIDTH, 2048),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": (WIDTH, 32),
    }
    stored = {
        f"{name}.{end}": tensor
        for name, (rows, columns) in tensors.items()
        for end, tensor in (("lora_up.weight", torch.ones(rows, 1)), ("lora_down.weight", torch.ones(1, columns)))
    }
    save_file(stored, tmp_path / file)
    network = network_patches.ActiveNetwork("style", adapter_files.read(str(tmp_path / file)))
    (remark,) = network_patches.Networks((network,)).remarks(model)
    assert remark.startswith(
        "style is for Stable Diffusion XL, and changes only text encoders in Stable Diffusion 3: 1"
    )


@pytest.mark.parametrize("kind", ["sd3", "sd3.5-large", "sd3.5-medium"])
def test_weights_get_the_names_that_diffusers_gives_them(tiny_files, kind):
    torchvision_ops.declare_missing()
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

    prefix = "model.diffusion_model."
    stored = {key: tensor for key, tensor in load_file(tiny_files(kind)[0]).items() if key.startswith(prefix)}
    ours = mmdit.to_diffusers(prefix, LAST, stored)
    theirs = convert_sd3_transformer_checkpoint_to_diffusers(dict(stored))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


TEXTS = {
    "lora_te1_text_model_encoder_layers_0_mlp_fc1": "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1",
    "lora_te2_text_model_encoder_layers_1_self_attn_q_proj": (
        "clip_g.transformer.text_model.encoder.layers.1.self_attn.q_proj"
    ),
    "text_encoder.text_model.encoder.layers.0.mlp.fc1": "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1",
    "text_encoder_2.text_model.encoder.layers.0.mlp.fc1": "clip_g.transformer.text_model.encoder.layers.0.mlp.fc1",
    "text_encoders.clip_g.text_model.encoder.layers.0.mlp.fc1": (
        "clip_g.transformer.text_model.encoder.layers.0.mlp.fc1"
    ),
}


@pytest.mark.parametrize(("name", "key"), TEXTS.items())
def test_layers_of_text_encoders_are_found(model, name, key):
    (layer,) = model.layer_names.find(name)
    assert layer.key == f"text_encoders.{key}"
