"""From a checkpoint file to a model."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules import checkpoints, model_load, sd_hijack, weights
from modules.errors import ModelLoadError
from modules.model_families import SD1
from modules.placement import Placement
from modules.weight_patches import WeightPatch
from test.unit.checkpoint_files import SD15, embedded_weights, vae_weights, with_input_channels, write_checkpoint
from test.unit.tiny_networks import tiny_clip_network

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
    unet = model.network("denoiser")
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

    ours = model.network("denoiser")
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
    unet = made.network("denoiser")
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

    with pytest.raises(ModelLoadError, match=r"no_vae\.safetensors is .* and text encoder only: choose a VAE"):
        load(write_checkpoint(tmp_path / "no_vae.safetensors", remove))


def test_other_files_say_what_they_hold(tmp_path):
    path = tmp_path / "lora.safetensors"
    weights_of_lora = {f"lora_unet_{i}.lora_up.weight": torch.ones(1) for i in range(3)}
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
    weight = made.network("denoiser").conv_in.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert made.cond_stage_model.wrapped.transformer.text_model.final_layer_norm.weight.dtype == torch.float16
    assert made.first_stage_model.dtype == torch.float32
    assert made.placement == placement


def test_fp8_stores_in_8_bits_and_computes_in_more(model, inputs):
    made = load(checkpoints.embedded_checkpoint, placement=replace(CPU, fp8=True))
    block = made.network("denoiser").down_blocks[0].attentions[0].transformer_blocks[0]
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
        vae = model_load.load_vae(filename, SD1, CPU)
        with torch.no_grad():
            assert torch.equal(vae.decode(z).sample, model.first_stage_model.decode(z).sample)


def test_files_that_are_no_vae(tmp_path):
    path = tmp_path / "vae.pt"
    torch.save({"x": torch.ones(1)}, path)
    with pytest.raises(ModelLoadError, match=r"vae\.pt is no VAE.*x\* \(1\)"):
        model_load.load_vae(str(path), SD1, CPU)
    with pytest.raises(ModelLoadError, match="latents of 4 channels.*16"):
        deeper = replace(SD1, latent_format=replace(SD1.latent_format, channels=16))
        model_load.load_vae(checkpoints.embedded_checkpoint, deeper, CPU)


def test_preparing_copies_no_weights():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    assert all(parameter.is_meta for parameter in prepared.denoiser.module.parameters())
    assert weights.shapes_of(prepared.denoiser.weights)["conv_in.weight"] == (64, 4, 3, 3)


def part_of(stored, prefix, keep_prefix):
    """The weights of one module, as a file of its own has them."""
    cut = "" if keep_prefix else prefix
    return {key.removeprefix(cut): tensor.contiguous() for key, tensor in stored.items() if key.startswith(prefix)}


@pytest.fixture
def split(tmp_path):
    """Writes the three modules of the embedded checkpoint to files of their own: (denoiser, the others by name)."""

    def write(keep_prefix=False, **changes):
        stored = embedded_weights()
        paths = {}
        for name, prefix in SD1.prefixes.items():
            paths[name] = str(tmp_path / f"{name}.safetensors")
            tensors = part_of(stored, prefix, keep_prefix)
            changes.get(name, lambda tensors: None)(tensors)
            save_file(tensors, paths[name])
        return paths.pop("denoiser"), paths

    return write


@pytest.mark.parametrize("keep_prefix", [False, True])
def test_modules_in_files_of_their_own_are_the_same_model(split, keep_prefix, model, inputs, caplog):
    denoiser, others = split(keep_prefix)
    prepared = model_load.prepare(denoiser, {}, modules=list(others.values()))
    files = {name: network.filename for name, network in prepared.networks.items()}
    assert files == {"denoiser": denoiser, **others}
    assert list(prepared.encoders) == ["clip_l"]
    made = model_load.build(prepared, CPU)
    z = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(made.apply_model(*inputs), model.apply_model(*inputs))
        texts = ["a red apple"]
        assert torch.equal(made.get_learned_conditioning(texts), model.get_learned_conditioning(texts))
        assert torch.equal(made.decode_first_stage(z), model.decode_first_stage(z))
    assert not caplog.records


def test_module_from_another_file_replaces_that_of_the_checkpoint(split, model):
    _, others = split(vae=lambda tensors: tensors["decoder.conv_out.bias"].add_(1.0))
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {}, modules=[others["vae"]])
    bias = model_load.build(prepared, CPU).first_stage_model.decoder.conv_out.bias
    assert torch.allclose(bias, model.first_stage_model.decoder.conv_out.bias + 1.0, atol=1e-2)


def test_denoiser_alone_names_what_is_missing(split):
    denoiser, others = split()
    with pytest.raises(
        ModelLoadError,
        match=r"denoiser\.safetensors is a file of .*holds the denoiser only: choose a VAE and a text encoder in .*"
        r"forge_additional_modules.* named denoiser\.vae\.safetensors and denoiser\.clip_l\.safetensors",
    ):
        model_load.prepare(denoiser, {})
    with pytest.raises(ModelLoadError, match="holds U-Net and VAE only: choose a text encoder in"):
        model_load.prepare(denoiser, {}, modules=[others["vae"]])


def test_files_for_modules_that_a_family_has_not(split, tmp_path, caplog):
    denoiser, others = split()
    t5 = str(tmp_path / "t5.safetensors")
    save_file({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(8, 8)}, t5)
    prepared = model_load.prepare(denoiser, {}, modules=[*others.values(), t5])
    assert list(prepared.networks) == ["denoiser", "vae", "clip_l"]
    assert "t5.safetensors is for no module of Stable Diffusion 1, tiny and not used" in caplog.text


def test_files_that_hold_no_module(split):
    denoiser, others = split()
    with pytest.raises(ModelLoadError, match=r"denoiser\.safetensors holds no VAE and no text encoder .*input_blocks"):
        model_load.prepare(denoiser, {}, modules=[*others.values(), denoiser])


def test_spare_files_are_for_what_is_missing(split, model):
    denoiser, others = split(vae=lambda tensors: tensors["decoder.conv_out.bias"].add_(1.0))
    spare = list(others.values())
    whole = model_load.prepare(checkpoints.embedded_checkpoint, {}, spare=spare)
    assert {network.filename for network in whole.networks.values()} == {checkpoints.embedded_checkpoint}
    assert whole.files == ()
    filled = model_load.prepare(denoiser, {}, modules=[checkpoints.embedded_checkpoint], spare=spare)
    assert filled.files == (checkpoints.embedded_checkpoint,)
    assert model_load.prepare(denoiser, {}, spare=spare).files == (others["vae"], others["clip_l"])


def test_text_encoder_of_another_width_does_not_fit(split, tmp_path):
    denoiser, others = split()
    narrow = tiny_clip_network(width=64).state_dict()
    path = str(tmp_path / "narrow.safetensors")
    save_file({key.removeprefix("transformer."): tensor for key, tensor in narrow.items()}, path)
    with pytest.raises(ModelLoadError, match="reads text of 128 channels, its text encoder gives 64"):
        model_load.prepare(denoiser, {}, modules=[others["vae"], path])


def test_unknown_weights_are_named_with_their_file(split, caplog):
    def add(tensors):
        tensors["odd.weight"] = torch.ones(1)

    denoiser, others = split(vae=add, clip_l=add)
    model_load.prepare(denoiser, {}, modules=list(others.values()))
    messages = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 2
    assert "vae.safetensors: 1 weights are (first_stage_model.odd.weight)" in messages[0]
    assert "clip_l.safetensors: 1 weights are (cond_stage_model.transformer.odd.weight)" in messages[1]


def test_other_family_with_the_same_denoiser_is_not_taken_for_a_half(tmp_path):
    def rename_text_encoder(stored):
        for key in [key for key in stored if key.startswith(TEXT)]:
            stored[key.replace("transformer.text_model", "model.transformer")] = stored.pop(key)

    with pytest.raises(ModelLoadError, match=r"sd2\.safetensors is no checkpoint of a kind that can be loaded"):
        load(write_checkpoint(tmp_path / "sd2.safetensors", rename_text_encoder))


def test_each_weight_of_a_file_is_found_in_the_model(model):
    sd_hijack.StableDiffusionModelHijack().hijack(model)
    stored = embedded_weights()
    used = {key: tensor for key, tensor in stored.items() if not model.family.is_ignored(key)}
    assert model.weight_places.keys() == used.keys()
    for key, tensor in used.items():
        (place,) = model.weight_places[key]
        assert torch.equal(place.parameter, tensor.float().reshape(place.parameter.shape)), key
    parameters = {id(place.parameter) for places in model.weight_places.values() for place in places}
    assert parameters == {id(parameter) for parameter in model.parameters()}


def test_weights_that_share_memory_are_told_apart(tmp_path):
    stored = embedded_weights()
    twins = [f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_{letter}.weight" for letter in "qk"]
    stored[twins[1]] = stored[twins[0]]
    prepared = model_load.prepare("model.ckpt", {}, state_dict=stored)
    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    assert [prepared.denoiser.parameters[key] for key in twins] == [
        (f"{block}.to_q.weight",),
        (f"{block}.to_k.weight",),
    ]


def test_weight_that_is_cut_goes_to_several_parameters():
    fused = {"qkv": torch.randn(6, 2), "unused": torch.ones(1), "scale": torch.ones(())}

    def cut(tensors):
        q, k, v = tensors["qkv"].chunk(3)
        return {"q": q, "k": k, "v": v.T, "scale": tensors["scale"]}

    assert model_load.traced(fused, cut) == {"qkv": ("q", "k", "v"), "unused": (), "scale": ("scale",)}


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


def device_types(model):
    return {name: next(model.network(name).parameters()).device.type for name in SD1.prefixes}


def test_each_module_is_built_where_it_computes():
    elsewhere = replace(CPU, devices={"vae": torch.device("meta"), "clip_l": torch.device("meta")})
    assert device_types(load(checkpoints.embedded_checkpoint, placement=elsewhere)) == {
        "denoiser": "cpu",
        "vae": "meta",
        "clip_l": "meta",
    }


def test_a_model_that_comes_back_brings_each_module_to_its_device():
    model = load(checkpoints.embedded_checkpoint)
    model.loaded_as = replace(model.loaded_as, devices={"clip_l": torch.device("meta")})
    model.bring(torch.device("cpu"))
    assert device_types(model) == {"denoiser": "cpu", "vae": "cpu", "clip_l": "meta"}


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="there the memory of a file is told")
def test_what_was_read_of_a_file_does_not_stay_in_memory(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "model.safetensors")
    monkeypatch.setattr(model_load, "RELEASED_BYTES", 2**20)

    def resident():
        """Bytes of the file that are counted as this process's memory."""
        sizes, is_file = [], False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            first = line.split()[0]
            is_file = line.endswith(path.name) if "-" in first else is_file
            if is_file and first == "Rss:":
                sizes.append(int(line.split()[1]) * 1024)
        return sum(sizes)

    prepared = model_load.prepare(str(path), {})
    assert sum(float(tensor.sum()) for tensor in prepared.denoiser.weights.values()) != 0
    assert resident() > 2**23
    model_load.materialize(prepared.denoiser, CPU.device, torch.float32)
    assert resident() < 2**23


def test_weights_in_8_bits_are_those_that_are_narrowed_afterwards(model):
    narrow = load(checkpoints.embedded_checkpoint, placement=replace(CPU, fp8=True)).model.diffusion_model
    for name, weight in model.model.diffusion_model.named_parameters():
        stored = narrow.get_parameter(name)
        assert torch.equal(stored.float(), weight.to(stored.dtype).float())


def test_networks_are_added_to_what_was_before_the_rounding_where_that_is_kept(model):
    """The setting cache_fp16_weight."""
    made = load(checkpoints.embedded_checkpoint, placement=replace(CPU, fp8=True, keeps_fp16=True))
    (place,) = made.weight_places["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    (plain,) = model.weight_places["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    rounded = place.stored.clone()
    assert torch.equal(place.exact.float(), plain.stored.half().float())
    made.patches.put("more", lambda model: WeightPatch({place: lambda weight: weight * 1.5}))
    assert torch.equal(place.stored.float(), (place.exact.float() * 1.5).to(rounded.dtype).float())
    assert not torch.equal(place.stored.float(), (rounded.float() * 1.5).to(rounded.dtype).float())
    made.patches.take("more")
    assert torch.equal(place.stored.float(), rounded.float())
    made.patches.weights.forget_exact()
    assert place.exact is None
