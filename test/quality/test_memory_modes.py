"""Each way to save memory: the picture that is made without it, whatever changes a model in the middle of the job, and
the weights as they were.
"""

import shutil
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import save_file

from modules import checkpoints, paths, sd_models, sd_modules, sd_vae, shared
from modules.sd_models import model_data
from test.unit.checkpoint_files import vae_weights, write_t5_vocabulary
from test.unit.test_quantized import write_gguf
from tools import tiny_checkpoints

HIRES = {"enable_hr": True, "hr_scale": 1.25, "hr_upscaler": "Latent", "denoising_strength": 0.7}

ALL_THAT_CHANGES_A_MODEL = HIRES | {
    "prompt": "red lab-emb apple <lora:lab-lora:0.8> <lora:lab-locon:0.5>",
    "refiner_checkpoint": "second",
    "refiner_switch_at": 0.5,
    "hr_checkpoint_name": "second",
    "override_settings": {"sd_vae": "bright.safetensors"},
}
NETWORK_FOR_XL = {"prompt": "red apple <lora:for-xl:0.5>"}
EMBEDDED, QUANTIZED, XL, V3 = "demo-emoji", "quantized", "tiny-xl", "tiny-3"
EIGHT_BITS = {"fp8_storage": "Enable"}
SUMS_OF_16_BITS = {**EIGHT_BITS, "cache_fp16_weight": True}
MODULES = {"forge_additional_modules": ["whole.safetensors"]}
THREE = {"sd_checkpoints_limit": 3}
LONG_TEXTS = {"sd3_enable_t5": True}
ON_THE_DEVICE = {**THREE, "sd_checkpoints_keep_in_cpu": False}

MODES = {
    "parts": (EMBEDDED, "medvram", {}, {}),
    "layers, three models on the device": (EMBEDDED, "lowvram", {}, ON_THE_DEVICE),
    "three models": (EMBEDDED, None, {}, THREE),
    "8 bits, parts, three models": (EMBEDDED, "medvram", EIGHT_BITS, THREE),
    "8 bits, layers": (EMBEDDED, "lowvram", EIGHT_BITS, {}),
    "8 bits, sums of 16, layers": (EMBEDDED, "lowvram", SUMS_OF_16_BITS, {}),
    "blocks, layers": (QUANTIZED, "lowvram", MODULES, {}),
    "larger models, parts": (XL, "medvram_sdxl", {}, {}),
    "three text encoders, parts": (V3, "medvram", LONG_TEXTS, {}),
    "three text encoders, layers": (V3, "lowvram", LONG_TEXTS, {}),
}
"""Checkpoint, flag, settings that change the picture, and settings that must not."""


@pytest.fixture(scope="module")
def files(client, network_files, second_checkpoint):
    """A quantised U-Net and the modules for it, another VAE, a small SDXL with a network for it, a small SD3."""
    models, vaes = Path(checkpoints.model_path), Path(sd_vae.vae_path)
    vaes.mkdir(parents=True, exist_ok=True)
    brighter = vae_weights()
    brighter["decoder.conv_out.bias"] += 0.3
    save_file(brighter, vaes / "bright.safetensors")
    shutil.copy(checkpoints.embedded_checkpoint, vaes / "whole.safetensors")
    write_gguf(models / f"{QUANTIZED}.gguf", gguf.GGMLQuantizationType.Q8_0)
    tiny_checkpoints.write("sdxl", models / f"{XL}.safetensors")
    write_t5_vocabulary(paths.models_path, "red apple")
    tiny_checkpoints.write("sd3-t5", models / f"{V3}.safetensors")
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    ones = {f"{name}.lora_up.weight": torch.ones(64, 1), f"{name}.lora_down.weight": torch.ones(1, 64)}
    save_file(ones, network_files / "for-xl.safetensors")
    written = [
        *(vaes / name for name in ("bright.safetensors", "whole.safetensors")),
        *(models / name for name in (f"{QUANTIZED}.gguf", f"{XL}.safetensors", f"{V3}.safetensors")),
        network_files / "for-xl.safetensors",
    ]

    def look_again():
        sd_models.list_models()
        sd_vae.refresh_vae_list()
        sd_modules.refresh()
        client.post("/sdapi/v1/refresh-loras")

    look_again()
    yield
    for path in written:
        path.unlink()
    shutil.rmtree(Path(paths.models_path) / "text_encoder" / "t5-tokenizer")
    look_again()


def unload_all():
    for model in model_data.loaded_sd_models:
        sd_models.send_model_to_trash(model)
    model_data.loaded_sd_models.clear()
    model_data.sd_model = None


@pytest.fixture(scope="module")
def made(files, client):
    """made(checkpoint, flag, settings): the pictures of a job with everything and of one with nothing, and whether the
    weights are afterwards what they were.
    """
    from test.quality import api_jobs

    def made(checkpoint, flag, settings):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shared, "parallel_processing_allowed", True)
            if flag:
                patch.setattr(shared.cmd_opts, flag, True)
            values = {"sd_checkpoints_limit": 1, "sd_model_checkpoint": checkpoint, **settings}
            for name, value in values.items():
                patch.setitem(shared.opts.data, name, value)
            unload_all()
            model = sd_models.reload_model_weights()
            assert (model.lowvram, model.fp8) == (flag is not None, "fp8_storage" in settings)
            before = contents(model)
            changed = {XL: NETWORK_FOR_XL, V3: HIRES}.get(checkpoint, ALL_THAT_CHANGES_A_MODEL)
            jobs = [api_jobs.SMALL | fields for fields in (changed, {})]
            pictures = [api_jobs.result_of(client.post("/sdapi/v1/txt2img", json=job)).pixels for job in jobs]
            model = shared.sd_model
            assert model.sd_checkpoint_info.name_for_extra == checkpoint
            model.patches.use()
            return pictures, contents(model) == before

    yield made
    unload_all()
    sd_models.reload_model_weights()


def contents(model):
    return {
        name: tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in model.state_dict().items()
    }


@pytest.fixture(scope="module")
def expected(made):
    """expected(checkpoint, settings): the pictures where nothing saves memory, made once."""
    known = {}

    def expected(checkpoint, settings):
        key = checkpoint, str(settings)
        if key not in known:
            known[key], unchanged = made(checkpoint, None, settings)
            assert unchanged and known[key][0] != known[key][1]
        return known[key]

    return expected


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_all_that_differs(made, expected, mode):
    checkpoint, flag, settings, others = MODES[mode]
    pictures, unchanged = made(checkpoint, flag, {**settings, **others})
    assert pictures == expected(checkpoint, settings)
    assert unchanged
