"""Handlers of the tabs PNG Info and Checkpoint Merger; merging itself is tested with `job.checkpoint_merge`."""

import inspect
from pathlib import Path

import gradio as gr
from PIL import Image

from modules import extras, merge, shared
from modules.job import checkpoint_merge

PICTURE = Path(__file__).parents[1] / "golden" / "inputs" / "with-parameters.png"


def test_picture_says_what_it_holds():
    assert extras.run_pnginfo(None) == ("", "", "")
    with Image.open(PICTURE) as image:
        _, text, html = extras.run_pnginfo(image)
    assert "Steps: " in text
    assert "<b>parameters</b>" in html
    assert extras.run_pnginfo(Image.new("RGB", (1, 1)))[1:] == (
        None,
        "<div><p>Nothing found in the image.</p></div>",
    )


def test_what_a_picture_says_is_escaped():
    image = Image.new("RGB", (1, 1))
    image.info = {"note <": "<script>"}
    assert "<p>&lt;script&gt;</p>" in extras.run_pnginfo(image)[2]


def test_several_lines_and_texts_are_shown():
    image = Image.new("RGB", (1, 1))
    image.info = {"parameters": "a cat\nSteps: 1", "extras": "more"}
    assert extras.run_pnginfo(image)[2].split("\n<div") == [
        '<div class="infotext"><p><b>parameters</b></p><p>a cat<br>\nSteps: 1</p></div>',
        ' class="infotext"><p><b>extras</b></p><p>more</p></div>',
    ]


def test_merge_that_is_refused_leaves_the_menus_and_says_why():
    arguments = dict.fromkeys(inspect.signature(extras.run_modelmerger).parameters, "")
    *updates, message = extras.run_modelmerger(**arguments | {"interp_method": "Median"})
    assert updates == [gr.update()] * 4
    assert message == shared.state.textinfo == "Failed: unknown interpolation method 'Median'"


def test_names_of_the_job_stay_reachable():
    assert extras.create_config is checkpoint_merge.create_config
    assert extras.read_metadata is checkpoint_merge.read_metadata
    assert extras.to_half is merge.to_half
