import gradio as gr
import pytest

from modules import progress, shared, ui_toprow
from modules.job.queue import Job, JobState
from modules.ui_toprow import Toprow


@pytest.fixture
def state(program):
    """The job state, as it is between jobs afterwards."""
    yield shared.state
    shared.state.interrupted = shared.state.stopping_generation = False
    shared.state.job_count = 0


@pytest.fixture
def notes(monkeypatch):
    """What the page was told."""
    told = []
    monkeypatch.setattr(ui_toprow.gr, "Info", told.append)
    return told


def test_first_click_finishes_the_picture_and_second_stops(state, notes, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "interrupt_after_current", True)
    state.job_count = 3
    ui_toprow.interrupt_after_current_or_now()
    assert state.stopping_generation and not state.interrupted and len(notes) == 1
    ui_toprow.interrupt_after_current_or_now()
    assert state.interrupted


@pytest.mark.parametrize(("count", "wanted"), [(1, True), (3, False)])
def test_click_stops_at_once(state, notes, monkeypatch, count, wanted):
    monkeypatch.setitem(shared.opts.data, "interrupt_after_current", wanted)
    state.job_count = count
    ui_toprow.interrupt_after_current_or_now()
    assert state.interrupted and not notes


def test_a_job_that_waits_is_taken_out_and_the_running_one_goes_on(state, notes):
    with progress.queue.line:
        job = progress.queue.submit(Job("txt2img", "task(waits)"), lambda: None)
        ui_toprow.interrupt_after_current_or_now("task(waits)")
        assert job.state is JobState.CANCELLED and not state.interrupted and len(notes) == 1
        ui_toprow.interrupt_after_current_or_now("task(waits)")
        assert state.interrupted, "it is over: what runs is meant"


def element_ids(blocks):
    return {block.elem_id for block in blocks.blocks.values()}


def test_classic_row_has_its_parts(program):
    with gr.Blocks() as blocks:
        toprow = Toprow(is_img2img=True)
    assert toprow.prompt.elem_id == "img2img_prompt" and toprow.button_interrogate.elem_id == "interrogate"
    assert {"img2img_toprow", "img2img_generate", "img2img_styles", "img2img_token_counter"} <= element_ids(blocks)


def test_compact_row_is_put_where_the_tab_wants_it(program):
    with gr.Blocks() as blocks:
        toprow = Toprow(is_img2img=False, is_compact=True, id_part="mine")
        assert toprow.prompt is None and toprow.submit is not None
        with gr.Column() as settings:
            toprow.create_inline_toprow_prompts()
        with gr.Column() as results:
            toprow.create_inline_toprow_image()
    assert toprow.submit_box.parent is results and toprow.prompt.elem_id == "mine_prompt"
    assert toprow.button_interrogate is None and "mine_toprow" not in element_ids(blocks)
    assert settings.children


def test_classic_row_ignores_the_compact_places(program):
    with gr.Blocks() as blocks:
        toprow = Toprow(is_img2img=False)
        count = len(blocks.blocks)
        toprow.create_inline_toprow_prompts()
        toprow.create_inline_toprow_image()
    assert len(blocks.blocks) == count
