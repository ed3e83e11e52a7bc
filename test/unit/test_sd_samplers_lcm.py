import pytest
import torch

from modules import sd_samplers
from modules.sampling import sample_lcm
from modules.sampling.denoisers import LCMDenoiser
from modules.sd_samplers_lcm import LCMCompVisDenoiser, LCMSampler, samplers_data_lcm
from test.unit.sampler_jobs import PromptModel, job, no_picture, prompts, schedule, text

pytestmark = pytest.mark.usefixtures("fresh_state")


def test_row_of_the_menu():
    (row,) = samplers_data_lcm
    assert (row.name, row.aliases, row.options) == ("LCM", ["k_lcm"], {})
    sampler = row.constructor(PromptModel())
    assert isinstance(sampler, LCMSampler)
    assert sampler.func is sample_lcm
    assert isinstance(sampler.model_wrap, LCMDenoiser)
    assert LCMCompVisDenoiser is LCMDenoiser


@pytest.mark.parametrize("scheduler", ["Automatic", "Karras", "SGM Uniform"])
def test_makes_what_the_prompt_says_in_few_steps(scheduler):
    model = PromptModel()
    sampler = sd_samplers.create_sampler("LCM", model)
    p = job(sampler_name="LCM", scheduler=scheduler)
    cond, uncond = prompts(schedule(text(3))), [schedule(text(-1))]
    samples = sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture())
    assert float(samples.mean()) == pytest.approx(3.0, abs=0.6)
    assert [call.rows for call in model.calls] == [2] * 4
    assert all(float(t) % 20 == 19 for call in model.calls for t in call.t)


def test_noise_comes_from_the_job():
    def sample():
        p = job(sampler_name="LCM", all_seeds=[5])
        sampler = sd_samplers.create_sampler("LCM", PromptModel())
        cond, uncond = prompts(schedule(text(3))), [schedule(text(-1))]
        return sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture())

    assert torch.equal(sample(), sample())
