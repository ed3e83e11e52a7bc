"""Stable Diffusion XL: small models with random weights, against diffusers' own pipelines on the same networks."""

import base64
import io
import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modules import (
    model_load,
    prompt_parser,
    rng,
    script_callbacks,
    sd_hijack,
    sd_hijack_clip,
    sd_hijack_open_clip,
    sd_models_config,
    sd_samplers,
    shared,
)
from modules.errors import ModelLoadError
from modules.prompt_parser import SdConditioning
from modules.sampling.conditioning import sinusoids
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
from tools import tiny_checkpoints

SIZE = {"width": 96, "height": 64}
PROMPT = "a (red:1.0) apple, on a table"
PLAIN_PROMPT = "a red apple, on a table"
NEGATIVE = "blurry"

KINDS = (
    "sdxl",
    "sdxl-v",
    "sdxl-v-ztsnr",
    "sdxl-inpainting",
    "sdxl-instruct-pix2pix",
    "ssd",
    "sdxl-refiner",
)

pytestmark = pytest.mark.usefixtures("sd_model")


@pytest.fixture
def noise():
    return weak_noise()


def load(files, kind):
    path = str(files[0] / f"tiny-{kind}.safetensors")
    return model_load.build(model_load.prepare(path, {}), CPU)


def pipeline(networks, scheduler):
    """diffusers' pipeline of SDXL's base around the networks of a file."""
    from diffusers import StableDiffusionXLPipeline

    texts = list(networks.texts.values())
    made = StableDiffusionXLPipeline(networks.vae, *texts, *tokenizers(), networks.unet, scheduler)
    made.set_progress_bar_config(disable=True)
    return made


def conds(model, prompt=PROMPT, negative=NEGATIVE, steps=4):
    prompts, negatives = SdConditioning([prompt], **SIZE), SdConditioning([negative], True, **SIZE)
    return (
        prompt_parser.get_multicond_learned_conditioning(model, prompts, steps),
        prompt_parser.get_learned_conditioning(model, negatives, steps),
    )


def sampled(model, name, steps, noise, negative=NEGATIVE, **fields):
    """The latent that our sampler makes of noise, over the even timesteps of the model's table."""
    p = job(sampler_name=name, steps=steps, cfg_scale=5.0, scheduler="Uniform", **fields)
    p.rng = rng.ImageRNG(noise.shape[1:], [1])
    sampler = sd_samplers.create_sampler(name, model)
    with torch.inference_mode():
        return sampler.sample(p, noise, *conds(model, negative=negative, steps=steps), image_conditioning=no_picture())


def is_close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether latents are equal but for rounding; random networks make some several times as large as noise."""
    return bool((ours - theirs).abs().max() < 1e-4 * theirs.abs().max())


def by_pipeline(networks, name, noise, prediction="epsilon", **arguments):
    """The final latents of diffusers' pipeline."""
    seen = []
    made = pipeline(networks, schedulers(prediction)[name])
    steps = {"timesteps": list(range(999, -1, -111))} if name == "DPM++ 2M" else {"num_inference_steps": STEPS}
    made(
        **{"prompt": PLAIN_PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0, **SIZE, **steps, **arguments},
        latents=start_of(name, noise),
        output_type="latent",
        callback_on_step_end=lambda pipe, i, t, values: seen.append(values["latents"].clone()) or {},
    )
    return seen[-2] if name == "DDIM" else seen[-1]  # ours ends at the lowest timestep of its list


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("name", ["Euler", "DPM++ 2M", "DDIM"])
def test_final_latents_are_those_of_diffusers(use, files, noise, name):
    ours = sampled(use("sdxl"), name, STEPS, noise)
    assert ours.std() > 0.3
    assert is_close(ours, by_pipeline(files[1]["sdxl"], name, noise))
    assert (ours - by_pipeline(files[1]["sdxl"], name, noise, prompt="a car")).abs().max() > 0.01


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("name", ["Euler", "DPM++ 2M", "DDIM"])
def test_final_latents_of_a_model_that_predicts_v(use, files, noise, name):
    ours = sampled(use("sdxl-v"), name, STEPS, noise)
    assert is_close(ours, by_pipeline(files[1]["sdxl-v"], name, noise, prediction="v_prediction"))


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("kind", ["ssd", "sdxl"])
def test_settings_and_empty_prompts_are_told_to_the_network(use, files, noise, settings, kind):
    model = use(kind)
    settings(sdxl_crop_top=32, sdxl_crop_left=8)
    ours = sampled(model, "Euler", STEPS, noise, negative="")
    theirs = by_pipeline(
        files[1][kind],
        "Euler",
        noise,
        negative_prompt=None,
        crops_coords_top_left=(32, 8),
        negative_crops_coords_top_left=(32, 8),
    )
    assert is_close(ours, theirs)
    assert (ours - by_pipeline(files[1][kind], "Euler", noise, negative_prompt=None)).abs().max() > 0.005


def test_refiner_is_told_a_score(files, settings):
    from diffusers import StableDiffusionXLImg2ImgPipeline

    networks = files[1]["sdxl-refiner"]
    model = load(files, "sdxl-refiner")
    (text,) = networks.texts.values()
    pipe = StableDiffusionXLImg2ImgPipeline(
        networks.vae,
        None,
        text,
        None,
        tokenizers()[1],
        networks.unet,
        schedulers()["Euler"],
        requires_aesthetics_score=True,
    )
    tokens, _, pooled, _ = pipe.encode_prompt(PLAIN_PROMPT, do_classifier_free_guidance=False, device="cpu")
    size = (SIZE["height"], SIZE["width"])
    settings(sdxl_refiner_high_aesthetic_score=7.0)
    x, t = torch.randn(1, 4, 8, 16), torch.tensor([500.0])
    for score, is_negative in ((7.0, False), (2.5, True)):
        ids = torch.tensor([[*size, 0.0, 0.0, score]])
        with torch.no_grad():
            expected = networks.unet(x, t, tokens, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample
            cond = model.get_learned_conditioning(SdConditioning([PLAIN_PROMPT], is_negative, **SIZE))
            assert torch.allclose(model.apply_model(x, t, cond), expected, atol=1e-5)


def hidden_states(networks, texts):
    """All hidden states of both encoders, (texts, 77, width) each."""
    states = []
    for network, tokenizer in zip(networks.texts.values(), tokenizers(), strict=True):
        ids = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            states.append(network(ids, output_hidden_states=True).hidden_states)
    return states


@pytest.mark.parametrize(("skips", "layer"), [(False, -2), (True, -3)])
def test_clip_skip_reaches_the_smaller_encoder_if_wanted(files, settings, skips, layer):
    model = load(files, "sdxl")
    small, large = hidden_states(files[1]["sdxl"], [PLAIN_PROMPT])
    settings(CLIP_stop_at_last_layers=3, sdxl_clip_l_skip=skips)
    with torch.no_grad():
        tokens = model.get_learned_conditioning([PLAIN_PROMPT])["crossattn"]
    assert torch.allclose(tokens, torch.cat([small[layer], large[-2]], dim=-1), atol=1e-5)


@torch.no_grad()
def test_weights_and_long_prompts_in_each_encoder(files):
    model = load(files, "sdxl")
    encoders = model.conditioner.encoders
    text = "a (red:1.4) apple BREAK [green|blue] pear"
    both = model.get_learned_conditioning([text])
    parts = [encoder([text]) for encoder in encoders.values()]
    assert both["crossattn"].shape == (1, 154, 96)
    assert torch.equal(both["crossattn"], torch.cat([parts[0], parts[1].tokens], dim=-1))
    first = model.get_learned_conditioning(["a red apple"])  # the pooled vector: first chunk, without weights
    assert torch.allclose(both["vector"], first["vector"], atol=1e-6)
    assert not torch.allclose(both["crossattn"][:, :77], first["crossattn"])


@torch.no_grad()
def test_size_of_the_image_stands_behind_the_pooled_text(files):
    model = load(files, "sdxl")
    cond = model.get_learned_conditioning(SdConditioning(["x", "y"], **SIZE))
    assert cond["vector"].shape == (2, 64 + 6 * 256)
    assert torch.equal(cond["vector"][0, 64:], sinusoids(torch.tensor([[64.0, 96, 0, 0, 64, 96]]))[0])
    without = model.get_learned_conditioning(["x"])
    assert torch.equal(without["vector"][0, 64:], sinusoids(torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]]))[0])


def test_an_empty_negative_prompt_is_zeros(files):
    model = load(files, "sdxl")
    empty = model.get_learned_conditioning(SdConditioning(["", ""], True, **SIZE))
    assert not empty["crossattn"].any() and not empty["vector"][:, :64].any() and empty["vector"][:, 64:].any()
    half = model.get_learned_conditioning(SdConditioning(["", "x"], True, **SIZE))
    assert half["crossattn"][0].any() and half["vector"][0, :64].any()


def test_model_looks_as_extensions_expect(files, sd_model):
    model = load(files, "sdxl")
    assert model.is_sdxl and not model.is_sd1 and not model.is_ssd and not model.is_sdxl_inpaint
    assert [embedder.input_key for embedder in model.conditioner.embedders] == [
        "txt",
        "txt",
        "original_size_as_tuple",
        "crop_coords_top_left",
        "target_size_as_tuple",
    ]
    assert model.conditioner is model.cond_stage_model
    small, large = model.conditioner.embedders[:2]
    assert small.wrapped.transformer.text_model and (small.id_pad, large.id_pad) == (49407, 0)
    assert type(small) is sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords
    assert type(large) is sd_hijack_open_clip.FrozenOpenCLIPEmbedder2WithCustomWords
    assert not hasattr(sd_model, "conditioner")
    assert load(files, "ssd").is_ssd
    inpainting = load(files, "sdxl-inpainting")
    assert inpainting.is_sdxl_inpaint and inpainting.model.conditioning_key == "crossattn"
    refiner = load(files, "sdxl-refiner")
    assert refiner.is_sdxl and [e.input_key for e in refiner.conditioner.embedders][-1] == "aesthetic_score"


def test_prompt_is_counted(use):
    use("sdxl")
    assert sd_hijack.model_hijack.get_prompt_lengths("a red apple") == (3, 75)
    assert sd_hijack.model_hijack.tokenize(["apple"]) == [[3055]]


def test_embedding_for_both_encoders(use):
    model = use("sdxl")
    database = sd_hijack.model_hijack.embedding_db
    assert database.get_expected_widths() == {"clip_l": 32, "clip_g": 64}
    vectors = {"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 64)}
    with torch.no_grad():
        before = model.get_learned_conditioning(["a newword"])
        database.register_embedding(Embedding(vectors, "newword"), model)
        after = model.get_learned_conditioning(["a newword"])
        database.register_embedding_by_name(None, model, "newword")
    changed = (before["crossattn"] != after["crossattn"]).any(dim=1)[0]
    assert changed[:32].any() and changed[32:].any()
    assert not torch.equal(before["vector"], after["vector"])


def test_places_of_fused_weights(files):
    model = load(files, "sdxl")
    key = "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight"
    attention = model.network("clip_g").wrapped.transformer.text_model.encoder.layers[1].self_attn
    assert [place.module for place in model.weight_places[key]] == [
        attention.q_proj,
        attention.k_proj,
        attention.v_proj,
    ]
    for key in (
        "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.label_emb.0.0.weight",
        "conditioner.embedders.1.model.text_projection",
    ):
        (place,) = model.weight_places[key]
        assert not place.parameter.is_meta


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (
            "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
            "clip_l text_model.encoder.layers.0.self_attn.q_proj",
        ),
        (
            "lora_te2_text_model_encoder_layers_1_self_attn_v_proj",
            "clip_g text_model.encoder.layers.1.self_attn.v_proj",
        ),
        ("lora_te2_text_model_encoder_layers_1_mlp_fc1", "clip_g text_model.encoder.layers.1.mlp.fc1"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", "denoiser down_blocks.1.attentions.0"),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", "denoiser down_blocks.1.attentions.0"),
    ],
)
def test_names_of_networks_find_their_layers(files, name, path):
    model = load(files, "sdxl")
    (layer,) = model.layer_names.find(name)
    network, _, inside = path.partition(" ")
    owner = model.network(network)
    owner = owner if network == "denoiser" else owner.wrapped.transformer
    assert layer.weight.module in owner.get_submodule(inside).modules()


def test_network_for_both_encoders_changes_the_image(client, use, tmp_path, monkeypatch):
    names = (
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 64, 32),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 128, 64),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 64, 64),
    )
    tensors = {}
    for name, rows, columns in names:
        tensors |= {f"{name}.lora_up.weight": torch.ones(rows, 1), f"{name}.lora_down.weight": torch.ones(1, columns)}
    monkeypatch.setattr(shared.cmd_opts, "lora_dir", str(tmp_path))
    save_file(tensors, tmp_path / "both.safetensors")
    client.post("/sdapi/v1/refresh-loras")
    plain = made(client, "sdxl").tobytes()
    assert made(client, "sdxl", prompt="a (red:1.2) apple <lora:both:1>").tobytes() != plain
    assert made(client, "sdxl").tobytes() == plain
    monkeypatch.undo()
    client.post("/sdapi/v1/refresh-loras")


def request(prompt="a (red:1.2) apple", **fields):
    return {"prompt": prompt, "width": 64, "height": 64, "steps": 2, "seed": 5, "sampler_name": "Euler", **fields}


def made(client, kind, path="txt2img", **fields):
    """The image of a job on a checkpoint of a kind."""
    settings = {"sd_model_checkpoint": f"tiny-{kind}" if kind != EMBEDDED else EMBEDDED}
    answer = client.post(f"/sdapi/v1/{path}", json=request(**fields) | {"override_settings": settings})
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))


def encoded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_infotext_replays_an_image(client, use, settings):
    settings(disable_weights_auto_swap=False)
    image = made(client, "sdxl", negative_prompt="blurry", cfg_scale=4)
    text = image.text["parameters"]
    assert "Model: tiny-sdxl" in text
    answer = client.post("/sdapi/v1/txt2img", json={"infotext": text})
    again = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))
    assert again.text == image.text
    assert again.tobytes() == image.tobytes()


def test_switching_between_families_changes_no_image(client, use):
    kinds = ["sdxl", EMBEDDED, "ssd"]
    first = [made(client, kind).tobytes() for kind in kinds]
    assert [made(client, kind).tobytes() for kind in kinds] == first
    assert len(set(first)) == 3


def test_refiner_takes_over(client, use):
    base = made(client, "sdxl")
    image = made(client, "sdxl", refiner_checkpoint="tiny-sdxl-refiner", refiner_switch_at=0.5, steps=4)
    assert "Refiner: tiny-sdxl-refiner" in image.text["parameters"]
    assert image.tobytes() != made(client, "sdxl", steps=4).tobytes()
    assert made(client, "sdxl").tobytes() == base.tobytes()


@torch.no_grad()
def by_hand(models, texts, scale, noise):
    """The latents of Euler's method over even timesteps of 64x64 images, with a model for each step."""
    timesteps = torch.linspace(999, 0, len(models))
    alphas = models[0].alphas_cumprod[timesteps.long()]
    sigmas = [*((1 - alphas) / alphas) ** 0.5, torch.zeros(())]
    x = noise * sigmas[0]
    for i, model in enumerate(models):
        outputs = []
        for text, is_negative in zip(texts, (False, True), strict=True):
            cond = model.get_learned_conditioning(SdConditioning([text], is_negative, 64, 64))
            outputs.append(model.apply_model(x / (1 + sigmas[i] ** 2) ** 0.5, timesteps[i : i + 1], cond))
        x = x + (outputs[1] + scale * (outputs[0] - outputs[1])) * (sigmas[i + 1] - sigmas[i])
    return x


def test_refiner_goes_on_where_the_base_stopped(client, use, files):
    seen = []

    def note(params):
        seen.append(params.x.clone())  # at the last step the denoised latent is the result

    script_callbacks.on_cfg_after_cfg(note, name="test_sd_models_xl")
    refiner = {"refiner_checkpoint": "tiny-sdxl-refiner", "refiner_switch_at": 0.5}
    try:
        made(client, "sdxl", prompt=PROMPT, negative_prompt="", steps=4, scheduler="Uniform", cfg_scale=3, **refiner)
    finally:
        script_callbacks.remove_callbacks_for_function(note)
    models = [load(files, "sdxl")] * 2 + [load(files, "sdxl-refiner")] * 2
    expected = by_hand(models, (PLAIN_PROMPT, ""), 3.0, rng.ImageRNG((4, 8, 8), [5]).next())
    assert (seen[-1] - expected).abs().max() < 1e-4 * expected.abs().max()
    base_alone = by_hand(models[:2] * 2, (PLAIN_PROMPT, ""), 3.0, rng.ImageRNG((4, 8, 8), [5]).next())
    assert (base_alone - expected).abs().max() > 0.1


def test_refiner_of_another_family_is_refused(client, use):
    overrides = {"override_settings": {"sd_model_checkpoint": "tiny-sdxl"}}
    answer = client.post("/sdapi/v1/txt2img", json=request(refiner_checkpoint=EMBEDDED) | overrides)
    assert (answer.status_code, answer.json()["field"]) == (422, "refiner_checkpoint")
    assert made(client, "sdxl").size == (64, 64)


def test_hires_checkpoint_of_another_family_needs_pixels(client, use):
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_checkpoint_name": EMBEDDED}
    overrides = {"override_settings": {"sd_model_checkpoint": "tiny-sdxl"}}
    answer = client.post("/sdapi/v1/txt2img", json=request(**hires, hr_upscaler="Latent") | overrides)
    assert (answer.status_code, answer.json()["field"]) == (422, "hr_checkpoint_name")
    assert made(client, "sdxl", **hires, hr_upscaler="Lanczos").size == (128, 128)


def test_a_grid_over_models_of_different_families(client, use):
    off = [0, "", []]
    arguments = [11, f"{EMBEDDED},tiny-sdxl", [], *off, *off, True, *[False] * 6, 0, False]
    answer = client.post("/sdapi/v1/txt2img", json=request(script_name="x/y/z plot", script_args=arguments))
    texts = json.loads(answer.json()["info"])["infotexts"]
    assert any(f"Model: {EMBEDDED}" in text for text in texts) and any("Model: tiny-sdxl" in text for text in texts)


@pytest.mark.parametrize(
    "kind", ["sdxl", "sdxl-v-ztsnr", "ssd", "sdxl-refiner", "sdxl-inpainting", "sdxl-instruct-pix2pix"]
)
def test_every_kind_makes_images(client, use, kind):
    sampler = {"scheduler": "Align Your Steps"}
    image = made(client, kind, **sampler)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    start = {"init_images": [encoded(image)], "denoising_strength": 0.7, **sampler}
    whole = made(client, kind, "img2img", **start)
    masked = made(client, kind, "img2img", mask=encoded(mask), inpainting_fill=1, inpainting_mask_invert=0, **start)
    assert len({picture.tobytes() for picture in (image, whole, masked)}) == 3
    corner = (0, 0, 8, 8)
    assert masked.crop(corner).tobytes() == image.crop(corner).tobytes()


def test_hires_pass_is_told_its_size(client, use):
    sizes = []

    def note(module, args, output):
        sizes.append(output["vector"][0, 64:].clone())

    handle = use("sdxl").conditioner.register_forward_hook(note)
    image = made(client, "sdxl", enable_hr=True, hr_scale=2, denoising_strength=0.5, hr_upscaler="Latent")
    handle.remove()
    assert image.size == (128, 128)
    assert torch.equal(sizes[-1], sinusoids(torch.tensor([[128.0, 128, 0, 0, 128, 128]]))[0])


@pytest.mark.parametrize(
    ("kind", "prediction", "ends_in_noise"),
    [("sdxl", "eps", False), ("sdxl-v", "v", False), ("sdxl-v-ztsnr", "v", True)],
)
def test_markers_say_how_a_model_was_trained(files, kind, prediction, ends_in_noise):
    path = str(files[0] / f"tiny-{kind}.safetensors")
    prepared = model_load.prepare(path, {})
    assert prepared.parameterization == prediction
    assert (float(prepared.alphas_cumprod[-1]) < 1e-6) == ends_in_noise
    assert model_load.prepare(path, {"modelspec.prediction_type": "epsilon"}).parameterization == "eps"
    assert float(model_load.prepare(path, {"ss_zero_terminal_snr": "True"}).alphas_cumprod[-1]) < 1e-6


def test_vector_of_another_width_is_named(files, tmp_path):
    weights = load_file(files[0] / "tiny-sdxl.safetensors")
    key = "model.diffusion_model.label_emb.0.0.weight"
    weights[key] = weights[key][:, :-256].contiguous()
    save_file(weights, tmp_path / "odd.safetensors")
    with pytest.raises(ModelLoadError, match="reads a vector of 1344 numbers beside the text instead of 1600"):
        model_load.prepare(str(tmp_path / "odd.safetensors"), {})


def test_architecture_file_is_that_of_v1_10_1(files):
    config = sd_models_config.guess_model_config_from_state_dict(
        load_file(files[0] / "tiny-sdxl-refiner.safetensors"), ""
    )
    assert config.endswith("sd_xl_refiner.yaml")


def test_same_seed_gives_the_same_file(files, tmp_path):
    tiny_checkpoints.write("sdxl", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (files[0] / "tiny-sdxl.safetensors").read_bytes()
