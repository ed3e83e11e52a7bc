"""Nothing waits for its device from the first step to the last: on the meta device a tensor has no values, and asking
for one raises, as does a tensor of another device in places where CUDA would copy it. Copies from main memory are
counted.
"""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from modules import (
    devices,
    model_load,
    prompt_parser,
    rng,
    sd_hijack,
    sd_samplers,
    sd_samplers_common,
    sd_samplers_timesteps_impl,
    shared,
    step_cache,
)
from modules.hypernetworks import hypernetwork
from modules.model_patches import circular_padding, token_merging
from modules.network_patches import KIND, Networks
from modules.placement import Placement
from modules.textual_inversion.textual_inversion import Embedding
from test.quality.golden import NETWORKS
from test.unit.sampler_jobs import job
from test.unit.test_backends import SHALLOW
from test.unit.test_network_patches import active
from test.unit.test_weight_patches import build
from tools import tiny_checkpoints

UNET = {**tiny_checkpoints.SD1.unet, **SHALLOW}
CPU, META = torch.device("cpu"), torch.device("meta")

pytestmark = pytest.mark.usefixtures("loaded_program", "fresh_state")


class Copies(TorchDispatchMode):
    """Counts copies between devices for which the program waits."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            target, source = (args[0].device, args[1]) if func._opname == "copy_" else (kwargs.get("device"), args[0])
            waits = not kwargs.get("non_blocking", False)
            self.count += waits and target is not None and source.device != torch.device(target)
        return func(*args, **kwargs)


def loaded(path):
    """A model on the CPU."""
    prepared = model_load.prepare(path, {})
    return model_load.build(prepared, Placement(CPU, torch.float32, torch.float32, torch.float32))


@pytest.fixture
def sample(monkeypatch):
    """sample(model, sampler) moves a model to the meta device, encodes prompts there, and samples two images.

    With `hires`, from latents, as the hires pass does. Noise levels are worked out on the CPU before.
    """
    launch = sd_samplers_common.Sampler.launch_sampling

    def on_meta(sampler, steps, solver):
        model, denoiser = sampler.sd_model, sampler.model_wrap_cfg
        table = model.alphas_cumprod
        monkeypatch.setattr(sd_samplers_timesteps_impl, "alphas_cumprod_of", lambda denoiser: table)
        monkeypatch.setattr(model, "alphas_cumprod", table.to(META))
        denoiser.alphas = table.to(META)
        denoiser.inner_model.to(META)
        with Copies() as copies:
            samples = launch(sampler, steps, solver)
        assert copies.count == 0
        return samples

    monkeypatch.setattr(sd_samplers_common.Sampler, "launch_sampling", on_meta)
    monkeypatch.setattr(devices, "without_autocast", contextlib.nullcontext)  # which the meta device does not have
    monkeypatch.setitem(shared.opts.data, "randn_source", "CPU")  # nor a generator

    def sampled(model, name="Euler a", steps=2, hires=False):
        model.to(META).loaded_as = Placement(META, torch.float32, torch.float32, torch.float32)
        monkeypatch.setattr(devices, "device", META)
        shape = (model.latent_channels, 16, 16)
        image = torch.zeros(2, max(model.network("denoiser").config.in_channels - shape[0], 1), 16, 16, device=META)
        p = job(sampler_name=name, cfg_scale=7.0, all_seeds=[1, 2], steps=steps, rng=rng.ImageRNG(shape, [1, 2]))
        p.comment = lambda text: None
        with torch.no_grad():
            texts = ["a (red:1.3) newword AND [blue:green:1] car :0.3", "cat"]
            cond = prompt_parser.get_multicond_learned_conditioning(model, texts, steps)
            uncond = prompt_parser.get_learned_conditioning(model, ["", ""], steps)
            sampler = sd_samplers.create_sampler(name, model)
            x = p.rng.next()
            if hires:
                return sampler.sample_img2img(p, x, p.rng.next(), cond, uncond, steps, image)
            return sampler.sample(p, x, cond, uncond, image_conditioning=image)

    return sampled


@pytest.mark.parametrize(
    "kind", ["sd1", "sd2-v", "sd2-inpainting", "sdxl", "sdxl-playground", "sdxl-cosxl", "ssd", "sdxl-refiner", "sd3"]
)
def test_families(tiny_files, sample, kind):
    assert sample(loaded(str(tiny_files(kind)[0])), steps=1).is_meta


@pytest.fixture(scope="module")
def shallow():
    """Weights of a model with a small U-Net, which is called soon."""
    return tiny_checkpoints.make(tiny_checkpoints.replace(tiny_checkpoints.SD1, unet=UNET)).weights()


@pytest.fixture
def model(shallow):
    prepared = model_load.prepare("a small model", {}, state_dict=dict(shallow))
    return model_load.build(prepared, Placement(CPU, torch.float32, torch.float32, torch.float32))


WAITING = {"DPM adaptive"}
"""Samplers that look at their error to choose the next step."""


@pytest.mark.parametrize("name", [row.name for row in sd_samplers.all_samplers if row.name not in WAITING])
def test_samplers(sample, model, name):
    assert sample(model, name).is_meta


@pytest.mark.parametrize("name", ["DPM++ 2M SDE", "DDIM"])
def test_hires_pass(sample, model, name):
    assert sample(model, name, hires=True).is_meta


def test_noise_of_the_host_is_sent_without_waiting(sample, model, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "randn_source", "NV")  # as that of the CPU in all others
    assert sample(model).is_meta


KINDS = [active(kind) for kind in ("lora", "locon", "loha", "lokr", "ia3", "full", "norm", "glora", "oft")]


@contextlib.contextmanager
def learned_word(model):
    """A word with vectors of its own."""
    database = sd_hijack.model_hijack.embedding_db
    database.register_embedding(Embedding(torch.ones(2, 128), "newword"), model)
    yield
    database.register_embedding_by_name(None, model, "newword")


def hypernetworks(model):
    network = hypernetwork.Hypernetwork()
    network.load(str(NETWORKS.folder / "hypernetworks" / "lab-hyper.pt"))
    assert hypernetwork.fits(network, model.model.diffusion_model)
    for module in network.modules():
        module.to(META)  # where they are from the first call on
    return hypernetwork.applied([network], model.model.diffusion_model)


PATCHES = {
    "networks in the weights": {KIND: Networks(tuple(KINDS))},
    "networks beside the layers": {KIND: Networks(tuple(KINDS), functional=True)},
    "hypernetworks": {"hypernetworks": hypernetworks},
    "textual inversion": {"embeddings": learned_word},
    "token merging": {"token merging": lambda model: token_merging(model, 0.5)},
    "step cache": {"step cache": lambda model: step_cache.applied(model, 2)},
    "tiling": {"tiling": circular_padding},
}


def test_step_cache_of_a_transformer(tiny_files, sample):
    model = loaded(str(tiny_files("sd3")[0]))
    with step_cache.applied(model, 2):
        assert sample(model, steps=5).is_meta


@pytest.mark.parametrize("name", PATCHES)
def test_patches(sample, name):
    model = build()
    with contextlib.ExitStack() as stack:
        for kind, patch in PATCHES[name].items():
            model.patches.put(kind, patch)
            stack.callback(model.patches.take, kind)
        assert sample(model, steps=3 if name == "step cache" else 1).is_meta
