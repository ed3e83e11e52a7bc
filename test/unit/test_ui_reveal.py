import json
import re

import gradio as gr

from modules import gradio_extensons, ui_reveal
from modules.ui_components import InputAccordion


def build(fields_in_second_tab=3):
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        gr.Textbox(elem_id="shown")
        with gr.Tabs() as tabs:
            with gr.Tab("one", id="one"):
                gr.Textbox(elem_id="first")
                gr.HTML("0/75", elem_id="shown_by_script", visible=False)
                with gr.Accordion("closed", open=False), gr.Row():
                    gr.Textbox(elem_id="in_accordion")
                with gr.Group(visible=False, elem_id="group"):
                    gr.Slider(elem_id="in_group")
            with gr.Tab("two", id="two", elem_id="two"):
                for number in range(fields_in_second_tab):
                    gr.Textbox(elem_id=f"field_{number}")
                with gr.Tabs(), gr.Tab("inner", elem_id="inner"):
                    gr.Textbox(elem_id="innermost")
            with gr.Tab("never", visible=False):
                gr.Textbox(elem_id="never")
        ui_reveal.reveal_hidden_blocks(page)
    return page, tabs


def by_id(page):
    return {block.elem_id: block.get_config() for block in page.blocks.values() if block.elem_id}


def revealed(page):
    return [block for fn in page.fns.values() for block in fn.outputs]


def test_what_is_seen_at_the_start_is_left_alone():
    page, _ = build()
    assert by_id(page)["shown"]["visible"] is True and by_id(page)["first"]["visible"] is True
    assert by_id(page)["shown_by_script"]["visible"] is True


def test_what_is_not_seen_comes_with_few_updates():
    page, _ = build()
    sent = by_id(page)
    assert sent["two"]["visible"] == 1, "the panel itself is not held back"
    assert sent["in_accordion"]["visible"] == "hidden"
    assert sent["group"]["visible"] == "hidden" and "webui-hidden" in sent["group"]["elem_classes"]
    assert sent["in_group"]["visible"] == "hidden"
    assert sent["inner"]["visible"] == 1, "a tab that is 'hidden' would lose its button"
    assert len(revealed(page)) < 8
    assert not any(block.elem_id == "never" for block in revealed(page))


def test_large_parts_are_divided():
    page, _ = build(fields_in_second_tab=2 * ui_reveal.PIECE_BLOCKS)
    events = list(page.fns.values())
    assert len(events) > 2
    for fn in events:
        blocks = sum(1 + sum(1 for _ in ui_reveal.descendants(piece)) for piece in fn.outputs)
        assert blocks <= ui_reveal.PIECE_BLOCKS or len(fn.outputs) == 1


def test_page_is_told_what_to_wait_for():
    page, _ = build()
    calls = [re.fullmatch(r"\(\) => revealBlocks\((\d+), (.*)\)", fn.js) for fn in page.fns.values()]
    assert [int(call[1]) for call in calls] == [len(fn.outputs) for fn in page.fns.values()]
    ids = {name for call in calls for name in json.loads(call[2])}
    assert {"in_accordion", "in_group", "innermost"} <= ids


def test_chosen_tab_is_the_one_that_is_shown():
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        with gr.Tabs(selected="two"):
            with gr.Tab("one", id="one", elem_id="one"):
                gr.Textbox(elem_id="a")
            with gr.Tab("two", id="two", elem_id="two"):
                gr.Textbox(elem_id="b")
        ui_reveal.reveal_hidden_blocks(page)
    sent = by_id(page)
    assert sent["one"]["visible"] == 1 and sent["two"]["visible"] is True and sent["b"]["visible"] is True


def test_input_accordion_content_is_a_piece():
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        with InputAccordion(False, label="x", elem_id="x"):
            gr.Textbox(elem_id="inside")
        ui_reveal.reveal_hidden_blocks(page)
    assert by_id(page)["inside"]["visible"] == "hidden"
