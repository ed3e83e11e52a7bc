"""Clicks in the page wait for their turn as the API's requests do: in the same line, and without a thread each."""

from __future__ import annotations

import asyncio
import inspect
import threading

import gradio as gr
import pytest
from PIL import Image

from modules import call_queue, progress, shared

WAITING_HANDLERS = {
    "txt2img",
    "txt2img_upscale",
    "img2img",
    "run_postprocessing_webui",
    "modelmerger",
    "restore_result",
    "update_token_counter",
}


@pytest.fixture(scope="module")
def handlers(client):
    """{name: event} of the page; of several with one name the first."""
    found = {}
    for event in shared.demo.fns.values():
        found.setdefault(getattr(event.fn, "__name__", ""), event)
    return found


@pytest.fixture
def generate(handlers):
    """Clicks Generate of the txt2img tab with the values the page begins with, and a few others."""
    event = handlers["txt2img"]
    labels = [component.elem_id for component in event.inputs]

    async def click(task, **values):
        sent = [component.value for component in event.inputs]
        for label, value in ({"txt2img_width": 64, "txt2img_height": 64, "txt2img_steps": 2} | values).items():
            sent[labels.index(label)] = value
        sent[0] = task
        return (await shared.demo.call_function(event, sent, None, gr.Request(username="ann")))["prediction"]

    return click


def test_handlers_that_wait_are_coroutines_in_gradio(handlers):
    assert {name for name in WAITING_HANDLERS if not inspect.iscoroutinefunction(handlers[name].fn)} == set()


def test_a_click_makes_the_image_in_the_thread_of_the_queue(generate):
    gallery, info, html, log = asyncio.run(generate("task(click)", txt2img_prompt="red apple"))
    (image,) = gallery["value"]
    assert isinstance(image, Image.Image) and image.size == (64, 64) and gallery["selected_index"] == 0
    assert '"prompt": "red apple"' in info and "red apple" in html and "Time taken" in log
    assert progress.restore_progress("task(click)")[1] == info


def test_clicks_and_requests_stand_in_one_line(generate, client):
    tasks = ["task(page 1)", "task(api)", "task(page 2)"]

    async def all_of_them():
        with call_queue.queue_lock:
            first = asyncio.create_task(generate(tasks[0]))
            await until(lambda: tasks[0] in progress.pending_tasks)
            body = {"width": 64, "height": 64, "steps": 1, "force_task_id": tasks[1]}
            request = threading.Thread(target=lambda: client.post("/sdapi/v1/txt2img", json=body))
            request.start()
            await until(lambda: tasks[1] in progress.pending_tasks)
            second = asyncio.create_task(generate(tasks[2]))
            await until(lambda: tasks[2] in progress.pending_tasks)
            assert list(progress.pending_tasks) == tasks
        await asyncio.gather(first, second)
        request.join(30)

    asyncio.run(all_of_them())
    assert [task for task in progress.finished_tasks if task in tasks] == tasks


async def until(condition):
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_reloaded_page_gets_the_result_of_the_job_it_left(generate, handlers):
    async def leaves_and_comes_back():
        with call_queue.queue_lock:
            left = asyncio.create_task(generate("task(left)"))
            await until(lambda: "task(left)" in progress.pending_tasks)
            left.cancel()
            restored = asyncio.create_task(
                shared.demo.call_function(handlers["restore_result"], ["task(left)"], None, gr.Request())
            )
            await asyncio.sleep(0.05)
            assert not restored.done()
        return (await restored)["prediction"]

    gallery, info, _, _ = asyncio.run(leaves_and_comes_back())
    assert gallery["value"][0].size == (64, 64) and info.startswith("{")
