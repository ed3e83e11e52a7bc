"""Stable Diffusion 2: small models with random weights, against diffusers' own pipeline on the same networks."""

import base64
import io
import logging
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modules import (
    model_families,
    model_load,
    prompt_parser,
    rng,
    sd_hijack,
    sd_hijack_open_clip,
    sd_samplers,
    shared,
    weights,
)
from modules.errors import ModelLoadError
from modules.model_families.sd2 import CLIP_H
from modules.prompt_parser import SdConditioning
from modules.text_encoders import clip
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.diffusers_pipelines import (
    CPU,
    EMBEDDED,
    STEPS,
    schedulers,
    start_of,
    tokenizers,
    weak_noise,
)
from test.unit.sampler_jobs import job, no_picture
from test.unit.test_model_families_sdxl import stored
from tools import tiny_checkpoints

KINDS = ("sd2", "sd2-v", "sd2-inpainting")
PROMPT = "a red apple, on a table"
NEGATIVE = "blurry"
ENCODER = "cond_stage_model.model."

pytestmark = pytest.mark.usefixtures("sd_model")


def path_of(files, kind):
    return str(files[0] / f"tiny-{kind}.safetensors")


def load(files, kind, **metadata):
    return model_load.build(model_load.prepare(path_of(files, kind), metadata), CPU)


def without_last_layer(network):
    """The text encoder as diffusers' files of this family have it."""
    from transformers import CLIPTextConfig, CLIPTextModel

    layers = network.config.num_hidden_layers - 1
    shorter = CLIPTextModel(CLIPTextConfig(**{**network.config.to_dict(), "num_hidden_layers": layers}))
    names = shorter.state_dict().keys()
    there = network.state_dict()
    shorter.load_state_dict({name: there[name if name in there else f"text_model.{name}"] for name in names})
    return shorter.eval()


def pipeline(networks, scheduler):
    """diffusers' pipeline around the networks of a file."""
    from diffusers import StableDiffusionPipeline

    (text,) = networks.texts.values()
    parts = (networks.vae, without_last_layer(text), tokenizers()[1], networks.unet, scheduler)
    made = StableDiffusionPipeline(*parts, None, None, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def by_pipeline(networks, name, noise, prediction, prompt=PROMPT):
    """The final latents of diffusers' pipeline."""
    seen = []
    steps = {"timesteps": list(range(999, -1, -111))} if name == "DPM++ 2M" else {"num_inference_steps": STEPS}
    pipeline(networks, schedulers(prediction)[name])(
        prompt=prompt,
        negative_prompt=NEGATIVE,
        guidance_scale=5.0,
        width=128,
        height=64,
        **steps,
        latents=start_of(name, noise),
        output_type="latent",
        callback_on_step_end=lambda pipe, i, t, values: seen.append(values["latents"].clone()) or {},
    )
    return seen[-2] if name == "DDIM" else seen[-1]  # ours ends at the lowest timestep of its list


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("name", ["Euler", "DPM++ 2M", "DDIM"])
@pytest.mark.parametrize(("kind", "prediction"), [("sd2", "epsilon"), ("sd2-v", "v_prediction")])
def test_final_latents_are_those_of_diffusers(use, files, kind, prediction, name):
    model, noise = use(kind), weak_noise(width=16)  # no level is of odd size
    p = job(sampler_name=name, steps=STEPS, cfg_scale=5.0, scheduler="Uniform")
    p.rng = rng.ImageRNG(noise.shape[1:], [1])
    conds = (
        prompt_parser.get_multicond_learned_conditioning(
            model, SdConditioning(["a (red:1.0) apple, on a table"]), STEPS
        ),
        prompt_parser.get_learned_conditioning(model, SdConditioning([NEGATIVE], True), STEPS),
    )
    with torch.inference_mode():
        ours = sd_samplers.create_sampler(name, model).sample(p, noise, *conds, image_conditioning=no_picture())
    networks = files[1][kind]
    assert ours.std() > 0.2
    assert (ours - by_pipeline(networks, name, noise, prediction)).abs().max() < 1e-4
    assert (ours - by_pipeline(networks, name, noise, prediction, "a car")).abs().max() > 0.001


@pytest.mark.parametrize(("kind", "prediction"), [("sd2", "eps"), ("sd2-v", "v"), ("sd2-inpainting", "eps")])
def test_network_tells_what_it_predicts(files, kind, prediction):
    assert load(files, kind).parameterization == prediction


def test_what_the_file_says_comes_before_the_network(files):
    said = {"modelspec.prediction_type": "epsilon"}
    assert model_load.prepare(path_of(files, "sd2-v"), {}).parameterization is None
    assert model_load.build(model_load.prepare(path_of(files, "sd2-v"), said), CPU).parameterization == "eps"


@torch.no_grad()
def test_text_is_the_layer_before_the_last_through_the_norm(files, settings):
    model = load(files, "sd2")
    settings(CLIP_stop_at_last_layers=3)  # which this encoder does not heed
    (network,) = files[1]["sd2"].texts.values()
    ids = tokenizers()[1]([PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert int(ids[0, -1]) == 0
    expected = without_last_layer(network)(ids).last_hidden_state
    assert torch.allclose(model.get_learned_conditioning([PROMPT]), expected, atol=1e-5)


@torch.no_grad()
def test_layer_that_is_read_is_the_same_in_files_that_leave_out_the_last(files):
    whole = {key: t for key, t in load_file(path_of(files, "sd2")).items() if key.startswith(ENCODER)}
    cut = {key: tensor for key, tensor in whole.items() if not key.startswith(f"{ENCODER}transformer.resblocks.2.")}
    tokens = torch.tensor([[49406, 320, 3055, 49407] + [0] * 73])
    encoded_by = [
        text_encoder(replace(CLIP_H, cut_layers=2), whole).encode(tokens).tokens,
        text_encoder(replace(CLIP_H, cut_layers=2), cut).encode(tokens).tokens,
        text_encoder(replace(CLIP_H, cut_layers=None), cut).encode(tokens).tokens,
    ]
    assert torch.equal(encoded_by[0], encoded_by[1])
    assert not torch.allclose(encoded_by[0], encoded_by[2], atol=0.01)


def text_encoder(facts, tensors):
    """The network of a row with its weights."""
    network = clip.build(facts, weights.shapes_of(tensors))
    network.load_state_dict({key: t.float() for key, t in clip.convert(facts, tensors).items()}, False, assign=True)
    return network.eval()


@torch.no_grad()
def test_weights_of_words_and_long_prompts(files):
    model = load(files, "sd2")
    long = model.get_learned_conditioning(["a (red:1.4) apple BREAK a pear"])
    assert long.shape == (1, 154, 64)
    assert torch.allclose(long[:, 77:], model.get_learned_conditioning(["a pear"]), atol=1e-5)
    assert not torch.allclose(long[:, :77], model.get_learned_conditioning(["a red apple"]))


def test_model_looks_as_extensions_expect(files):
    model = load(files, "sd2")
    assert model.is_sd2 and not model.is_sd1 and not model.is_sdxl
    assert not hasattr(model, "conditioner")
    assert model.cond_stage_model.id_pad == 0
    assert type(model.cond_stage_model) is sd_hijack_open_clip.FrozenOpenCLIPEmbedderWithCustomWords
    assert (model.model.conditioning_key, model.scale_factor) == ("crossattn", 0.18215)
    assert load(files, "sd2-inpainting").model.conditioning_key == "hybrid"


def test_embedding(use):
    model = use("sd2")
    database = sd_hijack.model_hijack.embedding_db
    with torch.no_grad():
        before = model.get_learned_conditioning(["a newword"])
        database.register_embedding(Embedding(torch.ones(2, 64), "newword"), model)
        after = model.get_learned_conditioning(["a newword"])
        database.register_embedding_by_name(None, model, "newword")
    assert database.get_expected_widths() == {"clip_h": 64}
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("lora_te_text_model_encoder_layers_1_self_attn_v_proj", "text_model.encoder.layers.1.self_attn.v_proj"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", "text_model.encoder.layers.0.mlp.fc1"),
        ("model_transformer_resblocks_0_mlp_c_fc", "text_model.encoder.layers.0.mlp.fc1"),
    ],
)
def test_names_of_networks_find_their_layers(files, name, inside):
    model = load(files, "sd2")
    (layer,) = model.layer_names.find(name)
    assert layer.module is model.network("clip_h").wrapped.transformer.get_submodule(inside)
    (unet,) = model.layer_names.find("lora_unet_down_blocks_0_attentions_0_proj_in")
    assert unet.key == "model.diffusion_model.input_blocks.1.1.proj_in"
    fused = model.weight_places[f"{ENCODER}transformer.resblocks.1.attn.in_proj_weight"]
    assert len(fused) == 3


def made(client, kind, path="txt2img", **fields):
    """The image of a job on a checkpoint of a kind."""
    request = {"prompt": "a (red:1.2) apple", "width": 64, "height": 64, "steps": 2, "seed": 5, "sampler_name": "Euler"}
    overrides = {"sd_model_checkpoint": f"tiny-{kind}" if kind != EMBEDDED else EMBEDDED}
    answer = client.post(f"/sdapi/v1/{path}", json={**request, **fields, "override_settings": overrides})
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))


def test_infotext_replays_an_image(client, use, settings):
    settings(disable_weights_auto_swap=False)
    image = made(client, "sd2-v", negative_prompt="blurry", cfg_scale=4)
    assert "Model: tiny-sd2-v" in image.text["parameters"]
    answer = client.post("/sdapi/v1/txt2img", json={"infotext": image.text["parameters"]})
    again = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))
    assert (again.text, again.tobytes()) == (image.text, image.tobytes())


def test_network_changes_the_image(client, use, tmp_path, monkeypatch):
    names = (
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", 128, 64),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 32, 64),
    )
    tensors = {}
    for name, rows, columns in names:
        tensors |= {f"{name}.lora_up.weight": torch.ones(rows, 1), f"{name}.lora_down.weight": torch.ones(1, columns)}
    monkeypatch.setattr(shared.cmd_opts, "lora_dir", str(tmp_path))
    save_file(tensors, tmp_path / "second.safetensors")
    client.post("/sdapi/v1/refresh-loras")
    plain = made(client, "sd2").tobytes()
    assert made(client, "sd2", prompt="a (red:1.2) apple <lora:second:1>").tobytes() != plain
    assert made(client, "sd2").tobytes() == plain
    monkeypatch.undo()
    client.post("/sdapi/v1/refresh-loras")


def test_inpainting_leaves_the_rest_as_it_was(client, use):
    image = made(client, "sd2")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    fields = {"init_images": [encoded(image)], "mask": encoded(mask), "inpainting_fill": 1}
    masked = made(client, "sd2-inpainting", "img2img", **fields, denoising_strength=0.9)
    corner = (0, 0, 8, 8)
    assert masked.crop(corner).tobytes() == image.crop(corner).tobytes()
    assert masked.tobytes() != image.tobytes()


def encoded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_switching_between_families_changes_no_image(client, use):
    kinds = ["sd2", EMBEDDED, "sd2-v"]
    first = [made(client, kind).tobytes() for kind in kinds]
    assert [made(client, kind).tobytes() for kind in kinds] == first
    assert len(set(first)) == 3


def test_unet_alone_is_told_from_that_of_the_first_family(files, tmp_path):
    tensors = load_file(path_of(files, "sd2"))
    unet = {key: tensor for key, tensor in tensors.items() if key.startswith("model.diffusion_model.")}
    save_file(unet, tmp_path / "unet.safetensors")
    with pytest.raises(ModelLoadError, match="is a file of Stable Diffusion 2 that holds the denoiser only"):
        model_load.prepare(str(tmp_path / "unet.safetensors"), {})


REAL_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
}
REAL_TEXT = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
REAL_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}


def enlarged():
    """The recipe of SD2 in its real sizes."""
    small = tiny_checkpoints.RECIPES["sd2"]
    return tiny_checkpoints.Recipe(
        unet={**small.unet, **REAL_UNET},
        texts={ENCODER: {**small.texts[ENCODER], **REAL_TEXT, "projection_dim": 1024}},
        vae={**small.vae, **REAL_VAE},
    )


def test_real_sizes_are_read_from_the_shapes(caplog):
    """Without memory for weights."""
    tensors = stored(enlarged())
    assert model_families.detect(weights.shapes_of(tensors)).name == "sd2"
    with caplog.at_level(logging.WARNING):
        prepared = model_load.prepare("real.safetensors", {}, state_dict=tensors)
    counts = {
        name: round(sum(weight.numel() for weight in network.module.parameters()) / 1e6, 2)
        for name, network in prepared.networks.items()
    }
    assert counts == {"denoiser": 865.91, "vae": 83.65, "clip_h": 352.98}
    assert prepared.denoiser.module.config.attention_head_dim == (5, 10, 20, 20)
    assert not caplog.records  # which would name weights that nothing uses
    cut = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{ENCODER}transformer.resblocks.23.")}
    shorter = model_load.prepare("cut.safetensors", {}, state_dict=cut)
    layers = [
        (made.networks["clip_h"].module.layers, made.networks["clip_h"].module.layer) for made in (prepared, shorter)
    ]
    assert layers == [(24, 2), (23, 1)]
