import base64
import gc
import json
import warnings
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from modules import (
    generation_parameters_copypaste,
    images,
    infotext_utils,
    script_callbacks,
    sd_samplers,
    shared,
    shared_items,
)
from modules.errors import InvalidInput
from modules.infotext_utils import ParamBinding, PasteField
from modules.styles import PromptStyle

DATA = Path(__file__).parents[1] / "data"
VECTORS = json.loads((DATA / "infotext_vectors.json").read_text(encoding="utf8"))
PICTURE = Path(__file__).parents[1] / "golden" / "inputs" / "face128.png"
NO_CHANGE = gr.update()


@pytest.fixture
def known_styles(monkeypatch):
    styles = {
        "StyleA": PromptStyle("StyleA", "{prompt}, oil painting", "lowres", None),
        "StyleB": PromptStyle("StyleB", "sharp focus", "", None),
    }
    monkeypatch.setattr(shared.prompt_styles, "styles", styles)


@pytest.fixture
def fields():
    """A clean table of fields and buttons."""
    before = dict(infotext_utils.paste_fields), list(infotext_utils.registered_param_bindings)
    infotext_utils.reset()
    yield infotext_utils.paste_fields
    infotext_utils.reset()
    infotext_utils.paste_fields.update(before[0])
    infotext_utils.registered_param_bindings.extend(before[1])
    with warnings.catch_warnings():  # Gradio does not close the event loops of pages that were never served
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("row", VECTORS["parse"], ids=lambda row: row["case"])
def test_parse_vectors(known_styles, settings, row):
    given = dict(row.get("settings", {}))
    skip = given.pop("skip", None)
    settings(auto_backcompat=True, use_old_hires_fix_width_height=False, **given)
    parsed = infotext_utils.parse_generation_parameters(row["in"], skip)
    missing = row.get("defaults_missing", [])
    defaults = {key: value for key, value in VECTORS["parse_defaults"].items() if key not in missing}
    assert parsed == defaults | row["out_except_defaults"]


def test_settings_skip_keys_and_compatibility(settings):
    settings(infotext_skip_pasting=["Seed"], auto_backcompat=False)
    parsed = infotext_utils.parse_generation_parameters("p\nSteps: 20, Sampler: DDIM, Seed: 5, Version: v1.5.0")
    assert "Seed" not in parsed
    assert "Pad conds v0" not in parsed


def test_styles_that_the_hires_prompt_lacks_are_not_taken_out(known_styles, settings):
    settings(infotext_styles="Apply")
    text = 'a cat, sharp focus\nSteps: 20, Sampler: Euler, Seed: 5, Hires prompt: "a dog, red"'
    parsed = infotext_utils.parse_generation_parameters(text)
    assert parsed["Prompt"] == "a cat, sharp focus"
    assert "Styles array" not in parsed


def test_old_size_setting_takes_the_hires_size_as_the_size(settings):
    settings(use_old_hires_fix_width_height=True)
    text = "p\nSteps: 20, Sampler: Euler, Seed: 5, Size: 512x512, Hires resize: 1024x768"
    parsed = infotext_utils.parse_generation_parameters(text)
    assert (parsed["Size-1"], parsed["Size-2"]) == (1024, 768)


def test_settings_of_a_picture_that_differ_are_offered(settings):
    settings(CLIP_stop_at_last_layers=1, randn_source="GPU", eta_noise_seed_delta=0)
    settings(sd_model_checkpoint="other", disable_weights_auto_swap=False)
    params = {"Clip skip": "2", "RNG": "GPU", "Model hash": "abc", "ENSD": "31337", "Unknown": "x"}
    found = infotext_utils.get_override_settings(params, skip_fields=["Model hash"])
    assert sorted(found) == [("Clip skip", "CLIP_stop_at_last_layers", 2), ("ENSD", "eta_noise_seed_delta", 31337)]
    assert ("Model hash", "sd_model_checkpoint", "abc") in infotext_utils.get_override_settings(params)
    settings(disable_weights_auto_swap=True)
    assert "Model hash" not in [key for key, _, _ in infotext_utils.get_override_settings(params)]


def test_override_texts_become_settings(monkeypatch):
    monkeypatch.setattr(infotext_utils, "infotext_to_setting_name_mapping", [("My key", "eta_ddim")])
    texts = ["Clip skip: 2", "VAE: a: b.pt", "My key: 0.5", "Unknown: 1"]
    assert infotext_utils.create_override_settings_dict(texts) == {
        "CLIP_stop_at_last_layers": 2,
        "sd_vae": "a: b.pt",
        "eta_ddim": 0.5,
    }
    with pytest.raises(InvalidInput, match="'Key: value'"):
        infotext_utils.create_override_settings_dict(["no colon"])


def test_pictures_come_in_many_forms(monkeypatch):
    image = Image.new("RGB", (4, 4))
    assert infotext_utils.image_from_url_text(None) is None
    assert infotext_utils.image_from_url_text([]) is None
    assert infotext_utils.image_from_url_text(image) is image
    assert infotext_utils.image_from_url_text([(image, "caption"), (None, "")]) is image
    url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    assert infotext_utils.image_from_url_text(url).size == (128, 128)

    forms = [str(PICTURE), [(str(PICTURE), "caption")], {"name": str(PICTURE), "is_file": True}, {"path": str(PICTURE)}]
    for form in forms:
        with pytest.raises(InvalidInput, match="not a picture of this page"):
            infotext_utils.image_from_url_text(form)
    monkeypatch.setattr(infotext_utils.ui_tempdir, "check_tmp_file", lambda demo, filename: True)
    for form in forms:
        assert infotext_utils.image_from_url_text(form).size == (128, 128)


def test_size_is_sent_with_the_picture_unless_switched_off(settings):
    image = Image.new("RGB", (64, 32))
    settings(send_size=True)
    assert infotext_utils.send_image_and_dimensions(image) == (image, 64, 32)
    assert infotext_utils.send_image_and_dimensions(None) == (None, NO_CHANGE, NO_CHANGE)
    settings(send_size=False)
    assert infotext_utils.send_image_and_dimensions(image) == (image, NO_CHANGE, NO_CHANGE)


@pytest.mark.parametrize(
    ("component", "text", "value"),
    [
        (gr.Textbox("a"), "b", "b"),
        (gr.Checkbox(True), "False", False),
        (gr.Checkbox(False), "True", True),
        (gr.Slider(1, 10, 5), "7", 7.0),
        (gr.Slider(0, 1, 0.5), "0.25", 0.25),
        (gr.Textbox(), "b", "b"),
        (gr.Number(), "7", 7.0),
        (gr.Dropdown(multiselect=True), ["a"], ["a"]),
    ],
)
def test_values_get_the_type_of_their_field(component, text, value):
    update = infotext_utils.paste_value(component, "Key", {"Key": text})
    assert update["value"] == value
    assert type(update["value"]) is type(value)


def test_what_has_no_usable_value_stays(caplog):
    number = gr.Number(5)
    assert infotext_utils.paste_value(number, "Key", {}) == NO_CHANGE
    assert infotext_utils.paste_value(number, "Key", {"Key": "abc"}) == NO_CHANGE
    assert infotext_utils.paste_value(number, lambda params: gr.update(visible=False), {})["visible"] is False
    assert infotext_utils.paste_value(number, lambda params: params["gone"], {}) == NO_CHANGE
    assert "Error executing" in caplog.text


def test_pasting_fills_fields_and_tells_extensions(fields, settings):
    seen = []

    def pasted(text, params):
        seen.append(text)
        params["Seed"] = "77"

    script_callbacks.on_infotext_pasted(pasted)
    settings(infotext_styles="Ignore", CLIP_stop_at_last_layers=1)
    prompt, seed, override = gr.Textbox(), gr.Number(1), gr.Dropdown()
    try:
        pairs = [PasteField(prompt, "Prompt"), PasteField(seed, "Seed")]
        pairs.append(PasteField(override, lambda params: infotext_utils.paste_settings(["RNG"], params)))
        updates = infotext_utils.paste_values(pairs, "a cat\nSteps: 20, Sampler: Euler, Clip skip: 2, RNG: CPU")
    finally:
        script_callbacks.remove_callbacks_for_function(pasted)
    assert [update["value"] for update in updates] == ["a cat", 77.0, ["Clip skip: 2"]]
    assert updates[2]["visible"] is True
    assert seen == ["a cat\nSteps: 20, Sampler: Euler, Clip skip: 2, RNG: CPU"]


def test_empty_text_means_the_last_job(monkeypatch, tmp_path):
    monkeypatch.setattr(infotext_utils, "data_path", str(tmp_path))
    assert infotext_utils.last_infotext() == ""
    (tmp_path / "params.txt").write_text("last\nSteps: 20, Sampler: Euler, Seed: 5", encoding="utf8")
    (update,) = infotext_utils.paste_values([PasteField(gr.Textbox(), "Prompt")], "")
    assert update["value"] == "last"
    monkeypatch.setattr(shared.cmd_opts, "no_prompt_history", True)
    assert infotext_utils.last_infotext() == ""


def test_fields_are_pairs_with_names(fields):
    textbox, slider = gr.Textbox(), gr.Slider()
    infotext_utils.add_paste_fields("txt2img", None, [(textbox, "Prompt"), PasteField(slider, len, api="steps")])
    first, second = fields["txt2img"]["fields"]
    assert (*first, first.label, first.function, first.api) == (textbox, "Prompt", "Prompt", None, None)
    assert (second.component, second.label, second.function, second.api) == (slider, None, len, "steps")
    names = shared_items.get_infotext_names()
    assert "Prompt" in names and "Clip skip" in names


def build_page():
    """Two tabs with a picture and fields each, and buttons between them."""
    with gr.Blocks() as page:
        gallery, image, text = gr.Gallery(), gr.Image(type="pil"), gr.Textbox()
        width, height, prompt = gr.Slider(), gr.Slider(), gr.Textbox()
        other_prompt, override, button, old_button = gr.Textbox(), gr.Dropdown(), gr.Button(), gr.Button()
        infotext_utils.add_paste_fields("txt2img", None, [(other_prompt, "Prompt")])
        infotext_utils.add_paste_fields(
            "img2img", image, [(prompt, "Prompt"), (width, "Size-1"), (height, "Size-2")], override
        )
        infotext_utils.register_paste_params_button(
            ParamBinding(
                paste_button=button,
                tabname="img2img",
                source_text_component=text,
                source_image_component=gallery,
                source_tabname="txt2img",
            )
        )
        infotext_utils.add_paste_fields("extras", image, None)
        infotext_utils.bind_buttons({"extras": old_button}, image, "txt2img")
        infotext_utils.bind_buttons({"img2img": old_button}, image, text)
        assert list(infotext_utils.create_buttons(["a"])) == ["a"]
        infotext_utils.connect_paste_params_buttons()
    return page, button


def test_buttons_send_picture_text_fields_and_switch_tabs(fields):
    page, button = build_page()
    events = [fn for fn in page.fns.values() if (button._id, "click") in fn.targets]
    picture, text, recalculate, copied, switch = events
    assert (picture.js, picture.fn, len(picture.outputs)) == (
        "extract_image_from_gallery",
        infotext_utils.send_image_and_dimensions,
        3,
    )
    assert len(text.outputs) == 4
    assert text.fn("a cat\nSteps: 20, Sampler: Euler, Size: 64x32")[:3] == [
        gr.update(value="a cat"),
        gr.update(value=64.0),
        gr.update(value=32.0),
    ]
    assert recalculate.js == "recalculate_prompts_img2img"
    assert copied.fn("a prompt") == "a prompt"
    assert switch.js == "switch_to_img2img"
    assert any(fn.fn is infotext_utils.image_from_url_text for fn in page.fns.values())


def test_a_tab_that_told_of_no_fields_sends_none(fields):
    with gr.Blocks() as page:
        button, prompt = gr.Button(), gr.Textbox()
        infotext_utils.add_paste_fields("img2img", None, [(prompt, "Prompt")])
        infotext_utils.bind_buttons({"img2img": button}, None, "mine")
        infotext_utils.connect_paste_params_buttons()
    assert [(fn.js, fn.outputs) for fn in page.fns.values()] == [("switch_to_img2img", [])]


def test_old_name_is_the_same_module():
    assert generation_parameters_copypaste is infotext_utils
    assert infotext_utils.quote("a,b") == '"a,b"'


def test_dropped_files():
    golden = Path(__file__).parents[1] / "golden" / "inputs"
    assert "Steps: " in infotext_utils.image_data((golden / "with-parameters.png").read_bytes())[0]
    assert infotext_utils.image_data((golden / "face128.png").read_bytes()) == (None, None)
    assert infotext_utils.image_data("tëxt".encode()) == ("tëxt", None)
    assert infotext_utils.image_data(b"x" * 10000) == (NO_CHANGE, None)
    assert infotext_utils.image_data(b"\xff\xfe\x00") == (NO_CHANGE, None)


def test_drop_handler_has_the_name_extensions_know():
    assert images.image_data is infotext_utils.image_data


def test_metadata_of_a_prompt_with_a_bad_weight_are_read(program):
    parsed = infotext_utils.parse_generation_parameters("(a:1.2.3)\nSteps: 20, Sampler: Euler, Seed: 5, Size: 8x8")
    assert (parsed["Prompt"], parsed["Seed"]) == ("(a:1.2.3)", "5")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a", False), (r"\(a\)", False), ("(a)", True), ("(a:1)", False), ("[a]", True), ("(" * 200_000, True)],
)
def test_emphasis_is_seen_where_there_is_some(prompt, expected):
    assert infotext_utils._uses_emphasis(prompt) == expected


def test_json_dropped_on_a_prompt_changes_nothing_or_is_read():
    swarm = b'{"sui_image_params": {"prompt": "red apple", "seed": 5, "steps": 3}}'
    assert infotext_utils.image_data(swarm)[0].startswith("red apple\nSteps: 3")
    assert infotext_utils.image_data(b'{"nodes": []}') == (NO_CHANGE, None)
    assert infotext_utils.image_data(b"") == ("", None)


def test_pasting_a_sampler_that_is_not_known_leaves_the_menu(program, capsys):
    sampler = gr.Dropdown(choices=["Euler", "Heun"], value="Heun")
    fields = [infotext_utils.PasteField(sampler, sd_samplers.get_sampler_from_infotext)]
    text = "red\nSteps: 20, Sampler: Flux Realistic, Seed: 5, Size: 8x8"
    assert infotext_utils.paste_values(fields, text) == [NO_CHANGE]
    assert "'Flux Realistic' is not known here" in capsys.readouterr().out
