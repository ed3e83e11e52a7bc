"""Stable Diffusion 3: small models with random weights, against diffusers' own pipeline on the same networks."""

import base64
import io
import json
import logging
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modules import devices, lowvram, model_load, paths, prompt_parser, rng, sd_hijack, sd_models, sd_samplers
from modules.errors import InvalidInput, ModelLoadError
from modules.prompt_parser import SdConditioning
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.checkpoint_files import write_t5_vocabulary
from test.unit.diffusers_pipelines import CPU, STEPS, tokenizers
from test.unit.sampler_jobs import job, no_picture
from test.unit.test_model_families_sdxl import CLIP_G, CLIP_L, VAE, stored
from tools import tiny_checkpoints

KINDS = ("sd3", "sd3-t5", "sd3.5-large", "sd3.5-medium")
PROMPT = "a red apple, on a table"
NEGATIVE = "blurry"

pytestmark = pytest.mark.usefixtures("sd_model")


@pytest.fixture
def vocabulary(tmp_path, monkeypatch):
    """A small vocabulary of T5's kind in the models folder."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = write_t5_vocabulary(tmp_path, PROMPT)
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def path_of(files, kind):
    return str(files[0] / f"tiny-{kind}.safetensors")


def load(files, kind, left_out=("t5xxl",)):
    return model_load.build(model_load.prepare(path_of(files, kind), {}, left_out=left_out), CPU)


def pipeline(networks, sigmas):
    """diffusers' pipeline around the networks of a file, and what it needs to run over our noise levels."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    clip_l, clip_g = list(networks.texts.values())[:2]
    first, second = tokenizers()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)  # the levels are shifted already
    made = StableDiffusion3Pipeline(
        networks.transformer, scheduler, networks.vae, clip_l, first, clip_g, second, None, None
    )
    made.set_progress_bar_config(disable=True)
    return made, {"sigmas": sigmas[:-1].tolist(), "num_inference_steps": len(sigmas) - 1, "max_sequence_length": 77}


def conds(model, prompt="a (red:1.0) apple, on a table"):
    return (
        prompt_parser.get_multicond_learned_conditioning(model, SdConditioning([prompt]), STEPS),
        prompt_parser.get_learned_conditioning(model, SdConditioning([NEGATIVE], True), STEPS),
    )


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("kind", ["sd3", "sd3.5-large", "sd3.5-medium"])
def test_final_latents_are_those_of_diffusers(use, files, kind):
    model = use(kind)
    noise = torch.randn(1, 16, 8, 12, generator=torch.Generator().manual_seed(3))
    p = job(sampler_name="Euler", steps=STEPS, cfg_scale=5.0)
    p.rng = rng.ImageRNG(noise.shape[1:], [1])
    sampler = sd_samplers.create_sampler("Euler", model)
    with torch.inference_mode():
        ours = sampler.sample(p, noise, *conds(model), image_conditioning=no_picture())
    sigmas = sampler.get_sigmas(p, STEPS)
    made, arguments = pipeline(files[1][kind], sigmas)
    assert float(sigmas[0]) == 1.0

    def theirs(prompt):
        return made(
            prompt=prompt,
            negative_prompt=NEGATIVE,
            guidance_scale=5.0,
            width=96,
            height=64,
            latents=noise.clone(),
            output_type="latent",
            **arguments,
        ).images

    assert ours.std() > 0.3
    assert (ours - theirs(PROMPT)).abs().max() < 1e-4
    assert (ours - theirs("a car")).abs().max() > 0.001


@torch.no_grad()
def test_text_is_that_of_diffusers(files):
    made, _ = pipeline(files[1]["sd3"], torch.ones(2))
    ours = load(files, "sd3").get_learned_conditioning(SdConditioning([PROMPT]))
    tokens, _, pooled, _ = made.encode_prompt(PROMPT, None, None, max_sequence_length=77)
    assert torch.allclose(ours["crossattn"], tokens, atol=1e-5) and torch.allclose(ours["vector"], pooled, atol=1e-5)


@torch.no_grad()
def test_t5_reads_the_text_without_weights(files, vocabulary):
    model = load(files, "sd3-t5", left_out=())
    text = "a (red:1.5) apple BREAK on a table"
    ours = model.get_learned_conditioning(SdConditioning([text]))
    ids = [
        *vocabulary.convert_tokens_to_ids([f"\u2581{word}" for word in ("a", "red", "apple", "on", "a", "table")]),
        1,
    ]
    network = files[1]["sd3-t5"].texts["text_encoders.t5xxl.transformer."]
    expected = network(torch.tensor([ids + [0] * (154 - len(ids))])).last_hidden_state
    assert ours["crossattn"].shape == (1, 2 * 154, 128)
    assert torch.allclose(ours["crossattn"][:, 154:], expected, atol=1e-5)
    without = load(files, "sd3-t5").get_learned_conditioning(SdConditioning([text]))
    assert not without["crossattn"][:, 154:].any()
    assert torch.equal(without["crossattn"][:, :154], ours["crossattn"][:, :154])


@torch.no_grad()
def test_t5_and_the_others_take_turns(files, vocabulary, monkeypatch):
    prepared = model_load.prepare(path_of(files, "sd3-t5"), {})
    sizes = lowvram.sizes_of(prepared, CPU)
    model, moves = model_load.build(prepared, CPU), []
    text_model = model.cond_stage_model
    together, t5 = (4 * sum(weight.numel() for weight in part.parameters()) for part in text_model.parts)
    assert (sizes.text, sizes.text_at_once) == (together + t5, max(together, t5))
    texts = SdConditioning([PROMPT, "a " * 100])
    expected = model.get_learned_conditioning(texts)
    lowvram.setup_for_low_vram(model, use_medvram=True)
    for name, part in zip(("clips", "t5"), text_model.parts, strict=True):

        def moved(device, name=name, to=part.to):
            moves.append((name, device is devices.cpu))
            return to(device)

        monkeypatch.setattr(part, "to", moved)
    lowvram.groups[model].device = torch.device("cpu")  # as devices.cpu, but told from it
    encoded = model.get_learned_conditioning(texts)
    assert all(torch.equal(encoded[key], expected[key]) for key in expected)
    assert moves == [("clips", False), ("clips", True), ("t5", False)]


@torch.no_grad()
def test_long_text_is_cut_for_t5(files, vocabulary):
    cond = load(files, "sd3-t5", left_out=()).get_learned_conditioning(SdConditioning(["a " * 74 + "table", "a"]))
    assert cond["crossattn"].shape == (2, 154, 128) and cond["crossattn"][:, 77:].any(dim=-1).all()
    longer = load(files, "sd3-t5", left_out=()).get_learned_conditioning(SdConditioning(["e" * 200]))
    assert longer["crossattn"].shape[1] % 154 == 0


@torch.no_grad()
def test_weights_change_the_vectors_side_by_side(files):
    model = load(files, "sd3")
    plain = model.get_learned_conditioning(SdConditioning(["red apple"]))["crossattn"][:, :77]
    weighted = model.get_learned_conditioning(SdConditioning(["(red:1.5) apple"]))["crossattn"][:, :77]
    multipliers = torch.ones(1, 77, 1)
    multipliers[:, 1] = 1.5
    expected = plain * multipliers
    assert torch.allclose(weighted, expected * (plain.mean() / expected.mean()), atol=1e-5)
    assert not plain[..., 32 + 64 :].any()


def test_t5_follows_its_setting(use, vocabulary, settings):
    names = list(use("sd3-t5").cond_stage_model.encoders)
    settings(sd3_enable_t5=True)
    model = sd_models.reload_model_weights()
    assert (names, list(model.cond_stage_model.encoders)) == (["clip_l", "clip_g"], ["clip_l", "clip_g", "t5xxl"])
    assert sd_models.reload_model_weights() is model
    assert list(use("sd3").cond_stage_model.encoders) == names  # a file without it has zeros in its place


def test_vocabulary_that_is_not_there_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelLoadError, match=r"vocabulary, or turn off the setting sd3_enable_t5: .*tokenizer.json"):
        load(files, "sd3-t5", left_out=())


def test_model_looks_as_extensions_expect(files):
    model = load(files, "sd3")
    assert model.is_sd3 and not (model.is_sdxl or model.is_sd1 or model.is_sd2 or model.is_ssd)
    assert (model.latent_channels, model.parameterization, model.schedule.shift) == (16, "flow", 3.0)
    assert not hasattr(model, "conditioner")
    assert model.num_timesteps == 1000
    assert model.cond_stage_model.process_texts(["a red apple"])[1] == 3
    z = torch.full((1, 16, 1, 1), 2.0)
    assert torch.allclose(model.latent_format.from_vae(z), (z - 0.0609) * 1.5305)


@torch.no_grad()
def test_learned_words_reach_both_clips(use):
    model = use("sd3")
    database = sd_hijack.model_hijack.embedding_db
    before = model.get_learned_conditioning(["a newword"])["crossattn"]
    database.register_embedding(Embedding({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 64)}, "newword"), model)
    after = model.get_learned_conditioning(["a newword"])["crossattn"]
    database.register_embedding_by_name(None, model, "newword")
    changed = (before != after).any(dim=1)[0]
    assert changed[:32].any() and changed[32:96].any() and not changed[96:].any()


@pytest.mark.parametrize("name", ["DDIM", "PLMS", "UniPC", "LCM"])
def test_samplers_over_other_noise_are_refused(use, name):
    model = use("sd3")
    with pytest.raises(InvalidInput, match="choose"):
        sampler = sd_samplers.create_sampler(name, model)
        sampler.model_wrap_cfg.inner_model  # noqa: B018


def api_images(answer):
    return [Image.open(io.BytesIO(base64.b64decode(image))) for image in answer["images"]]


def test_jobs(use, client):
    use("sd3.5-medium")
    body = {"prompt": "a (red:1.2) apple", "negative_prompt": "x", "steps": 3, "width": 104, "height": 72, "seed": 5}
    request = {**body, "sampler_name": "DPM++ 2M"}
    answer = client.post("/sdapi/v1/txt2img", json=request).json()
    (image,) = api_images(answer)
    assert image.size == (96, 64)  # pieces of 16 pixels
    assert "Size: 96x64" in json.loads(answer["info"])["infotexts"][0]
    hires = {"enable_hr": True, "hr_scale": 1.4, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
    assert api_images(client.post("/sdapi/v1/txt2img", json={**request, **hires}).json())[0].size == (128, 80)
    text = io.BytesIO()
    image.save(text, "PNG")
    start = {"init_images": [base64.b64encode(text.getvalue()).decode()], "denoising_strength": 0.5}
    (changed,) = api_images(client.post("/sdapi/v1/img2img", json={**request, **start}).json())
    assert changed.size == (96, 64) and changed.tobytes() != image.tobytes()


def test_file_without_encoders_names_them(files, tmp_path):
    tensors = {k: v for k, v in load_file(path_of(files, "sd3")).items() if not k.startswith("text_encoders.")}
    save_file(tensors, tmp_path / "bare.safetensors")
    with pytest.raises(
        ModelLoadError, match=r"transformer and VAE( and text encoder t5xxl)? only: choose a text encoder clip_l"
    ):
        model_load.prepare(str(tmp_path / "bare.safetensors"), {})


T5 = {"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}


def enlarged(kind, **transformer):
    """The recipe of a kind with the sizes of its real files."""
    small = tiny_checkpoints.RECIPES[kind]
    wide = {"clip_l": {**CLIP_L, "projection_dim": 768}, "clip_g": CLIP_G, "t5xxl": T5}
    texts = {prefix: {**config, **wide[prefix.split(".")[1]]} for prefix, config in small.texts.items()}
    heads = transformer["num_layers"]
    sizes = {
        "sample_size": 128,
        "num_attention_heads": heads,
        "caption_projection_dim": 64 * heads,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 192,
    }
    vae = {**small.vae, **{key: VAE[key] for key in ("block_out_channels", "layers_per_block")}}
    return replace(small, texts=texts, vae=vae, transformer={**small.transformer, **sizes, **transformer})


@pytest.mark.parametrize(
    ("kind", "transformer", "count"),
    [
        ("sd3-t5", {"num_layers": 24}, 2_028_328_000),
        ("sd3.5-large", {"num_layers": 38}, 8_056_627_520),
        (
            "sd3.5-medium",
            {"num_layers": 24, "pos_embed_max_size": 384, "dual_attention_layers": tuple(range(13))},
            2_243_171_520,
        ),
    ],
)
def test_real_sizes_are_read_from_the_shapes(kind, transformer, count, vocabulary, caplog):
    with caplog.at_level(logging.WARNING):
        prepared = model_load.prepare("real.safetensors", {}, state_dict=stored(enlarged(kind, **transformer)))
    assert sum(weight.numel() for weight in prepared.denoiser.module.parameters()) == count
    assert prepared.denoiser.module.config.dual_attention_layers == transformer.get("dual_attention_layers", ())
    if "t5xxl" in prepared.networks:
        t5 = sum(weight.numel() for weight in prepared.networks["t5xxl"].module.parameters())
        assert t5 == 4_762_310_656
    assert not caplog.records  # which would name weights that nothing uses
    unused = [key for network in prepared.networks.values() for key, names in network.parameters.items() if not names]
    assert all(key.endswith("position_ids") for key in unused)
