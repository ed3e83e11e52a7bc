"""One job at a time, and what becomes of its errors."""

import threading

import pytest
import torch

from modules import call_queue, errors, progress, shared


def test_a_job_is_marked_as_begun_and_ended():
    with call_queue.gpu_job("work", "task(a)"):
        assert shared.state.job == "work" and progress.current_task == "task(a)"
        shared.state.interrupted = True
    assert shared.state.job == "" and progress.current_task is None
    assert not shared.state.interrupted
    assert "task(a)" in progress.finished_tasks and "task(a)" not in progress.pending_tasks


def test_a_failing_job_ends_too():
    with pytest.raises(ValueError, match="broken"), call_queue.gpu_job("work", "task(b)"):
        raise ValueError("broken")
    assert progress.current_task is None
    with call_queue.gpu_job("next"):
        assert shared.state.job == "next"


def test_jobs_run_one_after_the_other_in_order():
    order = []
    entered = threading.Event()
    release = threading.Event()

    def first():
        with call_queue.gpu_job("first", "task(1)"):
            entered.set()
            release.wait(timeout=10)
            order.append(1)

    def second():
        with call_queue.gpu_job("second", "task(2)"):
            order.append(2)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(timeout=10)
    threads[1].start()
    while "task(2)" not in progress.pending_tasks:
        assert threads[1].is_alive()
    assert order == []
    release.set()
    for thread in threads:
        thread.join(timeout=10)
    assert order == [1, 2]


def test_out_of_memory_is_named_and_other_errors_pass():
    with pytest.raises(errors.OutOfMemory, match="--medvram"), call_queue.gpu_job("work"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="something else"), call_queue.gpu_job("work"):
        raise RuntimeError("something else")


def test_a_queued_call_is_no_job():
    with call_queue.gpu_job("before"):
        pass
    assert call_queue.wrap_queued_call(lambda x: (x, shared.state.job))(3) == (3, "")


@pytest.mark.parametrize(
    ("arguments", "task"), [(("task(x)", 1), "task(x)"), ((), None), ((3,), None), (("task(", 1), None)]
)
def test_the_page_sends_its_task_first(arguments, task):
    assert call_queue.task_id_of(arguments) == task


def test_a_handlers_result_is_kept_for_a_reloaded_page():
    def txt2img(id_task, prompt):
        return [prompt], "info", "", "log"

    result = call_queue.wrap_gradio_gpu_call(txt2img)("task(kept)", "apple")
    assert result[:3] == (["apple"], "info", "")
    assert result[3].startswith("log<div class='performance'><p class='time'>")
    assert progress.restore_progress("task(kept)")[0] == ["apple"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.InvalidInput("steps is <0>", field="steps"), "steps is &lt;0&gt;"),
        (KeyError("x"), "KeyError: &#x27;x&#x27;"),
    ],
)
def test_an_error_is_shown_in_the_last_output(error, text):
    def fails():
        raise error

    assert call_queue.wrap_gradio_call(fails)() == (None, "", f"<div class='error'>{text}</div>")
    assert call_queue.wrap_gradio_call(fails, extra_outputs=[1])()[0] == 1


@pytest.mark.parametrize(("seconds", "text"), [(1.25, "1.2 sec."), (61.0, "1 min. 1.0 sec.")])
def test_time_taken_is_told(seconds, text):
    assert text in call_queue.stats_html(seconds)


def test_memory_is_told_in_gigabytes():
    shown = call_queue.vram_html({"active_peak": 1024, "reserved_peak": 2048, "system_peak": 4096, "total": 8192})
    assert "1.00 GB" in shown and "2.00 GB" in shown and "4.0/8 GB" in shown and "(50.0%)" in shown
