from types import SimpleNamespace

import gradio as gr
import pytest

from modules import progress, script_callbacks, sd_models, shared, ui_generation
from modules.txt2img import Txt2ImgValues
from modules.ui_form import Form


@pytest.fixture
def setting(program, monkeypatch):
    """Sets a setting for one test."""
    return lambda key, value: monkeypatch.setitem(shared.opts.data, key, value)


def test_sections_follow_the_settings(setting):
    setting("ui_reorder_list", [])
    default = list(ui_generation.ordered_ui_categories())
    setting("ui_reorder_list", ["scripts", "seed"])
    changed = list(ui_generation.ordered_ui_categories())
    assert sorted(changed) == sorted(default)
    assert changed.index("scripts") < changed.index("seed") < changed.index("batch")


def checkpoint(is_embedded=True, resolution="128x128"):
    return SimpleNamespace(is_embedded=is_embedded, metadata={"modelspec.resolution": resolution})


@pytest.mark.parametrize(
    ("checkpoints", "size"),
    [
        ([checkpoint()], (128, 128)),
        ([checkpoint(resolution="big")], None),
        ([checkpoint(is_embedded=False)], None),
        ([checkpoint(), checkpoint(is_embedded=False)], None),
        ([], None),
    ],
)
def test_size_of_the_embedded_model(program, monkeypatch, checkpoints, size):
    monkeypatch.setattr(sd_models, "checkpoints_list", dict(enumerate(checkpoints)))
    assert ui_generation.native_size() == size


@pytest.mark.parametrize(("stored", "start"), [((512, 512), (128, 128)), ((640, 512), (640, 512))])
def test_only_the_default_size_gives_way(monkeypatch, stored, start):
    monkeypatch.setattr(ui_generation, "native_size", lambda: (128, 128))
    with gr.Blocks():
        form = Form("txt2img", Txt2ImgValues)
        ui_generation.add_size_sliders(form)
        form["width"].value, form["height"].value = stored
        ui_generation.start_at_native_size(form)
    assert (form["width"].value, form["height"].value) == start


@pytest.mark.parametrize("together", [True, False])
def test_batch_controls_stand_in_one_place(setting, together):
    setting("dimensions_and_batch_together", together)
    with gr.Blocks():
        form = Form("txt2img", Txt2ImgValues)
        ui_generation.add_batch_row(form)
    assert ("n_iter" in form.controls) != together


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (0, 75)),
        ("a cat", (2, 75)),
        ("a cat <lora:some:1>", (2, 75)),
        ("[a cat:a black dog:0.5]", (3, 75)),
        ("a cat AND a black dog", (3, 75)),
        ("((a cat", (2, 75)),
    ],
)
def test_tokens_of_the_longest_variant(sd_model, text, counts):
    assert ui_generation.count_tokens(text, 20) == counts


def test_counter_with_styles_and_callbacks(sd_model, setting, monkeypatch):
    applied = SimpleNamespace(
        apply_styles_to_prompt=lambda text, styles: f"{text} {' '.join(styles)}",
        apply_negative_styles_to_prompt=lambda text, styles: f"{text} no",
    )
    monkeypatch.setattr(shared, "prompt_styles", applied)
    setting("include_styles_into_token_counters", True)
    assert ">4/75<" in ui_generation.update_token_counter("a cat", 20, ["ink", "blue"])
    assert ">3/75<" in ui_generation.update_negative_prompt_token_counter("a cat", 20, ["ink", "blue"])
    setting("include_styles_into_token_counters", False)
    assert ">2/75<" in ui_generation.update_token_counter("a cat", 20, ["ink", "blue"])

    def double(params):
        params.prompt *= 2

    monkeypatch.setattr(script_callbacks, "before_token_counter_callback", double)
    assert ">4/75<" in ui_generation.update_token_counter(" a cat", 20, [])


@pytest.mark.parametrize("text", ["(a" * 100_000, "a" * 1_000_000, "[a|b]" * 10_000, "a AND " * 1000 + "b"])
def test_tokens_of_texts_that_no_job_takes_are_not_counted(sd_model, text):
    assert ">-/-<" in ui_generation.update_token_counter(text, 100, [])


def test_styles_are_pasted_only_if_the_user_wants_them():
    assert ui_generation.pasted_styles({"Styles array": ["ink"]}) == ["ink"]
    assert ui_generation.pasted_styles({})["__type__"] == "update"


def test_result_of_a_job_may_be_gone(monkeypatch):
    monkeypatch.setattr(progress, "restore_progress", lambda id_task: None)
    *unchanged, log = ui_generation.restore_result("task(1)")
    assert log == ui_generation.RESULT_DISCARDED
    assert all(update["__type__"] == "update" for update in unchanged)
    monkeypatch.setattr(progress, "restore_progress", lambda id_task: ("a", "b", "c", id_task))
    assert ui_generation.restore_result("task(1)") == ("a", "b", "c", "task(1)")
