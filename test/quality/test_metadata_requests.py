"""What png-info says of every golden file, sent back as a request: the job that is made of it has these fields.

The jobs are made and looked at, not run; `test_metadata` runs some of them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from PIL import Image

from modules import images, infotext, infotext_utils, sd_samplers, shared
from modules.api import generate, models
from modules.processing_runner import ProcessingRunner
from test.quality import golden
from test.quality.api_jobs import FACE

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "dialects"
TRUE_FIELDS = json.loads((SAMPLES / "expected.json").read_text(encoding="utf8"))
TEXTS = [
    (name, number) for name, expected in golden.EXPECTED.items() for number in range(len(expected.get("infotexts", ())))
]
"""Every infotext that v1.10.1 answered: (case, place of the image)."""

FIELDS = {
    "Prompt": "prompt",
    "Negative prompt": "negative_prompt",
    "Styles array": "styles",
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Size-1": "width",
    "Size-2": "height",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Seed resize from-1": "seed_resize_from_w",
    "Seed resize from-2": "seed_resize_from_h",
    "Denoising strength": "denoising_strength",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
}
"""Infotext key -> field of a request."""

HIRES = {
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Hires steps": "hr_second_pass_steps",
    "Hires resize-1": "hr_resize_x",
    "Hires resize-2": "hr_resize_y",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
}

MASKS = {
    "Mask blur": ("mask_blur", int),
    "Mask mode": ("inpainting_mask_invert", ["Inpaint masked", "Inpaint not masked"].index),
    "Masked content": ("inpainting_fill", ["fill", "original", "latent noise", "latent nothing"].index),
    "Inpaint area": ("inpaint_full_res", lambda area: area != "Whole picture"),
    "Masked area padding": ("inpaint_full_res_padding", int),
}
"""Infotext key -> field of an img2img request, and its value for the words of the infotext."""

SAYS_WHAT_HAPPENED = {
    "Face restoration",
    "Mask blur",
    "Model hash",
    "Model",
    "Version",
    "Beta schedule alpha",
    "Beta schedule beta",
    "Script",
    "X Type",
    "X Values",
    "Fixed X Values",
    "Y Type",
    "Y Values",
    "Fixed Y Values",
    "Final denoising strength",
    "Denoising curve",
    "SD upscale overlap",
    "SD upscale upscaler",
    "Decode prompt",
    "Decode negative prompt",
    "Decode CFG scale",
    "Decode steps",
    "Randomness",
    "Sigma Adjustment",
}
"""Keys that ask for nothing: what the model was, which its hash chooses, what v1.10.1 does not read back, and what a
selected script did, which has to be selected again.
"""


def said_by(client, data):
    """What png-info says of a file."""
    response = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(data).decode()})
    assert response.status_code == 200, response.text
    return response.json()


def file_with(text):
    """A PNG file that says a text."""
    image = Image.new("RGB", (8, 8))
    image.info["parameters"] = text
    return images.encode(image, "png")


def kind_of(name):
    return "img2img" if "img2img" in golden.request_of(golden.CASES[name])["url"] else "txt2img"


def job(kind, **body):
    """The processing object of a request."""
    if kind == "txt2img":
        plan = generate.prepare_txt2img(models.StableDiffusionTxt2ImgProcessingAPI(**body))
    else:
        plan = generate.prepare_img2img(models.StableDiffusionImg2ImgProcessingAPI(**{"init_images": [FACE]} | body))
    return ProcessingRunner(plan.request).create()


def as_said(value, p, field):
    """A text of an infotext as the type of the job's field."""
    kind = type(getattr(p, field))
    return value if kind in (str, list, type(None)) else kind(float(value)) if kind in (int, float) else value == "True"


def settings_of(said):
    """Infotext key -> setting, for the settings that are said; not the files, which may not be here."""
    names = dict(infotext_utils.settings_in_infotext())
    files = {"Model hash", "VAE", "Face restoration", *(key for key in names if key.startswith("Module "))}
    return {key: names[key] for key in said.keys() & names.keys() - files}


def fields_to_ask_for(said, kind):
    """The request that a client makes of the parameters: texts as they are, each under the name of its field."""
    names = FIELDS | (HIRES if kind == "txt2img" else {})
    body = {field: said[key] for key, field in names.items() if key in said}
    body["override_settings"] = {setting: said[key] for key, setting in settings_of(said).items()}
    if kind == "img2img":
        body |= {field: read(said[key]) for key, (field, read) in MASKS.items() if key in said}
    elif any(key in said for key in ("Hires upscale", "Hires upscaler")):
        body["enable_hr"] = True
    return body


def check(p, said, kind):
    """Says that a job has all fields that were said, and as settings what no field is for; returns the keys left."""
    names = FIELDS | (HIRES if kind == "txt2img" else {})
    for key, field in names.items():
        if key in said and key != "Schedule type":
            assert getattr(p, field) == as_said(said[key], p, field), key
    named = sd_samplers.get_sampler_and_scheduler(said["Sampler"], said["Schedule type"])
    assert p.sampler_name == named[0]
    assert p.scheduler in (said["Schedule type"], named[1])  # a sampler's own schedule is "Automatic" too
    settings = settings_of(said)
    for key, setting in settings.items():
        chosen = p.override_settings.get(setting, getattr(shared.opts, setting))
        assert shared.opts.read_value(setting, chosen) == shared.opts.read_value(setting, said[key]), key
    return said.keys() - names.keys() - settings.keys() - infotext.DEFAULT_PARAMETERS.keys()


@pytest.mark.parametrize(("name", "number"), TEXTS)
def test_every_golden_file_makes_a_job_with_its_fields(client, name, number):
    kind, text = kind_of(name), golden.EXPECTED[name]["infotexts"][number]
    found = said_by(client, file_with(text))
    assert found["info"] == text
    said = found["parameters"]
    p = job(kind, **{"infotext": text} | (fields_to_ask_for(said, kind) if kind == "img2img" else {}))
    left = check(p, said, kind)
    assert {key for key in left if not key.startswith("Soft inpainting")} <= SAYS_WHAT_HAPPENED
    assert p.override_settings.get("face_restoration", False) == ("Face restoration" in said)
    if kind == "img2img":
        for key, (field, read) in MASKS.items():
            assert key not in said or getattr(p, field) == read(said[key]), key


@pytest.mark.parametrize("name", TRUE_FIELDS)
@pytest.mark.parametrize("way", ["infotext", "fields"])
def test_every_sample_of_another_program_makes_a_job_with_its_fields(client, name, way):
    found = said_by(client, (SAMPLES / name).read_bytes())
    said, true = found["parameters"], TRUE_FIELDS[name]
    body = {"infotext": found["info"]} if way == "infotext" else fields_to_ask_for(said, "txt2img")
    check(job("txt2img", **body), said, "txt2img")
    assert {key: said[key] for key in true if key != "Size"} == {key: true[key] for key in true if key != "Size"}
