"""From a checkpoint file to a model."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from modules import checkpoints, model_load, weights
from modules.errors import ModelLoadError
from modules.placement import Placement
from test.unit.checkpoint_files import SD15, embedded_weights, vae_weights, with_input_channels, write_checkpoint

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)
UNET = "model.diffusion_model."
TEXT = "cond_stage_model.transformer."


def load(path, metadata=None, config=None, placement=CPU):
    return model_load.build(model_load.prepare(str(path), metadata or {}, config), placement)


@pytest.fixture(scope="module")
def model():
    return load(checkpoints.embedded_checkpoint)


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    return x, torch.tensor([999.0, 20.5]), torch.randn(2, 77, 128, generator=generator)


def test_weights_arrive_in_the_networks(model):
    stored = embedded_weights()
    unet = model.model.diffusion_model
    first = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert torch.equal(first, stored[f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"].float())
    table = model.cond_stage_model.wrapped.transformer.text_model.embeddings.token_embedding.weight
    assert torch.equal(table, stored[f"{TEXT}text_model.embeddings.token_embedding.weight"].float())
    attention = model.first_stage_model.decoder.mid_block.attentions[0].to_q.weight
    assert torch.equal(attention, stored["first_stage_model.decoder.mid.attn_1.q.weight"][:, :, 0, 0].float())
    assert torch.equal(model.alphas_cumprod, stored["alphas_cumprod"])


def test_model_is_ready_for_inference(model):
    assert not model.training
    assert not any(p.requires_grad or p.is_meta or p.is_inference() for p in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers())


def test_model_made_during_a_job_can_be_used_for_training():
    with torch.no_grad():
        made = load(checkpoints.embedded_checkpoint)
    context = torch.zeros(1, 77, 128, requires_grad=True)
    made.apply_model(torch.zeros(1, 4, 8, 8), torch.tensor([1.0]), context).sum().backward()
    assert context.grad is not None


def test_unet_computes_as_diffusers_own(model, inputs):
    from diffusers import UNet2DConditionModel

    ours = model.model.diffusion_model
    theirs = UNet2DConditionModel(**{k: v for k, v in ours.config.items() if not k.startswith("_")}).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        expected = theirs(*inputs).sample
        assert torch.allclose(model.apply_model(*inputs), expected, atol=1e-5)


def test_same_weights_from_ckpt(tmp_path, model, inputs):
    path = write_checkpoint(tmp_path / "model.ckpt")
    with torch.no_grad():
        assert torch.equal(load(path).apply_model(*inputs), model.apply_model(*inputs))


def test_inpainting_model_sees_mask_and_picture(tmp_path, model, inputs):
    x, t, context = inputs
    inpainting = load(write_checkpoint(tmp_path / "inpaint.safetensors", with_input_channels(9)))
    assert (inpainting.family.name, inpainting.model.conditioning_key) == ("sd1-inpainting", "hybrid")
    cond = {"c_crossattn": [context], "c_concat": [torch.randn(2, 5, 8, 8)]}
    with torch.no_grad():  # the new channels have no weight
        assert torch.allclose(inpainting.apply_model(x, t, cond), model.apply_model(x, t, context), atol=1e-5)


def test_instruct_pix2pix(tmp_path):
    edit = load(write_checkpoint(tmp_path / "edit.safetensors", with_input_channels(8)))
    assert (edit.family.name, edit.cond_stage_key) == ("instruct-pix2pix", "edit")


def test_other_widths_load(tmp_path):
    def halve_ffn(stored):
        for key in [key for key in stored if ".ff.net." in key]:
            width = stored[key].shape[0]
            if ".net.0." in key:  # value and gate, one above the other
                stored[key] = torch.cat([stored[key][: width // 4], stored[key][width // 2 : width // 2 + width // 4]])
            elif stored[key].ndim == 2:
                stored[key] = stored[key][:, : stored[key].shape[1] // 2]

    with pytest.raises(ModelLoadError, match=r"has shape .* expected"):
        load(write_checkpoint(tmp_path / "odd.safetensors", halve_ffn))

    def fewer_text_layers(stored):
        for key in [key for key in stored if key.startswith(f"{TEXT}text_model.encoder.layers.3.")]:
            del stored[key]

    made = load(write_checkpoint(tmp_path / "short.safetensors", fewer_text_layers))
    assert len(made.cond_stage_model.wrapped.transformer.text_model.encoder.layers) == 3


def test_layout_of_sd15(tmp_path, caplog, inputs):
    def replace_unet(stored):
        for key in [key for key in stored if key.startswith(UNET)]:
            del stored[key]
        stored.update(SD15.weights())

    made = load(write_checkpoint(tmp_path / "sd15.safetensors", replace_unet))
    assert not caplog.records
    unet = made.model.diffusion_model
    assert made.family.name == "sd1"
    assert [type(block).__name__ for block in unet.up_blocks] == ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    with torch.no_grad():
        assert made.apply_model(*inputs).isfinite().all()
        assert made.apply_model(torch.zeros(1, 4, 9, 5), inputs[1][:1], inputs[2][:1]).shape == (1, 4, 9, 5)


def test_files_of_an_older_transformers(tmp_path):
    def rename(stored):
        for key in [key for key in stored if key.startswith(f"{TEXT}text_model.")]:
            stored[key.replace(".text_model", "", 1)] = stored.pop(key)

    assert load(write_checkpoint(tmp_path / "old.safetensors", rename)).family.name == "sd1-tiny"


def test_unknown_weights_are_named_once(tmp_path, caplog):
    path = write_checkpoint(
        tmp_path / "more.safetensors",
        lambda stored: stored.update({"model.extra": torch.ones(1), f"{UNET}odd.weight": torch.ones(1)}),
    )
    load(path)
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "more.safetensors" in message
    assert "2 weights are" in message and "model.extra" in message and f"{UNET}odd.weight" in message


def test_nothing_is_reported_for_the_embedded_checkpoint(caplog):
    model_load.prepare(checkpoints.embedded_checkpoint, {})
    assert not caplog.records


def test_missing_weights_are_named(tmp_path):
    path = write_checkpoint(tmp_path / "less.safetensors", lambda stored: stored.pop(f"{UNET}time_embed.0.weight"))
    with pytest.raises(ModelLoadError, match=r"less\.safetensors, U-Net .*1 weights are \(time_embedding"):
        load(path)


def test_many_missing_weights_are_counted(tmp_path):
    def remove(stored):
        for key in [key for key in stored if ".text_model.encoder.layers.1." in key]:
            del stored[key]

    with pytest.raises(ModelLoadError, match=r"\d\d weights are .*, \.\.\.\) missing"):
        load(write_checkpoint(tmp_path / "less.safetensors", remove))


def test_missing_vae_is_said(tmp_path):
    def remove(stored):
        for key in [key for key in stored if key.startswith("first_stage_model.")]:
            del stored[key]

    with pytest.raises(ModelLoadError, match=r"no_vae\.safetensors looks like .*encoder.* is missing"):
        load(write_checkpoint(tmp_path / "no_vae.safetensors", remove))


def test_other_files_say_what_they_hold(tmp_path):
    path = tmp_path / "lora.safetensors"
    weights_of_lora = {f"lora_unet_{i}.lora_up.weight": torch.ones(1) for i in range(3)}
    from safetensors.torch import save_file

    save_file(weights_of_lora, path)
    with pytest.raises(ModelLoadError, match=r"lora\.safetensors is no checkpoint.*lora_unet\* \(3\)"):
        load(path)


def test_weights_already_read_are_used():
    prepared = model_load.prepare("named.safetensors", {}, state_dict=embedded_weights())
    assert prepared.filename == "named.safetensors"


def test_metadata_and_architecture_file_decide_the_prediction(tmp_path):
    path = checkpoints.embedded_checkpoint
    assert model_load.prepare(path, {}).parameterization == "eps"
    assert model_load.prepare(path, {"modelspec.prediction_type": "v"}).parameterization == "v"
    config = tmp_path / "model.yaml"
    config.write_text("model: {params: {parameterization: v}}")
    prepared = model_load.prepare(path, {}, str(config))
    assert (prepared.parameterization, prepared.config) == ("v", str(config))


def test_schedule_where_the_file_has_none(tmp_path):
    config = tmp_path / "model.yaml"
    config.write_text("model: {params: {timesteps: 10}}")
    path = write_checkpoint(tmp_path / "model.safetensors", lambda stored: stored.pop("alphas_cumprod"))
    assert len(model_load.prepare(str(path), {}, str(config)).alphas_cumprod) == 10
    assert len(model_load.prepare(str(path), {}).alphas_cumprod) == 1000


def test_types_and_memory_format(inputs):
    placement = Placement(torch.device("cpu"), torch.bfloat16, torch.float32, torch.float16, channels_last=True)
    made = load(checkpoints.embedded_checkpoint, placement=placement)
    weight = made.model.diffusion_model.conv_in.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert made.cond_stage_model.wrapped.transformer.text_model.final_layer_norm.weight.dtype == torch.float16
    assert made.first_stage_model.dtype == torch.float32
    assert made.placement == placement


def test_fp8_stores_in_8_bits_and_computes_in_more(model, inputs):
    made = load(checkpoints.embedded_checkpoint, placement=replace(CPU, fp8=True))
    block = made.model.diffusion_model.down_blocks[0].attentions[0].transformer_blocks[0]
    assert block.attn1.to_q.weight.dtype == torch.float8_e4m3fn
    assert block.norm1.weight.dtype == torch.float32
    assert made.first_stage_model.dtype == torch.float32
    with torch.no_grad():
        rough, exact = made.apply_model(*inputs), model.apply_model(*inputs)
    assert 0 < (rough - exact).abs().max() < 1


def test_vae_of_its_own_file_and_of_a_checkpoint(tmp_path, model):
    path = tmp_path / "vae.pt"
    torch.save({"state_dict": vae_weights() | {"loss.x": torch.ones(1), "model_ema.decay": torch.ones(1)}}, path)
    z = torch.randn(1, 4, 4, 4)
    for filename in (str(path), checkpoints.embedded_checkpoint):
        vae = model_load.load_vae(filename, 4, CPU)
        with torch.no_grad():
            assert torch.equal(vae.decode(z).sample, model.first_stage_model.decode(z).sample)


def test_files_that_are_no_vae(tmp_path):
    path = tmp_path / "vae.pt"
    torch.save({"x": torch.ones(1)}, path)
    with pytest.raises(ModelLoadError, match=r"vae\.pt is no VAE.*x\* \(1\)"):
        model_load.load_vae(str(path), 4, CPU)
    with pytest.raises(ModelLoadError, match="latents of 4 channels.*16"):
        model_load.load_vae(checkpoints.embedded_checkpoint, 16, CPU)


def test_preparing_copies_no_weights():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    assert all(parameter.is_meta for parameter in prepared.unet.module.parameters())
    assert weights.shapes_of(prepared.unet.weights)["conv_in.weight"] == (64, 4, 3, 3)


WITHOUT_NETWORK = """
import os, socket, sys

def refuse(*args, **kwargs):
    raise RuntimeError(f"network asked for: {args}")

os.environ.pop("HF_HUB_OFFLINE", None)
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = ["webui.py", "--data-dir", sys.argv[1], "--use-cpu", "all"]
from modules import sd_models, shared
sd_models.setup_model()
print(shared.sd_model.sd_checkpoint_info)
"""


def test_no_network_is_asked_for(tmp_path):
    root = model_load.__file__.rpartition("modules")[0]
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(tmp_path)]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "demo-emoji.safetensors [9576f7e89f]"
