import json
import re

import gradio as gr

from modules import gradio_extensons, ui_reveal
from modules.ui_components import InputAccordion


def build():
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
                for number in range(3):
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


def test_what_is_not_seen_is_asked_for_by_the_topmost_that_the_front_end_holds_back():
    page, _ = build()
    sent = by_id(page)
    assert sent["two"]["visible"] == 1 and sent["two"]["visible"] is not True, "the panel itself is not held back"
    assert sent["in_accordion"]["visible"] is True, "it comes with the row around it"
    assert sent["group"]["visible"] is False and "webui-hidden" in sent["group"]["elem_classes"]
    assert sent["in_group"]["visible"] is True
    assert {block.elem_id for block in revealed(page)} >= {"group"}
    assert len(revealed(page)) < 8
    assert not any(block.elem_id in ("never", "in_accordion", "in_group") for block in revealed(page))


def test_what_is_held_back_inside_of_a_piece_is_asked_for_too():
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        with gr.Tabs():
            with gr.Tab("one"):
                gr.Textbox()
            with gr.Tab("two"), gr.Column(elem_id="column"):
                with gr.Accordion("closed", open=False, elem_id="accordion"), gr.Row(elem_id="row"):
                    gr.Textbox()
                with gr.Tabs():
                    with gr.Tab("inner", elem_id="chosen"):
                        gr.HTML(elem_id="in_chosen")
                    with gr.Tab("other", elem_id="other"):
                        gr.HTML(elem_id="in_other")
        ui_reveal.reveal_hidden_blocks(page)
    assert [block.elem_id for block in revealed(page)] == ["column", "row", "in_other"]
    assert by_id(page)["chosen"]["visible"] is True and by_id(page)["other"]["visible"] == 1


def test_large_parts_are_divided():
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        with gr.Tabs():
            with gr.Tab("one"):
                gr.Textbox()
            with gr.Tab("two"), gr.Column(elem_id="large"):
                for number in range(3):
                    with gr.Row(elem_id=f"row_{number}"):
                        for _ in range(ui_reveal.PIECE_BLOCKS // 2):
                            gr.HTML()
        ui_reveal.reveal_hidden_blocks(page)
    assert [block.elem_id for block in revealed(page)] == ["row_0", "row_1", "row_2"]
    assert len(page.fns) == 3 and by_id(page)["large"]["visible"] == 1


def test_page_is_told_what_to_wait_for():
    page, _ = build()
    calls = [re.fullmatch(r"\(\) => revealBlocks\((\d+), (.*)\)", fn.js) for fn in page.fns.values()]
    assert [int(call[1]) for call in calls] == [len(fn.outputs) for fn in page.fns.values()]
    ids = {name for call in calls for name in json.loads(call[2])}
    assert {"in_accordion", "in_group", "innermost"} <= ids


def test_what_comes_later_comes_last():
    with gradio_extensons.parts_of_a_page(), gr.Blocks() as page:
        with gr.Tabs():
            with gr.Tab("one"):
                gr.Textbox()
            with gr.Tab("late") as late, gr.Row(elem_id="late"), gr.Accordion("closed", open=False):
                gr.HTML(elem_id="also_late")
            with gr.Tab("early"):
                gr.HTML(elem_id="early")
        late.comes_later = True
        ui_reveal.reveal_hidden_blocks(page)
    assert [[block.elem_id for block in fn.outputs] for fn in page.fns.values()] == [["early"], ["late", "also_late"]]
    assert [fn.js.partition("(1")[0].partition("(2")[0] for fn in page.fns.values()] == [
        "() => revealBlocks",
        "() => revealLater",
    ]


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
    assert len(revealed(page)) == 1 and "inside" in [*page.fns.values()][-1].js
