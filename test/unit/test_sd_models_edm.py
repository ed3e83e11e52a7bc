"""Models of the XL layout with the preconditioning of Karras et al.: small ones, against diffusers' pipelines."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules import model_load, prompt_parser, rng, sd_samplers, torchvision_ops
from modules.errors import InvalidInput
from modules.job import conds
from modules.model_families.sdxl import PLAYGROUND, SDXL_LATENTS
from modules.prompt_parser import SdConditioning
from test.unit.diffusers_pipelines import CPU, STEPS, tokenizers, weak_noise
from test.unit.sampler_jobs import job, no_picture

KINDS = ("sdxl-playground", "sdxl-cosxl", "sdxl-cosxl-edit")
SIZE = {"width": 96, "height": 64}
PROMPT = "a red apple"

pytestmark = pytest.mark.usefixtures("sd_model")


def load(files, kind):
    return model_load.build(model_load.prepare(str(files[0] / f"tiny-{kind}.safetensors"), {}), CPU)


def scheduler(kind, name):
    """diffusers' scheduler of a sampler for a kind of model."""
    torchvision_ops.declare_missing()
    from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler

    chosen = {"Euler": EDMEulerScheduler, "DPM++ 2M": EDMDPMSolverMultistepScheduler}[name]
    if kind == "sdxl-playground":
        return chosen(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, prediction_type="epsilon")
    return chosen(sigma_min=0.002, sigma_max=120.0, sigma_data=1.0, prediction_type="v_prediction")


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("name", ["Euler", "DPM++ 2M"])
@pytest.mark.parametrize("kind", ["sdxl-playground", "sdxl-cosxl"])
def test_final_latents_are_those_of_diffusers(use, files, kind, name):
    from diffusers import StableDiffusionXLPipeline

    model, noise = use(kind), weak_noise() * 0.1
    p = job(sampler_name=name, steps=STEPS, cfg_scale=3.0, scheduler="Karras")
    p.rng = rng.ImageRNG(noise.shape[1:], [1])
    told = (
        prompt_parser.get_multicond_learned_conditioning(model, SdConditioning([PROMPT], **SIZE), STEPS),
        prompt_parser.get_learned_conditioning(model, SdConditioning(["blurry"], True, **SIZE), STEPS),
    )
    sampler = sd_samplers.create_sampler(name, model)
    with torch.inference_mode():
        ours = sampler.sample(p, noise, *told, image_conditioning=no_picture())
    networks, theirs = files[1][kind], scheduler(kind, name)
    made = StableDiffusionXLPipeline(networks.vae, *networks.texts.values(), *tokenizers(), networks.unet, theirs)
    made.set_progress_bar_config(disable=True)
    highest = float(sampler.get_sigmas(p, STEPS)[0])
    expected = made(
        PROMPT,
        negative_prompt="blurry",
        guidance_scale=3.0,
        num_inference_steps=STEPS,
        latents=noise * highest / float(theirs.init_noise_sigma),
        output_type="latent",
        **SIZE,
    ).images
    assert ours.std() > 0.05
    assert (ours - expected).abs().max() < 1e-4


def test_files_say_which_levels_they_know(files, tmp_path):
    tensors = load_file(files[0] / "tiny-sdxl-cosxl.safetensors")
    save_file(tensors | {"edm_vpred.sigma_max": torch.tensor([50.0])}, tmp_path / "other.safetensors")
    schedule = model_load.prepare(str(tmp_path / "other.safetensors"), {}).schedule
    assert (schedule.sigma_min, schedule.sigma_max) == (pytest.approx(0.002), 50.0)


def test_families_and_what_they_predict(files):
    found = [(model.family.title, model.parameterization) for model in (load(files, kind) for kind in KINDS)]
    assert found == [("Playground 2.5", "edm"), ("CosXL", "edm_v"), ("CosXL Edit", "edm_v")]


def test_latents_of_playground_are_standardized():
    z = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0)) * 7
    latent = PLAYGROUND.latent_format.from_vae(z)
    means, deviations = (
        torch.tensor(v).view(4, 1, 1) for v in ((-1.6574, 1.886, -1.383, 2.5155), (8.4927, 5.9022, 6.5498, 5.2299))
    )
    assert torch.allclose(latent, (z - means) / deviations * 0.5, atol=1e-6)
    assert torch.allclose(PLAYGROUND.latent_format.to_vae(latent), z, atol=1e-5)
    assert torch.allclose(
        PLAYGROUND.latent_format.to_rgb(latent), SDXL_LATENTS.to_rgb(SDXL_LATENTS.from_vae(z)), atol=1e-5
    )
    assert not PLAYGROUND.latent_format.reads(SDXL_LATENTS)


@torch.no_grad()
def test_image_to_edit_is_in_model_space(files):
    model = load(files, "sdxl-cosxl-edit")
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    mode = model.encode_first_stage(pixels).mode()
    assert torch.equal(conds.edit_conditioning(model, pixels), mode * 0.13025)


@pytest.mark.parametrize("name", ["DDIM", "LCM"])
def test_samplers_over_timesteps_are_refused(use, name):
    model = use("sdxl-cosxl")
    with pytest.raises(InvalidInput, match="choose"):
        sampler = sd_samplers.create_sampler(name, model)
        sampler.model_wrap_cfg.inner_model  # noqa: B018


def test_a_job_of_each(use, client):
    for kind in ("sdxl-playground", "sdxl-cosxl"):
        use(kind)
        body = {"prompt": "apple", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
        answer = client.post("/sdapi/v1/txt2img", json=body)
        assert answer.status_code == 200 and f"Model: tiny-{kind}" in answer.json()["info"]
