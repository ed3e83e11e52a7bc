import html
import inspect
import json
from dataclasses import fields
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import errors, scripts, shared, txt2img, ui_jobs
from modules.api.image_codec import decode_base64_to_image
from modules.script_ui import default_args
from modules.txt2img import Txt2ImgValues

REQUEST = SimpleNamespace(username="ann")


@pytest.fixture
def values(app):
    """Builds what the tab sends: its defaults at the model's size and few steps, changed by names."""

    def make(**changes):
        row = {
            "prompt": "red apple",
            "negative_prompt": "",
            "prompt_styles": [],
            "n_iter": 1,
            "batch_size": 1,
            "cfg_scale": 7,
            "height": 64,
            "width": 64,
            "enable_hr": False,
            "denoising_strength": 0.7,
            "hr_scale": 2,
            "hr_upscaler": "Latent",
            "hr_second_pass_steps": 0,
            "hr_resize_x": 0,
            "hr_resize_y": 0,
            "hr_checkpoint_name": "Use same checkpoint",
            "hr_sampler_name": "Use same sampler",
            "hr_scheduler": "Use same scheduler",
            "hr_prompt": "",
            "hr_negative_prompt": "",
            "override_settings_texts": [],
        } | changes
        names = [field.name for field in fields(Txt2ImgValues)][:-1]
        script_args = default_args(scripts.scripts_txt2img)
        scripts.scripts_txt2img.set_named_arg(script_args, "sampler", "txt2img_steps", 2)
        scripts.scripts_txt2img.set_named_arg(script_args, "seed", "txt2img_seed", 1)
        return [row[name] for name in names] + script_args

    return make


def plain(infotext):
    """The infotext that the tab shows as HTML."""
    return html.unescape(infotext.replace("<br>", "").removeprefix("<p>").removesuffix("</p>"))


def test_values_become_a_job(values):
    p = txt2img.txt2img_create_processing(
        "task(1)",
        REQUEST,
        *values(
            width=96,
            hr_checkpoint_name="Use same checkpoint",
            hr_sampler_name="Euler",
            override_settings_texts=["Clip skip: 2"],
        ),
    )
    assert (p.prompt, p.width, p.height, p.user) == ("red apple", 96, 64, "ann")
    assert (p.hr_checkpoint_name, p.hr_sampler_name, p.hr_scheduler) == (None, "Euler", None)
    assert p.override_settings == {"CLIP_stop_at_last_layers": 2}
    assert p.outpath_samples == shared.opts.outdir_txt2img_samples
    assert p.scripts is scripts.scripts_txt2img and (p.steps, p.seed) == (2, 1)
    assert not p.enable_hr
    assert txt2img.txt2img_create_processing("t", None, *values(), force_enable_hr=True).enable_hr


def test_signature_is_the_one_extensions_know():
    names = list(inspect.signature(txt2img.txt2img_create_processing).parameters)
    assert names[:5] == ["id_task", "request", "prompt", "negative_prompt", "prompt_styles"]
    assert names[-3:] == ["override_settings_texts", "args", "force_enable_hr"]
    assert list(inspect.signature(txt2img.txt2img).parameters) == ["id_task", "request", "args"]


def test_job_fills_the_panel(values):
    gallery, info, infotext, log = txt2img.txt2img("task(2)", REQUEST, *values())
    assert gallery[0].size == (64, 64) and gallery[0].already_saved_as.endswith("-1.png")
    assert json.loads(info)["all_seeds"] == [1]
    assert "Steps: 2, " in infotext and log == "<p class='comments'></p>"


def test_page_and_api_make_the_same_picture(values, client):
    (picture,), _, infotext, _ = txt2img.txt2img("task(3)", REQUEST, *values(cfg_scale=7.0))
    body = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "sampler_name": "DPM++ 2M"}
    answer = client.post("/sdapi/v1/txt2img", json=body).json()
    assert decode_base64_to_image(answer["images"][0]).tobytes() == picture.tobytes()
    assert json.loads(answer["info"])["infotexts"][0] == plain(infotext)


def test_images_can_be_kept_out_of_the_gallery(values, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "do_not_show_images", True)
    monkeypatch.setitem(shared.opts.data, "samples_log_stdout", True)
    monkeypatch.setitem(shared.opts.data, "enable_console_prompts", True)
    gallery, info, *_ = txt2img.txt2img("task(4)", REQUEST, *values())
    assert gallery == [] and json.loads(info)["infotexts"]


def test_upscale_replaces_the_selected_picture(values, tmp_path):
    (picture,), info, _, _ = txt2img.txt2img("task(5)", REQUEST, *values())
    gallery = [(picture.already_saved_as, None), (picture.already_saved_as, None)]
    described = json.loads(info)
    described["infotexts"] *= 2
    upscaled, new_info, infotext, _ = txt2img.txt2img_upscale(
        "task(6)", REQUEST, gallery, 1, json.dumps(described), *values(hr_scale=1.5)
    )
    assert upscaled[0] == picture.already_saved_as
    assert upscaled[1].size == (96, 96)
    (new,) = ui_jobs.new_images([upscaled])
    assert new.file == upscaled[1].already_saved_as and "Hires upscale" in new.infotext, "what its job has made"
    assert "Hires upscale: 1.5" in infotext and "Seed: 1" in infotext
    assert json.loads(new_info)["infotexts"][0] == described["infotexts"][0]
    assert "Hires upscale" in json.loads(new_info)["infotexts"][1]


def test_upscale_knows_the_picture_whatever_lists_a_script_has_left(values):
    (picture,), info, _, _ = txt2img.txt2img("task(5)", REQUEST, *values())
    described = json.loads(info) | {"infotexts": [], "all_seeds": [], "index_of_first_image": 1}
    described["records"] = [{"kind": "grid"}, *described["records"], described["records"][0] | {"seed": 7}]
    gallery = [(picture.already_saved_as, None)] * 3
    _, new_info, infotext, _ = txt2img.txt2img_upscale("task(6)", REQUEST, gallery, 2, json.dumps(described), *values())
    assert "Seed: 7" in infotext
    assert [record["seed"] for record in json.loads(new_info)["records"]] == [1, 1, 7]


@pytest.mark.parametrize(("gallery", "index"), [([], 0), (None, -1), (["a"], -1), (["a"], 3)])
def test_upscale_needs_a_picture(values, gallery, index):
    with pytest.raises(errors.InvalidInput):
        txt2img.txt2img_upscale("task(7)", REQUEST, gallery, index, "{}", *values())


def test_selected_script_runs_instead(values, monkeypatch):
    made = SimpleNamespace(
        images=[Image.new("RGB", (2, 2))], extra_images=["more"], info="", comments="", js=lambda: "{}"
    )
    monkeypatch.setattr(scripts.scripts_txt2img, "run", lambda p, *args: made)
    gallery, info, infotext, _ = txt2img.txt2img("task(8)", REQUEST, *values())
    assert gallery[1] == "more" and infotext == ""
    assert [record["infotext"] for record in json.loads(info)["records"]] == ["", ""]
