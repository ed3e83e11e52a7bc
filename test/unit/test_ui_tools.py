"""The tabs Extras, PNG Info and Checkpoint Merger."""

import asyncio
import os

import pytest
from PIL import Image, PngImagePlugin

from modules import extras, sd_models, shared, ui_checkpoint_merger
from modules.job import checkpoint_merge


@pytest.fixture
def by_id(app):
    """Blocks of the page by element id."""
    return {block.elem_id: block for block in shared.demo.blocks.values() if block.elem_id}


def function_of(button):
    """The Python function that a click on a button calls, with its inputs and outputs."""
    clicks = (fn for fn in shared.demo.fns.values() if (button._id, "click") in fn.targets)
    return next(click for click in clicks if click.fn is not None)


# (element id, label, default)
CONTROLS = [
    ("extras_image", "Source", None),
    ("extras_image_batch", "Batch Process", None),
    ("extras_batch_input_dir", "Input directory", ""),
    ("extras_batch_output_dir", "Output directory", ""),
    ("extras_show_extras_results", "Show result images", True),
    ("pnginfo_image", "Source", None),
    ("modelmerger_primary_model_name", "Primary model (A)", None),
    ("modelmerger_secondary_model_name", "Secondary model (B)", None),
    ("modelmerger_tertiary_model_name", "Tertiary model (C)", None),
    ("modelmerger_custom_name", "Custom Name (Optional)", ""),
    ("modelmerger_interp_amount", "Multiplier (M) - set to 0 to get model A", 0.3),
    ("modelmerger_interp_method", "Interpolation Method", "Weighted sum"),
    ("modelmerger_checkpoint_format", "Checkpoint format", "safetensors"),
    ("modelmerger_save_as_half", "Save as float16", False),
    ("modelmerger_config_method", "Copy config from", "A, B or C"),
    ("modelmerger_bake_in_vae", "Bake in VAE", "None"),
    ("modelmerger_discard_weights", "Discard weights with matching name", ""),
    ("modelmerger_save_metadata", "Save metadata", True),
    ("modelmerger_add_recipe", "Add merge recipe metadata", True),
    ("modelmerger_copy_metadata", "Copy metadata from merged models", True),
]


@pytest.mark.parametrize(("elem_id", "label", "default"), CONTROLS)
def test_controls(by_id, elem_id, label, default):
    assert by_id[elem_id].label == label
    assert (by_id[elem_id].value or None) == (default or None)


ELEMENTS = [
    "tab_extras",
    "tab_pnginfo",
    "tab_modelmerger",
    "mode_extras",
    "extras_single_tab",
    "extras_batch_process_tab",
    "extras_batch_directory_tab",
    "extras_generate",
    "extras_interrupt",
    "extras_skip",
    "extras_gallery",
    "html_info_x_extras",
    "html_info_extras",
    "html_log_extras",
    "pnginfo_generation_info",
    "txt2img_tab",
    "img2img_tab",
    "inpaint_tab",
    "extras_tab",
    "modelmerger_interp_description",
    "modelmerger_models",
    "refresh_checkpoint_A",
    "refresh_checkpoint_B",
    "refresh_checkpoint_C",
    "modelmerger_refresh_bake_in_vae",
    "modelmerger_merge",
    "modelmerger_results_container",
    "modelmerger_results_panel",
    "modelmerger_result",
]


@pytest.mark.parametrize("elem_id", ELEMENTS)
def test_elements(by_id, elem_id):
    assert elem_id in by_id


class TestExtras:
    def test_inputs_are_those_of_the_job_then_of_the_scripts(self, by_id):
        inputs = function_of(by_id["extras_generate"]).inputs
        ids = [component.elem_id for component in inputs[2:7]]
        assert ids == [
            "extras_image",
            "extras_image_batch",
            "extras_batch_input_dir",
            "extras_batch_output_dir",
            "extras_show_extras_results",
        ]
        assert "extras_upscaler_1" in [component.elem_id for component in inputs[7:]]

    def test_no_picture_is_said_in_the_log(self, by_id):
        click = function_of(by_id["extras_generate"])
        scripts_inputs = [component.value for component in click.inputs[7:]]
        *_, log = asyncio.run(click.fn("task(extras)", 0, None, [], "", "", True, *scripts_inputs))
        assert "class='error'" in log and "image not selected" in log


class TestPngInfo:
    def change(self, by_id):
        image = by_id["pnginfo_image"]
        return next(fn for fn in shared.demo.fns.values() if (image._id, "change") in fn.targets)

    def test_infotext_goes_to_the_buttons_and_all_of_it_is_shown(self, by_id, tmp_path):
        texts = PngImagePlugin.PngInfo()
        texts.add_text("parameters", "a <cat>\nSteps: 5")
        texts.add_text("Comment", "kept too")
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=texts)
        with Image.open(tmp_path / "a.png") as image:
            _, infotext, shown = self.change(by_id).fn(image)
        assert infotext == "a <cat>\nSteps: 5"
        assert "a &lt;cat&gt;" in shown and "kept too" in shown

    def test_no_picture_clears_all(self, by_id):
        assert list(self.change(by_id).fn(None)) == ["", "", ""]


class TestMerger:
    def test_every_method_is_described(self):
        assert set(ui_checkpoint_merger.DESCRIPTIONS) == set(extras.merge.METHODS)
        assert "A * (1 - M) + B * M" in ui_checkpoint_merger.update_interp_description("Weighted sum")
        assert ui_checkpoint_merger.update_interp_description("unknown") == "<p></p>"

    def test_inputs_are_the_arguments_of_the_job(self, by_id):
        clicks = [
            fn for fn in shared.demo.fns.values() if (by_id["modelmerger_merge"]._id, "click") in fn.targets and fn.js
        ]
        (click,) = clicks
        labels = [component.label for component in click.inputs[1:]]
        assert labels[:6] == [
            "Primary model (A)",
            "Secondary model (B)",
            "Tertiary model (C)",
            "Interpolation Method",
            "Multiplier (M) - set to 0 to get model A",
            "Save as float16",
        ]
        assert labels[-1] == "Metadata in JSON format"
        assert len(click.inputs) == extras.run_modelmerger.__code__.co_argcount
        assert click.outputs[3].elem_id == "setting_sd_model_checkpoint"

    def arguments(self, *models, method="No interpolation", name=""):
        models = [*models, *[None] * (3 - len(models))]
        flags = [True, True, True, "{}"]
        return ["task(merge)", *models, method, 0.3, False, name, "safetensors", 0, "None", "", *flags]

    def test_merged_file_is_in_the_lists(self, app):
        title = next(iter(sd_models.checkpoints_list))
        *updates, message = ui_checkpoint_merger.modelmerger(*self.arguments(title, name="made by <test>"))
        path = os.path.join(sd_models.model_path, "made by <test>.safetensors")
        try:
            assert os.path.exists(path)
            assert "made by &lt;test&gt;" in message and "error" not in message
            assert all(any("made by <test>" in choice for choice, _ in update["choices"]) for update in updates)
        finally:
            os.unlink(path)
            sd_models.list_models()

    def test_failure_is_marked(self, app):
        *_, message = ui_checkpoint_merger.modelmerger(*self.arguments(None))
        assert message.startswith("<div class='error'>Failed")

    def test_title_from_before_the_hash(self, app):
        info = next(iter(sd_models.checkpoints_list.values()))
        assert checkpoint_merge.find_model(info.name) is info
        assert checkpoint_merge.find_model("no such model") is None
