"""What an infotext fills in of a request: fields, settings, arguments of scripts."""

import gradio as gr
import pytest

from modules import script_ui, scripts
from modules.api import infotext_fields
from modules.api.models import StableDiffusionImg2ImgProcessingAPI as Img2Img
from modules.api.models import StableDiffusionTxt2ImgProcessingAPI as Txt2Img
from modules.infotext_utils import PasteField
from modules.scripts import AlwaysVisible, Script, ScriptClassData, ScriptRunner

BASE = "a cat\nNegative prompt: a dog\nSteps: 12, Sampler: Euler, CFG scale: 3.5, Seed: 5, Size: 64x96"


class Pasted(Script):
    """Has a number, a switch and a text that an infotext fills, and one control that it does not."""

    def title(self):
        return "Pasted"

    def show(self, is_img2img):
        return AlwaysVisible

    def ui(self, is_img2img):
        number, switch, text = gr.Number(value=1.5), gr.Checkbox(value=False), gr.Textbox(value="t", label="Words")
        self.infotext_fields = [
            (number, "My number"),
            PasteField(switch, "My switch", api="restore_faces"),
            (text, lambda params: params.get("My words", "").upper() or None),
        ]
        return [number, switch, text, gr.Slider(0, 9, 4)]


@pytest.fixture
def runner(program, monkeypatch):
    monkeypatch.setattr(scripts, "scripts_data", [ScriptClassData(Pasted, "/mine/mine.py", "/mine", None)])
    monkeypatch.setattr(scripts, "script_data_sources", [])
    runner = ScriptRunner()
    script_ui.build_unseen(runner, is_img2img=False)
    monkeypatch.setattr(script_ui, "ensure_controls", lambda: None)
    return runner


def apply(runner, text, model=Txt2Img, tabname="txt2img", **sent):
    request = model(infotext=text, **sent)
    arguments = infotext_fields.apply_infotext(request, tabname, runner)
    arguments.pop(0, None)  # the menu of scripts, which `script_args.assemble` decides
    return request, arguments


@pytest.mark.parametrize("text", [None, ""])
def test_without_an_infotext_nothing_is_filled(runner, text):
    request, arguments = apply(runner, text, steps=7)
    assert arguments == {}
    assert request.model_fields_set == {"infotext", "steps"}


def test_fields_that_were_left_open_are_filled(runner):
    request, _ = apply(runner, BASE)
    assert (request.prompt, request.negative_prompt) == ("a cat", "a dog")
    assert (request.cfg_scale, request.width, request.height) == (3.5, 64, 96)


def test_what_was_sent_wins(runner):
    request, _ = apply(runner, BASE, prompt="mine", width=32, cfg_scale=7.0)
    assert (request.prompt, request.width, request.cfg_scale) == ("mine", 32, 7.0)
    assert (request.negative_prompt, request.height) == ("a dog", 96)


def test_img2img_takes_only_what_scripts_bring(runner):
    request, _ = apply(runner, BASE + ", My switch: True", Img2Img, "img2img")
    assert (request.prompt, request.width) == ("", 512)
    assert request.restore_faces is True


@pytest.mark.parametrize(
    ("more", "has_pass"),
    [
        ("", False),
        (", Denoising strength: 0.5", True),
        (", Hires upscale: 2, Hires upscaler: Latent", False),
        (", Denoising strength: 0.5, Hires upscale: 2", True),
    ],
)
def test_hires_pass(runner, more, has_pass):
    assert apply(runner, BASE + more)[0].enable_hr is has_pass


def test_same_as_the_first_pass_is_left_open(runner):
    request, _ = apply(runner, BASE + ", Denoising strength: 0.5, Hires upscale: 2")
    assert request.hr_checkpoint_name is request.hr_sampler_name is request.hr_scheduler is None
    assert request.hr_scale == 2.0
    request, _ = apply(runner, BASE + ", Denoising strength: 0.5, Hires upscale: 2, Hires checkpoint: other")
    assert request.hr_checkpoint_name == "other"


def test_settings_are_overridden_unless_the_request_does(runner):
    text = BASE + ", Clip skip: 2, ENSD: 31337"
    assert apply(runner, text)[0].override_settings == {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337}
    request, _ = apply(runner, text, override_settings={"CLIP_stop_at_last_layers": 1})
    assert request.override_settings == {"CLIP_stop_at_last_layers": 1, "eta_noise_seed_delta": 31337}


def test_given_overrides_are_not_changed_in_place(runner):
    given = {"CLIP_stop_at_last_layers": 1}
    apply(runner, BASE + ", ENSD: 31337", override_settings=given)
    assert given == {"CLIP_stop_at_last_layers": 1}


def test_arguments_of_scripts_come_by_their_place(runner):
    _, arguments = apply(runner, BASE + ", My number: 2.5, My words: hello")
    assert arguments == {1: 2.5, 3: "HELLO"}


def test_script_field_with_a_name_in_requests_fills_both(runner):
    request, arguments = apply(runner, BASE + ", My switch: True")
    assert request.restore_faces is True
    assert arguments == {2: True}
    request, _ = apply(runner, BASE + ", My switch: True", restore_faces=False)
    assert request.restore_faces is False


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", My number: many", "'many' does not fit"),
        (", Denoising strength: strong", "the field denoising_strength"),
        (", Clip skip: 1.5", "CLIP_stop_at_last_layers"),
        (", RNG: dice", "one of GPU, CPU, NV"),
        (", VAE: no-such.safetensors", "the nearest is"),
    ],
)
def test_value_that_does_not_fit_is_named_and_left_out(runner, more, message):
    request, problems = Txt2Img(infotext=BASE + more + ", ENSD: 31337, My words: hello"), []
    arguments = infotext_fields.apply_infotext(request, "txt2img", runner, problems)
    assert len(problems) == 1 and message in problems[0]
    assert (request.cfg_scale, request.width) == (3.5, 64)
    assert request.override_settings == {"eta_noise_seed_delta": 31337}
    assert arguments[3] == "HELLO"


def test_pairs_are_fields_too():
    control = object()
    field = infotext_fields.as_paste_field((control, "Key"))
    assert isinstance(field, PasteField)
    assert tuple(field) == (control, "Key")
    assert infotext_fields.as_paste_field(field) is field


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("Key", "v"),
        ("Gone", None),
        (lambda params: params["Key"] * 2, "vv"),
        (lambda params: gr.update(value="shown"), "shown"),
        (lambda params: gr.update(), None),
        (lambda params: gr.update(visible=True), None),
    ],
)
def test_value_of_a_source(source, value):
    assert infotext_fields.value_of(source, {"Key": "v"}) == value


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("Unknown sampler: res_2s", "sampler_name"),
        ("Schedule type: Bong Tangent", "scheduler"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires sampler: res_2s", "hr_sampler_name"),
    ],
)
def test_a_sampler_that_is_not_known_is_named_unless_the_request_names_one(runner, more, field):
    problems = []
    request = Txt2Img(infotext=f"{BASE}, {more}")
    default = getattr(request, field)
    infotext_fields.apply_infotext(request, "txt2img", runner, problems)
    assert getattr(request, field) == default
    assert [text for text in problems if f"is not known here, {field} keeps its default" in text]

    problems, given = [], "Karras" if field == "scheduler" else "Euler"
    request = Txt2Img(infotext=f"{BASE}, {more}", **{field: given})
    infotext_fields.apply_infotext(request, "txt2img", runner, problems)
    assert (getattr(request, field), problems) == (given, [])


def test_an_older_name_of_the_field_counts_too(runner):
    request, _ = apply(runner, f"{BASE}, Unknown sampler: res_2s", sampler_index="Heun")
    assert request.sampler_index == "Heun"
