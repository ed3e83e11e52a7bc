"""An extension that replaces the U-Net's forward computes what diffusers does with the same control network."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules import call_queue, paths, processing, script_loading, scripts
from test.quality import oracle
from test.quality.api_jobs import FACE, decoded

SCRIPT = Path(__file__).resolve().parents[1] / "data" / "extensions" / "control" / "scripts" / "control.py"
STEPS, CFG, SEED, SIDE = 4, 5.0, 5, 64
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def control(loaded_program):
    """The module of the extension, with a file of random weights in its folder, "tiny"."""
    from modules import shared

    module = script_loading.load_module(str(SCRIPT))
    network = module.ControlNet(shared.sd_model.model.diffusion_model)
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, weight in network.state_dict().items():
        noise = 0.05 * torch.randn(weight.shape, generator=generator)
        weights[name] = weight + noise if weight.any() else noise
    module.FOLDER.mkdir(parents=True)
    save_file(weights, module.FOLDER / "tiny.safetensors")
    module.weights = weights
    yield module
    (Path(paths.models_path) / "control" / "tiny.safetensors").unlink()
    module.FOLDER.rmdir()


def latents_of(script, *args, **fields):
    """(final latents, sampler) of a job with the extension, switched on or off."""
    seen = {}

    class Kept(processing.StableDiffusionProcessingTxt2Img):
        def sample(self, *args, **kwargs):
            seen["latents"] = super().sample(*args, **kwargs).clone()
            seen["sampler"] = self.sampler
            return seen["latents"]

    small = {"sampler_name": "Euler", "scheduler": "Karras", "steps": STEPS, "cfg_scale": CFG, "seed": SEED}
    p = Kept(prompt="red apple", width=SIDE, height=SIDE, **small | fields)
    p.do_not_save_samples = p.do_not_save_grid = True
    runner = scripts.ScriptRunner()
    runner.scripts, runner.alwayson_scripts = [script], [script]
    script.args_from, script.args_to = 0, len(args)
    p.scripts, p.script_args = runner, args
    with call_queue.gpu_job("control"):
        text = processing.process_images(p).infotexts[0]
    assert ("Control: tiny" in text) == args[0]
    return seen["latents"], seen["sampler"]


def pipeline(sd_model, weights, scheduler):
    """diffusers' pipeline over the loaded networks and a control network of these weights."""
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    network = ControlNetModel.from_unet(sd_model.network("denoiser"), load_weights_from_unet=False)
    network.load_state_dict(convert_controlnet_checkpoint(dict(weights), config=network.config))
    parts = oracle.pipeline(sd_model, scheduler).components
    pipe = StableDiffusionControlNetPipeline(**parts, controlnet=network.eval(), requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_replaced_forward_gives_the_latents_of_diffusers(control, sd_model):
    weight = 0.7
    hint = decoded(FACE).convert("RGB").resize((SIDE, SIDE))
    script = control.Control()
    plain, _ = latents_of(script, False, "tiny", hint, weight)
    ours, sampler = latents_of(script, True, "tiny", hint, weight)
    sigmas = sampler.get_sigmas(processing.StableDiffusionProcessingTxt2Img(steps=STEPS, scheduler="Karras"), STEPS)
    scheduler = oracle.EulerOverSigmas(**oracle.BETAS).use(sigmas, sampler.model_wrap.sigma_to_t(sigmas[:-1]).cpu())
    noise = processing.create_random_tensors((4, SIDE // 8, SIDE // 8), [SEED])
    with torch.inference_mode():
        theirs = pipeline(sd_model, control.weights, scheduler)(
            prompt="red apple",
            negative_prompt="",
            image=hint,
            num_inference_steps=STEPS,
            guidance_scale=CFG,
            controlnet_conditioning_scale=weight,
            height=SIDE,
            width=SIDE,
            latents=noise * sigmas[0] / scheduler.init_noise_sigma,
            output_type="latent",
        ).images
    assert oracle.largest_difference(ours, theirs) < TOLERANCE
    assert oracle.largest_difference(ours, plain) > 0.1
    again, _ = latents_of(script, False, "tiny", hint, weight)
    assert torch.equal(again, plain)
