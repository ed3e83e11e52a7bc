"""Files of networks of the LoRA family: what is read in them, and for which layers of a model."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modules import adapter_files, model_load
from modules.adapters import AdapterError
from modules.errors import ModelLoadError
from modules.model_families import DENOISER
from test.unit.adapter_models import CPU, embedded_model
from tools import tiny_checkpoints

QUERY = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
ORIGINAL_QUERY = "input_blocks_1_1_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def model():
    return embedded_model()


@pytest.fixture(scope="module")
def names(model):
    return model.layer_names


@pytest.fixture
def written(tmp_path):
    """Writes tensors as a file of networks, and reads it."""

    def write(tensors, metadata=None, name="a.safetensors"):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
        else:
            torch.save(tensors, path)
        return adapter_files.read(str(path))

    return write


def lora(name, outputs=64, inputs=64, rank=2, **more):
    """Tensors of a LoRA for one layer, as kohya's scripts name them."""
    up, down = torch.randn(outputs, rank), torch.randn(rank, inputs)
    return {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down} | {
        f"{name}.{key}": torch.tensor(value) for key, value in more.items()
    }


def test_names_of_kohya_lead_to_layers(names, written):
    text = "text_model_encoder_layers_0_mlp_fc1"
    file = written(lora(f"lora_unet_{QUERY}") | lora(f"lora_te_{text}", 512, 128) | lora("lora_unet_no_such_block"))
    matched = names.match(file)
    assert matched.unknown == ("lora_unet_no_such_block",)
    unet, encoder = sorted(matched.targets, key=lambda target: target.layer.is_text)
    assert unet.name == f"lora_unet_{QUERY}"
    assert unet.layer.sd_key == f"diffusion_model_{ORIGINAL_QUERY}"
    assert unet.layer.key == "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    assert unet.layer.weight.stored.shape == (64, 64)
    assert unet.layer.bias is None
    assert encoder.layer.sd_key == f"transformer_{text}"
    assert encoder.layer.bias.stored.shape == (512,)


def test_layers_are_known_by_the_names_of_v1_10_1(model, names):
    assert names.by_sd_key["diffusion_model_out_2"].module is model.model.diffusion_model.out[2]
    assert len(names.by_sd_key) == len(names.layers)
    assert not any("first_stage" in layer.key for layer in names.layers)


def test_file_of_nothing_known(written):
    with pytest.raises(ModelLoadError, match=r"a\.safetensors holds no network of a known kind. It holds: a\.b"):
        written({"a.b.weight": torch.ones(2, 2)})


def test_layer_of_no_known_kind(written):
    with pytest.raises(ModelLoadError, match=r"for the layer lora_unet_x .*hada_w1_a are the tensors of no known kind"):
        written({"lora_unet_x.hada_w1_a": torch.ones(2, 2)})


UNET = "down_blocks.1.resnets.0.conv_shortcut"
ORIGINAL_UNET = "input_blocks.4.0.skip_connection"
TEXT = "text_model.encoder.layers.0.self_attn.out_proj"
KOHYA = ("lora_down.weight", "lora_up.weight", "alpha")
PEFT = ("lora_A.weight", "lora_B.weight", "alpha")
NAMES = {
    "kohya": (f"lora_unet_{UNET.replace('.', '_')}", f"lora_te_{TEXT.replace('.', '_')}", KOHYA),
    "kohya, numbered encoder": (f"lora_unet_{UNET.replace('.', '_')}", f"lora_te1_{TEXT.replace('.', '_')}", KOHYA),
    "kohya, original names": (
        f"lora_unet_{ORIGINAL_UNET.replace('.', '_')}",
        f"lora_te_{TEXT.replace('.', '_')}",
        KOHYA,
    ),
    "OneTrainer, original names": (f"diffusion_model.{ORIGINAL_UNET}", f"text_encoders.clip_l.{TEXT}", KOHYA),
    "OneTrainer, no prefix": (ORIGINAL_UNET, f"clip_l.{TEXT}", KOHYA),
    "OneTrainer, original names as peft": (f"diffusion_model.{ORIGINAL_UNET}", f"text_encoders.clip_l.{TEXT}", PEFT),
    "OneTrainer, no prefix as peft": (UNET, TEXT, PEFT),
    "OneTrainer, OMI": (f"unet.{ORIGINAL_UNET}", f"clip_l.{TEXT}", KOHYA),
    "diffusers": (f"unet.{UNET}", f"text_encoder.{TEXT}", PEFT),
    "diffusers, transformers 5": (f"unet.{UNET}", f"text_encoder.{TEXT.removeprefix('text_model.')}", PEFT),
    "ComfyUI": (f"diffusion_model.{ORIGINAL_UNET}", f"text_encoders.clip_l.transformer.{TEXT}", KOHYA),
    "LyCORIS, SimpleTuner": (f"lycoris_{UNET.replace('.', '_')}", f"lycoris_{TEXT.replace('.', '_')}", KOHYA),
    "peft": (f"base_model.model.{UNET}", f"base_model.model.{TEXT}", PEFT),
    "checkpoint": (f"model.diffusion_model.{ORIGINAL_UNET}", f"cond_stage_model.transformer.{TEXT}", KOHYA),
    "v1.10.1": (f"diffusion_model_{ORIGINAL_UNET.replace('.', '_')}", f"transformer_{TEXT.replace('.', '_')}", KOHYA),
}


@pytest.mark.parametrize(("unet", "text", "tensors"), NAMES.values(), ids=NAMES)
def test_names_of_other_programs(names, written, unet, text, tensors):
    values = (torch.randn(2, 128), torch.randn(128, 2), torch.tensor(1.0))
    file = written(
        {
            f"{layer}.{name}": value.clone()
            for layer in (unet, text)
            for name, value in zip(tensors, values, strict=True)
        }
    )
    assert not file.unread
    first, second = names.match(file).targets
    targets = {target.layer.is_text: target for target in (first, second)}
    assert targets[False].layer.key == f"model.diffusion_model.{ORIGINAL_UNET}"
    assert targets[True].layer.key == f"cond_stage_model.transformer.{TEXT}"
    expected = values[1] @ values[0] * 0.5
    torch.testing.assert_close(targets[True].adapter.delta(torch.zeros(128, 128), 1.0).weight, expected)


def test_no_two_layers_share_a_name(model):
    seen: dict[str, str] = {}
    for layer in model.layer_names.layers:
        for name in (layer.sd_key, layer.key, layer.path):
            spelled = name.replace(".", "_")
            assert seen.setdefault(spelled, layer.key) == layer.key


def test_all_layers_of_the_model_are_named(model):
    layers = model.layer_names.layers
    own = {module for name in (DENOISER, "clip_l") for module in model.network(name).modules()}
    with_weights = {module for module in own if "weight" in module._parameters}
    assert {layer.module for layer in layers} == with_weights
    assert all(model.layer_names.find(layer.key) == (layer,) for layer in layers)
    assert all((layer.bias is None) == (getattr(layer.module, "bias", None) is None) for layer in layers)


def test_names_hold_when_something_is_put_around_a_layer(model):
    attention = model.network("denoiser").mid_block.attentions[0].transformer_blocks[0].attn1
    (layer,) = model.layer_names.find("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q")
    before, attention.to_q = attention.to_q, nn.Sequential(attention.to_q)
    try:
        assert layer.weight.stored is before.weight.data or torch.equal(layer.weight.stored, before.weight)
    finally:
        attention.to_q = before


PROJECTION = "text_model_encoder_layers_0_self_attn_q_proj"


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    """A small SDXL: two text encoders, the second in the layout of OpenCLIP. The names of its layers, and both."""
    path = tmp_path_factory.mktemp("xl") / "a.safetensors"
    tiny_checkpoints.write("sdxl", path)
    made = model_load.build(model_load.prepare(str(path), {}), CPU)
    texts = [made.network(name).wrapped.transformer.text_model for name in ("clip_l", "clip_g")]
    return made.layer_names, *(text.encoder.layers[0].self_attn for text in texts)


def test_text_encoders_are_told_apart_by_their_number(xl, written):
    names, first, second = xl
    file = written(lora(f"lora_te1_{PROJECTION}", 32, 32) | lora(f"lora_te2_{PROJECTION}", 64, 64))
    targets = {target.name: target.layer for target in names.match(file).targets}
    assert targets[f"lora_te1_{PROJECTION}"].module is first.q_proj
    assert targets[f"lora_te1_{PROJECTION}"].sd_key == f"0_transformer_{PROJECTION}"
    assert targets[f"lora_te2_{PROJECTION}"].module is second.q_proj
    assert targets[f"lora_te2_{PROJECTION}"].sd_key == "1_model_transformer_resblocks_0_attn_q_proj"
    assert file.family.name == "sdxl"
    others = {
        "text_encoder.encoder.layers.0.self_attn.q_proj": first,
        "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj": second,
        "clip_g.text_model.encoder.layers.0.self_attn.q_proj": second,
        "text_encoders.clip_g.transformer.resblocks.0.attn.q_proj": second,
    }
    for name, attention in others.items():
        assert [layer.module for layer in names.find(name)] == [attention.q_proj]
    assert names.find(f"lora_te_{PROJECTION}") == ()  # of which encoder it is, nothing tells


def test_weight_that_is_several_layers(xl, written):
    names, _, second = xl
    file = written(lora("lora_te2_transformer_resblocks_0_attn_in_proj", 192, 64, alpha=1.0))
    targets = names.match(file).targets
    assert [target.layer.module for target in targets] == [second.q_proj, second.k_proj, second.v_proj]
    (whole,) = file.layers.values()
    weight = torch.zeros(64, 64)
    parts = torch.cat([target.adapter.delta(weight, 1.0).weight for target in targets])
    torch.testing.assert_close(parts, whole.delta(torch.zeros(192, 64), 1.0).weight)
    assert names.find("conditioner.embedders.1.model.transformer.resblocks.0.attn.k_proj") == (targets[1].layer,)


def test_weight_of_several_layers_that_cannot_be_split(xl, written):
    file = written({"lora_te2_transformer_resblocks_0_attn_in_proj.oft_blocks": torch.zeros(2, 48, 4, 4)})
    with pytest.raises(AdapterError, match="cannot be split"):
        xl[0].match(file)


def test_embedding_of_size_and_pooled_text(xl):
    for name in ("lora_unet_add_embedding_linear_1", "lora_unet_label_emb_0_0", "unet.add_embedding.linear_1"):
        (layer,) = xl[0].find(name)
        assert layer.sd_key == "diffusion_model_label_emb_0_0"


def test_projection_of_the_pooled_text_is_a_linear_layer(xl, written):
    (target,) = xl[0].match(written(lora("lora_te2_text_projection", 64, 64))).targets
    assert target.layer.sd_key == "1_model_text_projection"
    assert isinstance(target.layer.module, nn.Linear)


def test_word_vectors_that_come_along(written):
    bundled = {"bundle_emb.word.clip_l": torch.ones(2, 4), "bundle_emb.word.string_to_param.*": torch.ones(2, 4)}
    file = written(lora(f"lora_unet_{QUERY}") | bundled)
    assert file.bundled.keys() == bundled.keys()
    assert not file.unread
    assert not written(bundled).layers


def test_keys_that_say_nothing_are_named(written):
    file = written(
        lora(f"lora_unet_{QUERY}") | {"a.b": torch.ones(1), "c.weight": torch.ones(2), "c.bias": torch.ones(2)}
    )
    assert sorted(file.unread) == ["a.b", "c.bias", "c.weight"]
    assert list(file.layers) == [f"lora_unet_{QUERY}"]


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.SAFETENSORS.pt"])
def test_pickled_files(names, written, name):
    file = written(lora(f"lora_unet_{QUERY}"), name=name)
    assert len(names.match(file).targets) == 1
    assert file.metadata == {}


def test_weights_stay_in_the_file(written):
    file = written(lora(f"lora_unet_{QUERY}"))
    (adapter,) = file.layers.values()
    again = adapter_files.read(file.filename)
    assert set(again.layers) == set(file.layers)
    assert adapter.tensors["lora_up.weight"].dtype == torch.float32


DAMAGED = {
    "no file of weights": lambda whole: b"<html>not found</html>",
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[:-40],
    "cut off in its header": lambda whole: whole[:60],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files(written, damage, tmp_path):
    file = written(lora(f"lora_unet_{QUERY}"))
    path = tmp_path / "b.safetensors"
    with open(file.filename, "rb") as whole:
        path.write_bytes(damage(whole.read()))
    with pytest.raises(ModelLoadError, match=r"b\.safetensors is not a safetensors file"):
        adapter_files.read(str(path))


def test_file_that_is_gone(tmp_path):
    with pytest.raises(ModelLoadError, match="is not there any more"):
        adapter_files.read(str(tmp_path / "a.safetensors"))


def test_pickled_file_that_could_run_code(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(ModelLoadError, match=r"a\.pt"):
        adapter_files.read(str(path))
