"""Stable Diffusion 2 models that are told an image by a network that looks at it: unCLIP and depth."""

import base64
import io

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modules import image_readers, model_load, paths, prompt_parser, rng, sd_samplers
from modules.errors import InvalidInput, ModelLoadError, NotFound
from modules.image_readers import depth
from modules.image_readers.clip_vision import NoiseAugmentor
from modules.job import conds
from modules.prompt_parser import SdConditioning
from test.unit.diffusers_pipelines import CPU, STEPS, schedulers, tokenizers, weak_noise
from test.unit.sampler_jobs import job
from test.unit.test_sd_models_2 import without_last_layer

KINDS = ("sd2-unclip", "sd2-depth")

pytestmark = pytest.mark.usefixtures("sd_model")


@pytest.fixture
def depth_network(tmp_path, monkeypatch):
    """A small network for depth in the models folder."""
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DPTForDepthEstimation(config).eval()
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    network.save_pretrained(depth.folder())
    depth.load.cache_clear()
    yield network
    depth.load.cache_clear()


def load(files, kind):
    return model_load.build(model_load.prepare(str(files[0] / f"tiny-{kind}.safetensors"), {}), CPU)


def pixels(width=48, height=32):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


@torch.no_grad()
def test_image_is_embedded_as_by_clip(files):
    model, networks = load(files, "sd2-unclip"), files[1]["sd2-unclip"]
    square = torch.nn.functional.interpolate(pixels(), (32, 32), mode="bicubic", antialias=True)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    expected = networks.vision(((square + 1) / 2 - mean) / deviation).image_embeds
    assert torch.allclose(model.embedder(pixels()), expected, atol=1e-5)
    assert model.parameterization == "v" and model.network("embedder") is model.embedder


@pytest.mark.parametrize("level", [0, 300])
def test_noise_is_that_of_diffusers(files, level):
    from diffusers import DDPMScheduler
    from diffusers.models.embeddings import get_timestep_embedding

    augmentor = load(files, "sd2-unclip").noise_augmentor
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    ours = augmentor(vectors, level, torch.Generator().manual_seed(2))
    noise = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    mean, deviation = torch.linspace(-1, 1, 32), torch.linspace(0.5, 2, 32)
    levels = torch.tensor([level, level])
    noisy = DDPMScheduler(beta_schedule="squaredcos_cap_v2").add_noise((vectors - mean) / deviation, noise, levels)
    numbers = get_timestep_embedding(levels, 32, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert torch.allclose(ours, torch.cat([noisy * deviation + mean, numbers], dim=1), atol=1e-5)
    assert len(NoiseAugmentor.alphas_cumprod()) == 1000


@pytest.mark.usefixtures("fresh_state")
def test_final_latents_are_those_of_diffusers(use, files):
    """With the image in the prompts' half of a call, and zeros in the other."""
    from diffusers import StableDiffusionPipeline

    model, networks, noise = use("sd2-unclip"), files[1]["sd2-unclip"], weak_noise(width=16)
    told = conds.embedded_conditioning(model, pixels(), torch.Generator().manual_seed(1)).detach()
    p = job(sampler_name="Euler", steps=STEPS, cfg_scale=5.0, scheduler="Uniform")
    p.rng = rng.ImageRNG(noise.shape[1:], [1])
    positive = prompt_parser.get_multicond_learned_conditioning(model, SdConditioning(["apple"]), STEPS)
    negative = prompt_parser.get_learned_conditioning(model, SdConditioning(["blurry"], True), STEPS)
    with torch.inference_mode():
        ours = sd_samplers.create_sampler("Euler", model).sample(p, noise, positive, negative, image_conditioning=told)

    (text,) = networks.texts.values()
    scheduler = schedulers("v_prediction")["Euler"]
    parts = (networks.vae, without_last_layer(text), tokenizers()[1], networks.unet, scheduler)
    made = StableDiffusionPipeline(*parts, None, None, requires_safety_checker=False)
    tokens, negatives = made.encode_prompt("apple", "cpu", 1, True, "blurry")
    scheduler.set_timesteps(STEPS)
    x = noise * scheduler.init_noise_sigma
    with torch.inference_mode():
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([x, x]), t)
            labels = torch.cat([torch.zeros_like(told), told])
            out = networks.unet(both, t, torch.cat([negatives, tokens]), class_labels=labels).sample
            without, with_text = out.chunk(2)
            x = scheduler.step(without + 5.0 * (with_text - without), t, x).prev_sample
    assert (ours - x).abs().max() < 1e-4


def test_depth_map_is_that_of_the_network(files, depth_network):
    model = load(files, "sd2-depth")
    ours = conds.depth_conditioning(model, pixels())
    with torch.no_grad():
        square = torch.nn.functional.interpolate(pixels(), (32, 32), mode="bicubic")
        far = torch.nn.functional.interpolate(depth_network(square).predicted_depth[:, None], (4, 6), mode="bicubic")
    low, high = far.min(), far.max()
    assert ours.shape == (1, 1, 4, 6) and torch.allclose(ours, 2 * (far - low) / (high - low) - 1, atol=1e-5)


def test_depth_network_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    with pytest.raises(NotFound, match=r"Intel/dpt-hybrid-midas: put its files into .*midas"):
        image_readers.depth_map(pixels(), (4, 6))


def test_depth_model_wants_an_image(files):
    model = load(files, "sd2-depth")
    with pytest.raises(InvalidInput, match="use img2img"):
        conds.text_only_conditioning(model, torch.zeros(1, 4, 4, 6), 48, 32)


def test_missing_image_encoder_is_named(files, tmp_path):
    tensors = load_file(files[0] / "tiny-sd2-unclip.safetensors")
    save_file({k: v for k, v in tensors.items() if "visual." not in k}, tmp_path / "blind.safetensors")
    with pytest.raises(ModelLoadError, match=r"unCLIP, but embedder\.model\.visual\.conv1\.weight is missing"):
        model_load.prepare(str(tmp_path / "blind.safetensors"), {})


def test_jobs(use, client, depth_network):
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 40, 40)).save(stream, "PNG")
    other = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).convert("RGB").save(other, "PNG")
    start = base64.b64encode(stream.getvalue()).decode()
    body = {"prompt": "apple", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
    from_image = {"init_images": [start], "denoising_strength": 1.0}

    def made(path, **fields):
        answer = client.post(f"/sdapi/v1/{path}", json={**body, **fields})
        return answer.json()["images"][0] if answer.status_code == 200 else answer.json()

    use("sd2-unclip")
    assert made("txt2img") != made("img2img", **from_image)
    use("sd2-depth")
    assert "use img2img" in str(made("txt2img"))
    assert isinstance(made("img2img", **from_image), str)
