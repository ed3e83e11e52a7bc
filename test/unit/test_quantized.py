"""Weights in fewer bits than they mean: scaled 8-bit numbers and GGUF, in files of real layouts."""

import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules import checkpoints, model_load, network_patches, quantized, weights
from modules.adapter_files.file import read
from modules.denoisers import mmdit
from modules.errors import ModelLoadError
from modules.model_families import SD1
from modules.placement import Placement
from test.unit.checkpoint_files import embedded_weights, vae_weights

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)
UNET = SD1.unet_prefix
KINDS = gguf.GGMLQuantizationType
QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
QUERY_KEY = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


def load(path, **changes):
    prepared = model_load.prepare(str(path), {}, modules=[checkpoints.embedded_checkpoint])
    return model_load.build(prepared, Placement(**{**vars(CPU), **changes}))


def denoiser():
    """The weights of the embedded checkpoint's U-Net, as a file of it alone has them."""
    return {k.removeprefix(UNET): v for k, v in embedded_weights().items() if k.startswith(UNET)}


def is_matrix(key, tensor):
    return tensor.ndim == 2 and tensor.shape[-1] % 32 == 0 and "transformer_blocks" in key


def write_gguf(path, kind, prefix="", flat=(), tensors=None, matrices=is_matrix):
    """Writes a denoiser, by default the U-Net, its matrices in blocks; `flat`: keys that are laid flat first."""
    writer = gguf.GGUFWriter(str(path), "sd1")
    for key, tensor in (tensors or denoiser()).items():
        numbers = tensor.float().numpy()
        if key in flat:
            writer.add_array(f"comfy.gguf.orig_shape.{key}", [int(side) for side in numbers.shape])
            numbers = numbers.reshape(-1, 32)
        if matrices(key, tensor) or key in flat:
            writer.add_tensor(prefix + key, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(prefix + key, numbers.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def q8(tmp_path_factory):
    """A U-Net in GGUF, eight bits a weight."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "q8.gguf", KINDS.Q8_0)


@pytest.fixture(scope="module")
def sd3(tiny_files):
    """A whole checkpoint of SD3: its q, k and v are one matrix, and two layers have their halves turned round."""
    return tiny_files("sd3.5-medium")[0]


FUSED = ("joint_blocks.0.x_block.attn.qkv.weight", "joint_blocks.0.context_block.attn.qkv.weight")
TURNED = ("joint_blocks.2.context_block.adaLN_modulation.1.weight", "final_layer.adaLN_modulation.1.weight")


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 8, 8, generator=generator)
    return x, torch.tensor([500.0]), torch.randn(1, 77, 128, generator=generator)


@torch.no_grad()
def widened(path, kind):
    """The model with the numbers that the blocks mean, by the package that wrote them."""
    model = load(checkpoints.embedded_checkpoint)
    for key, tensor in denoiser().items():
        if is_matrix(key, tensor):
            numbers = gguf.quants.dequantize(gguf.quants.quantize(tensor.float().numpy(), kind), kind)
            for place in model.weight_places[UNET + key]:
                place.stored.copy_(torch.from_numpy(numbers).reshape(place.stored.shape))
    return model


@pytest.mark.parametrize("kind", [KINDS.Q8_0, KINDS.Q4_0], ids=lambda kind: kind.name)
def test_blocks_of_gguf_compute_what_their_numbers_do(tmp_path, kind, inputs):
    path = write_gguf(tmp_path / "unet.gguf", kind, prefix=UNET if kind == KINDS.Q4_0 else "")
    model = load(path)
    layer = model.network("denoiser").get_submodule(QUERY)
    assert quantized.is_in_blocks(layer.weight) and layer.weight.quant_type == kind
    with torch.no_grad():
        blocks, plain = model.apply_model(*inputs), widened(path, kind).apply_model(*inputs)
    assert torch.allclose(blocks, plain, atol=2e-3)


def test_16_bits_of_gguf_are_plain_weights(tmp_path, inputs):
    model = load(write_gguf(tmp_path / "unet.gguf", KINDS.BF16))
    assert not quantized.is_kept_in_blocks(model)
    expected = denoiser()[QUERY_KEY.removeprefix(UNET)].float().bfloat16().float()
    assert torch.equal(model.network("denoiser").get_submodule(QUERY).weight, expected)


def test_tensors_that_were_laid_flat_get_their_shape_back(tmp_path):
    kernel = "input_blocks.1.0.in_layers.2.weight"
    read = weights.read_state_dict(str(write_gguf(tmp_path / "unet.gguf", KINDS.Q8_0, flat=[kernel])))
    stored = denoiser()[kernel].float()
    assert read[kernel].shape == stored.shape
    assert torch.allclose(read[kernel].float(), stored, atol=float(stored.abs().max()) / 100)


def test_a_model_in_blocks_moves_and_stays_so_under_fp8_storage(q8, inputs):
    model = load(q8, fp8=True)
    unet = model.network("denoiser")
    assert unet.get_submodule(QUERY).weight.dtype == torch.uint8
    assert unet.conv_in.weight.dtype == torch.float8_e4m3fn
    with torch.no_grad():
        assert model.apply_model(*inputs).isfinite().all()
    model.to("cpu")
    assert quantized.is_kept_in_blocks(model)
    assert all(parameter.is_meta for parameter in model.to("meta").parameters())


def test_networks_act_beside_layers_in_blocks(q8, inputs, tmp_path):
    generator = torch.Generator().manual_seed(1)
    up, down = torch.randn(64, 4, generator=generator), torch.randn(4, 64, generator=generator)
    name = "lora_unet_" + QUERY.replace(".", "_")
    path = tmp_path / "lora.safetensors"
    save_file({f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}, path)
    networks = network_patches.Networks((network_patches.ActiveNetwork("lora", read(str(path)), 1, 0.5),))
    model = load(q8)
    with torch.no_grad():
        without = model.apply_model(*inputs)
        model.patches.put("networks", networks)
        changed = model.apply_model(*inputs)
        model.patches.take("networks")
        assert torch.equal(model.apply_model(*inputs), without)
        layer = model.network("denoiser").get_submodule(QUERY)
        whole = torch.nn.Linear(64, 64, bias=False)
        whole.weight.copy_(quantized.values(layer.weight) + 0.5 * up @ down)
        model.network("denoiser").set_submodule(QUERY, whole)
        assert torch.allclose(changed, model.apply_model(*inputs), atol=2e-3)
        assert not torch.allclose(changed, without, atol=1e-2)


def test_layers_in_blocks_that_are_one_in_the_file(sd3, tmp_path):
    tensors = {k.removeprefix(UNET): v for k, v in load_file(sd3).items() if k.startswith(UNET)}
    blocks = (*FUSED, *TURNED)
    write_gguf(tmp_path / "sd3.gguf", KINDS.Q8_0, tensors=tensors, matrices=lambda key, tensor: key in blocks)
    model = model_load.build(model_load.prepare(str(tmp_path / "sd3.gguf"), {}, modules=[str(sd3)]), CPU)
    meant = {
        key: torch.from_numpy(
            gguf.quants.dequantize(gguf.quants.quantize(tensors[key].float().numpy(), KINDS.Q8_0), KINDS.Q8_0)
        )
        for key in blocks
    }
    expected = mmdit.to_diffusers("", 2, meant)
    assert len(expected) == 3 * len(FUSED) + len(TURNED)
    for name, numbers in expected.items():
        stored = model.network("denoiser").get_parameter(name)
        assert quantized.is_in_blocks(stored)
        torch.testing.assert_close(quantized.values(stored).float(), numbers, atol=1e-4, rtol=1e-3)


SCALES_AT = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}
"""Kind of blocks -> where in a block its numbers of 16 bits begin; all else may be any bytes."""


def random_blocks(kind, rows=4, columns=512):
    """Blocks (rows, bytes) of numbers about 1, which mean what the format says they do."""
    size, width = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (rows * columns // size, width), dtype=np.uint8)
    for offset in SCALES_AT[kind.name]:
        scales = generator.uniform(0.001, 0.01, len(blocks)).astype(np.float16)
        blocks[:, offset : offset + 2] = scales[:, None].view(np.uint8)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("name", SCALES_AT)
def test_numbers_of_all_kinds_of_blocks(name, tmp_path):
    blocks = random_blocks(KINDS[name])
    writer = gguf.GGUFWriter(str(tmp_path / "a.gguf"), "sd1")
    writer.add_tensor("a.weight", blocks, raw_dtype=KINDS[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tensor,) = weights.read_state_dict(str(tmp_path / "a.gguf")).values()
    numbers = torch.from_numpy(gguf.quants.dequantize(blocks, KINDS[name]))
    assert numbers.isfinite().all() and numbers.std() > 0.001
    largest = float(numbers.abs().max())  # widened in 16 bits
    torch.testing.assert_close(quantized.values(tensor).float(), numbers, atol=largest / 1000, rtol=0)
    layer = torch.nn.Linear(512, 4, bias=False)
    assert quantized.layer_in_blocks(layer, "weight", layer.weight, torch.float32) is None
    in_blocks = quantized.layer_in_blocks(layer, "weight", tensor, torch.float32)
    x = torch.ones(1, 512)
    torch.testing.assert_close(in_blocks(x), x @ numbers.T, atol=largest / 10, rtol=0)


def test_files_that_are_no_gguf(tmp_path):
    path = tmp_path / "odd.gguf"
    path.write_bytes(b"GGUX" + bytes(60))
    with pytest.raises(ModelLoadError, match=r"odd\.gguf is not a GGUF file"):
        weights.read_state_dict(str(path))


def scaled(write_scale, rows=False):
    """The U-Net with the matrices of its attention in 8 bits, and what they mean."""
    stored, meant = {}, {}
    for key, tensor in denoiser().items():
        meant[key] = tensor.float()
        stored[key] = tensor
        if is_matrix(key, tensor):
            scale = tensor.float().abs().amax(dim=1 if rows else (0, 1), keepdim=rows) / 448
            stored[key] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            meant[key] = stored[key].float() * scale
            stored |= write_scale(key.removesuffix(".weight"), scale)
    return stored, meant


def old_form(layer, scale):
    return {f"{layer}.scale_weight": scale, f"{layer}.scale_input": torch.ones(())}


def new_form(layer, scale, name="float8_e4m3fn"):
    said = torch.tensor(list(json.dumps({"format": name}).encode()), dtype=torch.uint8)
    return {f"{layer}.weight_scale": scale, f"{layer}.input_scale": torch.ones(()), f"{layer}.comfy_quant": said}


@pytest.mark.parametrize(("form", "rows"), [(old_form, False), (new_form, False), (new_form, True)])
@pytest.mark.parametrize("prefix", ["", UNET])
def test_scaled_fp8_means_its_numbers_times_the_scale(tmp_path, form, rows, prefix, caplog):
    stored, meant = scaled(form, rows)
    stored["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file({prefix + key: tensor.contiguous() for key, tensor in stored.items()}, tmp_path / "scaled.safetensors")
    model = load(tmp_path / "scaled.safetensors")
    for key in (QUERY_KEY, f"{UNET}out.2.weight"):
        (place,) = model.weight_places[key]
        assert torch.equal(place.stored, meant[key.removeprefix(UNET)])
    assert not caplog.records


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_vae_of_its_own_file_is_scaled_too(tmp_path, prefix):
    stored, meant = vae_weights(), {}
    for layer in ("decoder.conv_in", "decoder.mid.block_1.conv1"):
        weight = stored[f"{layer}.weight"].float()
        scale = weight.abs().max() / 448
        stored[f"{layer}.weight"] = (weight / scale).to(torch.float8_e4m3fn)
        meant[layer] = stored[f"{layer}.weight"].float() * scale
        stored |= new_form(layer, scale)
    save_file({prefix + key: tensor.contiguous() for key, tensor in stored.items()}, tmp_path / "scaled.safetensors")
    vae = model_load.load_vae(str(tmp_path / "scaled.safetensors"), SD1, CPU)
    assert torch.equal(vae.decoder.conv_in.weight, meant["decoder.conv_in"])
    assert torch.equal(vae.decoder.mid_block.resnets[0].conv1.weight, meant["decoder.mid.block_1.conv1"])


@pytest.mark.parametrize("rows", [False, True])
def test_scales_follow_weights_that_are_cut_and_turned(sd3, rows, tmp_path, caplog):
    stored, meant = load_file(sd3), {}
    for key in (*FUSED, *TURNED):
        weight = stored[UNET + key].float()
        scale = weight.abs().amax(dim=1 if rows else (0, 1), keepdim=rows) / 448
        stored[UNET + key] = (weight / scale).to(torch.float8_e4m3fn)
        meant[key] = stored[UNET + key].float() * scale
        stored[f"{UNET}{key.removesuffix('.weight')}.weight_scale"] = scale
    save_file(stored, tmp_path / "scaled.safetensors")
    model = model_load.build(model_load.prepare(str(tmp_path / "scaled.safetensors"), {}), CPU)
    for name, numbers in mmdit.to_diffusers("", 2, meant).items():
        assert torch.equal(model.network("denoiser").get_parameter(name), numbers)
    assert not caplog.records


def under_diffusers_names(sd3, rows):
    """The denoiser as diffusers names it, matrices in 8 bits with a scale for each part of q, k and v; its meaning."""
    network = model_load.build(model_load.prepare(str(sd3), {}), CPU).network("denoiser")
    stored, meant = {}, {}
    for key, weight in network.state_dict().items():
        stored[key] = meant[key] = weight.clone()
        if weight.ndim == 2 and "transformer_blocks" in key or key == "norm_out.linear.weight":
            scale = weight.abs().amax(dim=1 if rows else (0, 1), keepdim=rows) / 448
            stored[key] = (weight / scale).to(torch.float8_e4m3fn)
            meant[key] = stored[key].float() * scale
            stored |= new_form(key.removesuffix(".weight"), scale)
    return stored, meant


@pytest.mark.parametrize("rows", [False, True])
def test_scales_follow_weights_that_are_joined(sd3, rows, tmp_path, caplog):
    stored, meant = under_diffusers_names(sd3, rows)
    save_file(stored, tmp_path / "scaled.safetensors")
    model = model_load.build(model_load.prepare(str(tmp_path / "scaled.safetensors"), {}, modules=[str(sd3)]), CPU)
    for name, numbers in model.network("denoiser").state_dict().items():
        assert torch.equal(numbers, meant[name])
    assert not caplog.records


def test_parts_that_cannot_be_joined_are_named(sd3, tmp_path):
    stored, meant = under_diffusers_names(sd3, rows=False)
    key = "transformer_blocks.0.attn.to_k.weight"
    save_file({**stored, key: meant[key]}, tmp_path / "mixed.safetensors")
    with pytest.raises(ModelLoadError, match=r"mixed\.safetensors stores parts of one layer in .* choose a file .* 16"):
        model_load.prepare(str(tmp_path / "mixed.safetensors"), {}, modules=[str(sd3)])


def test_plain_fp8_means_its_numbers(tmp_path):
    stored = {key: tensor.to(torch.float8_e5m2) for key, tensor in denoiser().items()}
    save_file(stored, tmp_path / "plain.safetensors")
    (place,) = load(tmp_path / "plain.safetensors").weight_places[QUERY_KEY]
    assert torch.equal(place.stored, stored[QUERY_KEY.removeprefix(UNET)].float())


def test_scaled_weights_stay_in_8_bits_where_the_setting_says_so(tmp_path):
    stored, meant = scaled(old_form)
    save_file(stored, tmp_path / "scaled.safetensors")
    (place,) = load(tmp_path / "scaled.safetensors", fp8=True).weight_places[QUERY_KEY]
    assert place.stored.dtype == torch.float8_e4m3fn
    assert torch.equal(place.stored.float(), meant[QUERY_KEY.removeprefix(UNET)].to(torch.float8_e4m3fn).float())


def test_formats_that_are_not_known_are_named(tmp_path):
    stored, _ = scaled(lambda layer, scale: new_form(layer, scale, "nvfp4"))
    save_file(stored, tmp_path / "odd.safetensors")
    with pytest.raises(ModelLoadError, match=r"odd\.safetensors has layers stored as nvfp4 .*not supported"):
        load(tmp_path / "odd.safetensors")
    weight = torch.zeros(4, 4, dtype=torch.float8_e4m3fn)
    with pytest.raises(ModelLoadError, match=r"shape \(2, 2\), the weight \(4, 4\)"):
        quantized.split_scales("x", {"a.weight": weight, "a.weight_scale": torch.ones(2, 2)})
