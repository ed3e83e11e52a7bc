"""The scripts that are parts of the form: comments, sampler, refiner, seed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from modules import script_callbacks, sd_models, sd_samplers, shared
from modules.processing import StableDiffusionProcessingTxt2Img

DATA = Path(__file__).resolve().parent.parent / "data"
COMMENTS = json.loads((DATA / "misc_vectors.json").read_text(encoding="utf8"))["comments"]


@pytest.fixture(autouse=True)
def keep_callbacks(monkeypatch):
    """Importing the modules by name registers their callbacks a second time."""
    monkeypatch.setattr(
        script_callbacks, "callback_map", {key: list(rows) for key, rows in script_callbacks.callback_map.items()}
    )


def module(name):
    return importlib.import_module(f"modules.processing_scripts.{name}")


def built(script, tabname="txt2img"):
    """The script with its controls, by element id."""
    script.tabname, script.is_img2img, script.filename = tabname, tabname == "img2img", "x.py"
    with gr.Blocks() as page:
        script.controls = script.ui(script.is_img2img)
    return {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}


@pytest.mark.parametrize("row", COMMENTS, ids=lambda row: repr(row["in"]))
def test_comments_are_cut_out(row):
    assert module("comments").strip_comments(row["in"]) == row["out"]


def job(**fields):
    p = StableDiffusionProcessingTxt2Img(**fields)
    p.setup_prompts()
    return p


def test_comments_leave_all_prompts_of_a_job():
    p = job(prompt="a # b", negative_prompt="c # d", enable_hr=True, hr_prompt="e # f", hr_negative_prompt="g # h")
    module("comments").ScriptStripComments().process(p)
    assert (p.all_prompts, p.all_negative_prompts) == (["a \n"], ["c \n"])
    assert (p.all_hr_prompts, p.all_hr_negative_prompts) == (["e \n"], ["g \n"])
    assert (p.main_prompt, p.main_negative_prompt) == ("a \n", "c \n")


def test_comments_stay_when_the_setting_is_off(monkeypatch):
    monkeypatch.setitem(shared.opts.data, "enable_prompt_comments", False)
    p = job(prompt="a # b")
    params = script_callbacks.BeforeTokenCounterParams("a # b", 20, [])
    module("comments").ScriptStripComments().process(p)
    module("comments").before_token_counter(params)
    assert (p.all_prompts, params.prompt) == (["a # b"], "a # b")


def test_comments_are_not_counted():
    params = script_callbacks.BeforeTokenCounterParams("a # b", 20, [])
    module("comments").before_token_counter(params)
    assert params.prompt == "a \n"


@pytest.mark.parametrize(("in_dropdown", "kind"), [(True, gr.Dropdown), (False, gr.Radio)])
def test_sampler_controls(program, monkeypatch, in_dropdown, kind):
    monkeypatch.setitem(shared.opts.data, "samplers_in_dropdown", in_dropdown)
    script = module("sampler").ScriptSampler()
    blocks = built(script, "img2img")
    assert {"sampler_selection_img2img", "img2img_sampling", "img2img_scheduler", "img2img_steps"} <= set(blocks)
    assert isinstance(script.sampler_name, kind)
    assert script.controls == [script.steps, script.sampler_name, script.scheduler]
    assert script.sampler_name.value == sd_samplers.visible_sampler_names()[0]
    assert [field.api for field in script.infotext_fields] == ["steps", "sampler_name", "scheduler"]


def test_sampler_sets_the_job_up():
    p = StableDiffusionProcessingTxt2Img()
    module("sampler").ScriptSampler().setup(p, 7, "Euler", "Karras")
    assert (p.steps, p.sampler_name, p.scheduler) == (7, "Euler", "Karras")


def test_refiner_controls(program):
    script = module("refiner").ScriptRefiner()
    blocks = built(script)
    assert {"txt2img_enable", "txt2img_checkpoint", "txt2img_checkpoint_refresh", "txt2img_switch_at"} <= set(blocks)
    enable, checkpoint, switch_at = script.infotext_fields
    assert enable.function({"Refiner": "x"}) is True
    assert enable.function({}) is False
    title = next(iter(sd_models.checkpoints_list.values())).title
    assert checkpoint.function({"Refiner": title}) == title
    assert checkpoint.function({"Refiner": "unknown"}) == "unknown"
    assert (checkpoint.api, switch_at.api) == ("refiner_checkpoint", "refiner_switch_at")


@pytest.mark.parametrize(
    ("enabled", "checkpoint", "expected"),
    [
        (True, "model", ("model", 0.5)),
        (False, "model", (None, None)),
        (True, "", (None, None)),
        (True, None, (None, None)),
        (True, "None", (None, None)),
    ],
)
def test_refiner_sets_the_job_up(enabled, checkpoint, expected):
    p = StableDiffusionProcessingTxt2Img(refiner_checkpoint="old", refiner_switch_at=0.1)
    module("refiner").ScriptRefiner().setup(p, enabled, checkpoint, 0.5)
    assert (p.refiner_checkpoint, p.refiner_switch_at) == expected


def test_seed_controls():
    script = module("seed").ScriptSeed()
    blocks = built(script)
    names = "seed_row seed random_seed reuse_seed subseed_show seed_extras subseed_row subseed random_subseed"
    names += " reuse_subseed subseed_strength seed_resize_from_row seed_resize_from_w seed_resize_from_h"
    assert {f"txt2img_{name}" for name in names.split()} <= set(blocks)
    assert isinstance(script.seed, gr.Number)
    assert [control.value for control in script.controls] == [-1, False, -1, 0.0, 0, 0]
    apis = [field.api for field in script.infotext_fields]
    assert apis == ["seed", None, "subseed", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w"]
    shows_extras = script.infotext_fields[1].function
    assert [shows_extras(found) for found in ({"Variation seed": "1"}, {"Seed resize from-1": "8"}, {})] == [1, 1, 0]


def test_seed_may_be_a_text_box(monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "use_textbox_seed", True)
    script = module("seed").ScriptSeed()
    built(script)
    assert isinstance(script.seed, gr.Textbox)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((5, True, 6, 0.5, 0, 0), (5, 6, 0.5, -1, -1)),
        ((5, False, 6, 0.5, 64, 32), (5, -1, 0, 64, 32)),
        ((5, True, 6, 0.0, 64, 0), (5, -1, 0, -1, -1)),
    ],
)
def test_seed_sets_the_job_up(values, expected):
    p = StableDiffusionProcessingTxt2Img()
    module("seed").ScriptSeed().setup(p, *values)
    assert (p.seed, p.subseed, p.subseed_strength, p.seed_resize_from_w, p.seed_resize_from_h) == expected


INFO = json.dumps(
    {"infotexts": ["a\nSteps: 1, Seed: 5, Variation seed: 7, Size: 8x8", "b\nSteps: 1, Seed: 6, Size: 8x8"]}
)


@pytest.mark.parametrize(
    ("index", "is_subseed", "seed"), [(0, False, 5), (0, True, 7), (1, True, -1), (-1, False, 6), (9, False, 6)]
)
def test_seed_of_the_selected_picture_is_used_again(index, is_subseed, seed):
    assert module("seed").seed_of_image(INFO, index, is_subseed) == seed


@pytest.mark.parametrize("info", ["", "no json", "{}", '{"infotexts": []}'])
def test_field_stays_without_a_result(info):
    assert module("seed").seed_of_image(info, 0, False) == gr.skip()


def test_buttons_are_connected_when_the_result_panel_is_made():
    script = module("seed").ScriptSeed()
    script.tabname, script.is_img2img = "txt2img", False
    with gr.Blocks() as page:
        script.ui(False)
        info = gr.Textbox()
        before = len(page.fns)
        for elem_id, callback in script.on_after_component_elem_id:
            assert elem_id == "generation_info_txt2img"
            callback(SimpleNamespace(component=info))
        assert len(page.fns) == before + 2
        event = list(page.fns.values())[-1]
    assert event.fn(INFO, 0) == 7
