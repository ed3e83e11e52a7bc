"""Models of other families by click: the menu, a picture, its text pasted back, networks for it and for others."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from tools import tiny_checkpoints

KINDS = {"sdxl": "output_blocks_0_1_transformer_blocks_0_attn2_to_k", "sd3": "joint_blocks_0_x_block_attn_qkv"}
"""Kind of checkpoint -> a layer that only its denoiser has."""
SIZES = {"sdxl": (128, 96), "sd3": (192, 64)}


@pytest.fixture(scope="module")
def files(page_server):
    """A checkpoint and a Lora of each kind among the files of the server; the embedded model is current afterwards."""
    models = page_server.data_dir / "models"
    checkpoints, networks = models / "Stable-diffusion" / "families", models / "Lora" / "families"
    for folder in (checkpoints, networks):
        folder.mkdir(parents=True)
    for kind, layer in KINDS.items():
        tiny_checkpoints.write(kind, checkpoints / f"tiny-{kind}.safetensors")
        rows, columns = SIZES[kind]
        up, down = torch.ones(rows, 1), torch.linspace(-1, 1, columns)[None]
        save_file(
            {f"lora_unet_{layer}.lora_up.weight": up, f"lora_unet_{layer}.lora_down.weight": down},
            networks / f"for-{kind}.safetensors",
        )
    before = page_server.request("/sdapi/v1/options")["sd_model_checkpoint"]
    yield
    page_server.set_options(sd_model_checkpoint=before)
    for folder in (checkpoints, networks):
        shutil.rmtree(folder)
    for what in ("checkpoints", "loras"):
        page_server.request(f"/sdapi/v1/refresh-{what}", {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_another_family(files, site, kind):
    site.page.click("#refresh_sd_model_checkpoint")
    site.choose("setting_sd_model_checkpoint", f"families/tiny-{kind}.safetensors")
    site.page.wait_for_function("name => window.opts.sd_model_checkpoint?.includes(name)", arg=f"tiny-{kind}.")
    site.small(steps=2)
    site.prompt().fill("a red apple")
    picture, infotext = site.generate(), site.infotext()
    assert f"Model: tiny-{kind}" in infotext

    site.small(steps=3, seed=1, size=128)
    site.prompt().fill(infotext)
    site.page.click("#paste")
    site.page.wait_for_function("() => gradioApp().querySelector('#txt2img_prompt textarea').value === 'a red apple'")
    assert site.generate().tobytes() == picture.tobytes()
    assert site.infotext() == infotext

    site.prompt().fill(f"a red apple <lora:for-{kind}:1>")
    assert site.generate().tobytes() != picture.tobytes()
    (other,) = KINDS.keys() - {kind}
    site.prompt().fill(f"a red apple <lora:for-{other}:1>")
    assert site.generate().tobytes() == picture.tobytes()
    assert f"for-{other} is for" in site.page.locator("#html_log_txt2img").inner_text()
