"""Files of networks of the LoRA family: what is read in them, and for which layers of a model."""

import pytest
import torch
from safetensors.torch import save_file

from modules import adapter_files, checkpoints, model_load
from modules.errors import ModelLoadError
from modules.placement import Placement

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)
QUERY = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
ORIGINAL_QUERY = "input_blocks_1_1_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def model():
    return model_load.build(model_load.prepare(checkpoints.embedded_checkpoint, {}), CPU)


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
    assert names.by_sd_key["diffusion_model_out_2"].module is model.model.diffusion_model.conv_out
    assert len(names.by_sd_key) == len(names.layers)
    assert not any("first_stage" in layer.key for layer in names.layers)


def test_file_of_nothing_known(written):
    with pytest.raises(ModelLoadError, match=r"a\.safetensors holds no network of a known kind. It holds: a\.b"):
        written({"a.b.weight": torch.ones(2, 2)})


def test_layer_of_no_known_kind(written):
    with pytest.raises(ModelLoadError, match=r"for the layer lora_unet_x .*hada_w1_a are the tensors of no known kind"):
        written({"lora_unet_x.hada_w1_a": torch.ones(2, 2)})
