"""Every sampler on the embedded model: real prompts, guidance and networks."""

import traceback
from pathlib import Path

import pytest
import torch

from modules import prompt_parser, rng, sd_samplers, shared
from test.unit.sampler_jobs import job, no_picture

MODULES = Path(shared.__file__).parent

pytestmark = pytest.mark.usefixtures("fresh_state")


def conds(model, steps):
    prompts = ["red apple AND [blue:green:2] car :0.3", "cat"]
    positive = prompt_parser.get_multicond_learned_conditioning(model, prompts, steps)
    return positive, prompt_parser.get_learned_conditioning(model, ["", ""], steps)


@torch.inference_mode()
@pytest.mark.parametrize("name", [row.name for row in sd_samplers.all_samplers])
def test_samples_a_batch(sd_model, name):
    p = job(sampler_name=name, cfg_scale=7.0, all_seeds=[1, 2], rng=rng.ImageRNG((4, 8, 8), [1, 2]))
    cond, uncond = conds(sd_model, p.steps)
    sampler = sd_samplers.create_sampler(name, sd_model)
    samples = sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture(2))
    assert samples.shape == (2, 4, 8, 8)
    assert torch.isfinite(samples).all()
    assert samples.dtype == torch.float32
    assert shared.state.current_latent.shape == (2, 4, 8, 8)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M SDE", "LCM"])
def test_few_calls_of_our_own_lie_between_a_sampler_and_the_network(sd_model, name):
    """Each is one to step through for whoever looks for a fault, and takes its time in every step."""
    stacks = []

    def record(module, args):
        frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(MODULES)]
        stacks.append([frame.name for frame in frames])

    p = job(sampler_name=name, steps=2, rng=rng.ImageRNG((4, 8, 8), [1]))
    sampler = sd_samplers.create_sampler(name, sd_model)
    cond = prompt_parser.get_multicond_learned_conditioning(sd_model, ["red"], 2)
    uncond = prompt_parser.get_learned_conditioning(sd_model, [""], 2)
    handle = sd_model.model.diffusion_model.register_forward_pre_hook(record)
    try:
        sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture())
    finally:
        handle.remove()
    solver, denoiser = sampler.func.__name__, ["forward", "run_model", "forward", "apply_model", "forward"]
    assert stacks[0] == ["sample", "launch_sampling", solver, *denoiser]
