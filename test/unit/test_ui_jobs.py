"""Clicks of the page are written down as jobs are, and can be made again from that."""

import asyncio
import dataclasses
import functools
import json
import time

import pytest
from PIL import Image

from modules import (
    call_queue,
    errors,
    img2img,
    jobs,
    postprocessing,
    scripts,
    txt2img,
    ui_checkpoint_merger,
    ui_jobs,
    ui_tempdir,
)
from modules.job import request_json, sources
from modules.job.request import ImageBatch, JobRequest
from modules.job.row import State

SECONDS = 60


def page_values(prompt):
    """What the txt2img tab sends: its values, and those of all scripts as they stand in the page."""
    values = dict.fromkeys(txt2img.Txt2ImgValues.__dataclass_fields__)
    values |= {"prompt": prompt, "negative_prompt": "", "prompt_styles": [], "n_iter": 1, "batch_size": 1}
    values |= {"cfg_scale": 5.0, "height": 64, "width": 64, "enable_hr": False, "denoising_strength": 0.7}
    values |= {"override_settings_texts": [], "hr_prompt": "", "hr_negative_prompt": "", "hr_scale": 2.0}
    values |= {"hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0}
    del values["script_args"]
    return [*values.values(), *scripts.scripts_txt2img.default_args]


def click(id_task, prompt):
    """One click on Generate, as the page's server carries it out; returns the job's row."""
    handler = call_queue.wrap_gradio_gpu_call(
        txt2img.txt2img, [None, "", ""], ui_jobs.submitter(txt2img.request_of_call)
    )
    outputs = asyncio.run(call_queue.coroutine_of(handler)(id_task, None, *page_values(prompt)))
    row = jobs.journal().store.get(id_task)
    return outputs, row


@pytest.fixture
def page(app):
    """The page, whose scripts have controls."""


def wait_until_over(id):
    for _ in range(SECONDS * 20):
        row = jobs.journal().store.get(id)
        if row.state not in (State.QUEUED, State.RUNNING):
            return row
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_click_is_a_job_that_is_written_down(page):
    outputs, _ = click("task(click)", "red apple")
    row = wait_until_over("task(click)")
    assert (row.kind, row.state, row.after_restart) == ("txt2img", State.DONE, "hold")
    assert row.text.startswith("red apple\nSteps: ") and len(row.results) == 1
    assert row.results[0]["infotext"] == json.loads(outputs[1])["infotexts"][0]
    with Image.open(row.results[0]["file"]) as image:
        assert image.size == (64, 64)


def test_a_click_is_made_again_with_its_seed(page):
    click("task(first)", "green apple")
    row = wait_until_over("task(first)")
    again = jobs.journal().retry(row)
    assert again.id != row.id
    made = wait_until_over(again.id)
    assert made.state == State.DONE, made.error
    assert made.results[0]["infotext"] == row.results[0]["infotext"]


def click_form(kind, handler, extra, id_task, *values):
    """One click in a tab whose jobs are written down as values; returns what is shown, and the job's row."""
    wrapped = call_queue.wrap_gradio_gpu_call(handler, extra, functools.partial(ui_jobs.submit_form, kind))
    outputs = asyncio.run(call_queue.coroutine_of(wrapped)(id_task, *values))
    return outputs, wait_until_over(id_task)


def extras_values(image):
    """What the Extras tab sends: its values, and those of all scripts, for an image that is enlarged."""
    rows = sorted(scripts.scripts_postproc.scripts_in_preferred_order(), key=lambda row: row.args_from)
    controls = [pair for row in rows for pair in (row.controls or {}).items()]
    given = {"upscale_by": 2, "upscaler_1_name": "Nearest"}
    values = [given.get(name, control.value) for name, control in controls]
    return (0, image, None, "", "", True, *values)


def test_enlarging_is_written_down_and_made_again(page, monkeypatch):
    image, handler = Image.new("RGB", (8, 8), "orange"), postprocessing.run_postprocessing_webui
    outputs, row = click_form("extras", handler, [None, ""], "task(extras)", *extras_values(image))
    assert (row.kind, row.state, len(row.results)) == ("extras", State.DONE, 1), row.error
    assert outputs[0][0].size == (16, 16) and row.text.startswith("Postprocess upscale by: 2")
    again = wait_until_over(jobs.journal().retry(row).id)
    assert again.state == State.DONE, again.error
    for made in (row, again):
        with Image.open(made.results[0]["file"]) as found:
            assert found.size == (16, 16)
    form = dataclasses.replace(ui_jobs.FORMS["extras"], controls=lambda: [["another script", 0, 1]])
    monkeypatch.setitem(ui_jobs.FORMS, "extras", form)
    with pytest.raises(errors.InvalidInput, match="other controls"):
        jobs.journal().retry(row)


def test_a_batch_of_uploads_is_made_again_without_them(page, monkeypatch, tmp_path):
    monkeypatch.setattr(ui_tempdir, "own_folder", [str(tmp_path)])
    file = tmp_path / "cat.png"
    Image.new("RGB", (8, 8), "orange").save(file)
    _, _, _, *values = extras_values(None)
    handler = postprocessing.run_postprocessing_webui
    _, row = click_form("extras", handler, [None, ""], "task(uploads)", 1, None, [str(file)], *values)
    assert (row.state, len(row.results)) == (State.DONE, 1), row.error
    file.unlink()
    again = wait_until_over(jobs.journal().retry(row).id)
    assert (again.state, len(again.results)) == (State.DONE, 1), again.error


def test_a_merge_is_a_job_that_can_fail(page):
    values = ("no such model", None, None, "No interpolation", 0.3, False, "", "safetensors", 0, "None", "")
    handler = ui_checkpoint_merger.merge
    outputs, row = click_form("merge", handler, [0, 0, 0, 0], "task(merge)", *values, True, True, True, "{}")
    assert row.state == State.FAILED and row.error.startswith("Failed")
    assert row.text == "No interpolation: no such model" and "Failed" in outputs[-1]


def test_what_is_wrong_with_a_click_is_shown_and_makes_no_job(page):
    def wrong(*args):
        raise errors.InvalidInput("There is no picture to work on")

    handler = call_queue.wrap_gradio_gpu_call(txt2img.txt2img, [None, "", ""], ui_jobs.submitter(wrong))
    outputs = asyncio.run(call_queue.coroutine_of(handler)("task(wrong)", None, *page_values("x")))
    assert "There is no picture" in outputs[-1] and jobs.journal().store.get("task(wrong)") is None


def test_requests_come_back_from_json_as_they_were():
    image = Image.new("RGBA", (3, 2), (1, 2, 3, 4))
    request = JobRequest(
        "img2img",
        {"init_images": [image], "mask": None, "prompt": "ä", "override_settings": {"CLIP_stop_at_last_layers": 2}},
        script="X/Y/Z plot",
        script_values={"X/Y/Z plot": [1, "a", None, {"image": image}]},
        batch=ImageBatch(["a.png"], "out", png_info=["Seed"]),
        user="ann",
        task_id="task(1)",
    )
    back = request_json.from_json(json.loads(json.dumps(request_json.to_json(request))))
    assert back.fields["init_images"][0].tobytes() == image.tobytes() and back.fields["init_images"][0].mode == "RGBA"
    assert back.script_values["X/Y/Z plot"][3]["image"].size == (3, 2)
    assert (back.batch, back.user, back.script, back.fields["prompt"]) == (request.batch, "ann", request.script, "ä")


def test_what_cannot_be_written_down_is_no_reason_not_to_run():
    assert request_json.to_json(JobRequest("txt2img", {"prompt": object()})) is None


def test_a_request_of_another_version_says_so():
    said = request_json.to_json(JobRequest("txt2img", {"prompt": "x"})) | {"flavour": "sour"}
    with pytest.raises(errors.InvalidInput, match="another version"):
        sources.make_plan("txt2img", {"page": said})
    with pytest.raises(errors.InvalidInput, match="fax"):
        sources.make_plan("txt2img", {"fax": said})


def test_the_request_of_a_call_is_what_the_call_runs(page, monkeypatch):
    ran = []
    monkeypatch.setattr(
        img2img, "run", lambda job: ran.append(job) or (_ for _ in ()).throw(errors.Cancelled("enough"))
    )
    values = dict.fromkeys(img2img.Img2ImgValues.__dataclass_fields__)
    values |= {"mode": 0, "init_img": Image.new("RGB", (8, 8)), "selected_scale_tab": 0, "override_settings_texts": []}
    del values["script_args"]
    args = ("task(i)", None, *values.values(), *scripts.scripts_img2img.default_args)
    with pytest.raises(errors.Cancelled):
        img2img.img2img(*args)
    asked = img2img.request_of_call(*args)
    assert ran[0].fields.keys() == asked.fields.keys() and ran[0].script_values == asked.script_values
    assert asked.kind == "img2img" and asked.task_id == "task(i)"
