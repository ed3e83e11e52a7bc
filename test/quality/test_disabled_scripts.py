"""Always-on scripts that are there, but switched off, change nothing: no pixel, and no byte of the infotext."""

from pathlib import Path

import pytest
from PIL import Image

from modules import processing, script_callbacks, script_loading, script_ui, scripts
from modules.extensions import ScriptFile

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [*sorted((ROOT / "test" / "data" / "extensions").iterdir()), ROOT / "docs" / "template_extension"]
JOB = {"prompt": "red apple", "steps": 3, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler a"}
FILES = {"do_not_save_samples": True, "do_not_save_grid": True}


@pytest.fixture(scope="module")
def always_on(loaded_program):
    """Lists the scripts of the tests' extensions beside those that ship."""
    callbacks = {category: list(known) for category, known in script_callbacks.callback_map.items()}
    shipped = list(scripts.scripts_data)
    for folder in FOLDERS:
        for path in sorted((folder / "scripts").glob("*.py")):
            if "scripts.Script" not in path.read_text(encoding="utf8"):
                continue
            with scripts.loading_from(str(folder)):
                module = script_loading.load_module(str(path))
            scripts.register_classes(module, ScriptFile(str(folder), path.name, str(path)))
    yield
    scripts.scripts_data[:] = shipped
    for category, known in callbacks.items():
        script_callbacks.callback_map[category][:] = known
    script_callbacks.ordered_callbacks_map.clear()


def run(is_img2img, runner):
    """Runs a job with the scripts of a runner, or with none; returns its pixels and infotexts."""
    if is_img2img:
        inpainting = {"init_images": [Image.linear_gradient("L").convert("RGB")], "mask": Image.radial_gradient("L")}
        p = processing.StableDiffusionProcessingImg2Img(**JOB, **FILES, **inpainting, denoising_strength=0.8)
    else:
        hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
        p = processing.StableDiffusionProcessingTxt2Img(**JOB, **FILES, **hires)
    p.is_api = True  # what stands on the page does not count
    p.scripts, p.script_args = runner, runner.default_args if runner else ()
    processed = processing.process_images(p)
    p.close()
    return [image.tobytes() for image in processed.images], processed.infotexts


@pytest.mark.parametrize("is_img2img", [False, True], ids=["txt2img", "img2img"])
def test_scripts_that_are_switched_off_change_nothing(always_on, is_img2img):
    runner = scripts.ScriptRunner()
    script_ui.build_unseen(runner, is_img2img)
    titles = {script.title() for script in runner.alwayson_scripts}
    assert {"Always on", "Template", "Hypertile", "Extra options", "Seed", "Refiner"} <= titles
    assert ("Soft inpainting" in titles) == is_img2img
    assert run(is_img2img, runner) == run(is_img2img, None)


def test_one_that_is_switched_on_shows(always_on):
    """So that the test above can fail."""
    runner = scripts.ScriptRunner()
    script_ui.build_unseen(runner, False)
    template = next(script for script in runner.alwayson_scripts if script.title() == "Template")
    runner.default_args[template.args_from] = 0.5
    _, infotexts = run(False, runner)
    assert "Template brightness: 0.5" in infotexts[0]
