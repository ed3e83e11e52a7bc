"""One job at a time, and what becomes of its errors."""

import asyncio
import functools
import threading

import pytest
import torch

from modules import call_queue, errors, progress, shared, ui_job_outputs
from modules.job.request import JobRequest


@pytest.fixture(autouse=True)
def dressed():
    """The HTML of the page around what handlers answer, whoever else has run before."""
    ui_job_outputs.install()


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


def test_a_cancelled_job_tells_the_thread_that_waits_for_it():
    caught = []

    def waits():
        try:
            with call_queue.gpu_job("second", "task(cancelled)"):
                raise AssertionError("it must not run")
        except errors.Cancelled as e:
            caught.append(e.http_status)

    thread = threading.Thread(target=waits)
    with call_queue.gpu_job("first"):
        thread.start()
        while "task(cancelled)" not in progress.pending_tasks:
            assert thread.is_alive()
        assert call_queue.queue.cancel(call_queue.queue.find("task(cancelled)"))
        thread.join(timeout=10)
        assert caught == [409] and "task(cancelled)" not in progress.pending_tasks
    assert not call_queue.queue_lock.locked()


def test_a_submitted_job_is_marked_as_begun_and_ended():
    seen = call_queue.submit("work", lambda: (shared.state.job, progress.current_task), "task(submitted)").future
    assert seen.result(timeout=10) == ("work", "task(submitted)")
    assert shared.state.job == "" and "task(submitted)" in progress.finished_tasks


def test_a_job_made_of_a_request_is_its_users():
    request = JobRequest("txt2img", {"prompt": "red apple"}, user="ann")
    job = call_queue.submit("scripts_txt2img", lambda: None, "task(anns)", request)
    job.future.result(timeout=10)
    assert job.request is request and call_queue.queue.over()[-1].user == "ann"


def test_a_submitted_job_that_finds_no_memory_is_named():
    def work():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(errors.OutOfMemory, match="--medvram"):
        call_queue.submit("work", work).future.result(timeout=10)


def test_modes_of_torch_do_not_leak_into_the_next_job():
    def leaves_modes_behind():
        torch.set_grad_enabled(False)
        torch.autograd.grad_mode._enter_inference_mode(True)

    call_queue.submit("careless", leaves_modes_behind).future.result(timeout=10)
    modes = call_queue.submit("next", lambda: (torch.is_grad_enabled(), torch.is_inference_mode_enabled())).future
    assert modes.result(timeout=10) == (True, False)


def test_settings_of_the_submitter_are_those_of_the_job():
    with shared.opts.overlay({"samples_format": "webp"}):
        job = call_queue.submit("work", lambda: shared.opts.samples_format)
    assert job.future.result(timeout=10) == "webp" != shared.opts.samples_format


def test_a_queued_call_inside_a_job_of_the_queue_is_made_at_once():
    reload = call_queue.wrap_queued_call(lambda: "reloaded")
    assert call_queue.submit("work", reload).future.result(timeout=10) == "reloaded"


def test_the_tasks_of_extensions_stand_beside_the_jobs():
    """As agent schedulers work: they note a task, take the lock themselves, and note begin and end."""
    progress.add_task_to_queue("task(theirs)")
    with call_queue.queue_lock:
        ours = call_queue.submit("work", lambda: None, "task(ours)")
        assert list(progress.pending_tasks) == ["task(theirs)", "task(ours)"]
        progress.start_task("task(theirs)")
        assert progress.current_task == "task(theirs)" and list(progress.pending_tasks) == ["task(ours)"]
        progress.finish_task("task(theirs)")
    ours.future.result(timeout=10)
    assert progress.current_task is None
    assert [task for task in progress.finished_tasks if task in ("task(theirs)", "task(ours)")] == [
        "task(theirs)",
        "task(ours)",
    ]


def test_a_noted_task_that_becomes_a_job_is_listed_once():
    progress.add_task_to_queue("task(noted)")
    with call_queue.queue_lock:
        job = call_queue.submit("work", lambda: None, "task(noted)")
        assert list(progress.pending_tasks) == ["task(noted)"]
    job.future.result(timeout=10)
    assert not progress.is_unfinished("task(noted)")


def test_a_task_that_is_no_longer_listed_still_runs():
    with call_queue.queue_lock:
        job = call_queue.submit("work", lambda: progress.current_task, "task(hidden)")
        progress.pending_tasks.clear()
        assert progress.get_pending_tasks() == {"size": 0, "tasks": []}
    assert job.future.result(timeout=10) == "task(hidden)"


def test_handlers_wait_as_coroutines_without_a_thread_each():
    def txt2img(id_task):
        return [threading.current_thread().name], "info", ""

    handler = call_queue.wrap_gradio_gpu_call(txt2img)
    assert handler("task(0)")[0] == [threading.current_thread().name]
    waits = call_queue.coroutine_of(handler)
    assert asyncio.iscoroutinefunction(waits)

    async def all_at_once():
        with call_queue.queue_lock:
            tasks = [asyncio.create_task(waits(f"task({number})")) for number in range(60)]
            before = threading.active_count()
            while len(progress.pending_tasks) < 60:
                await asyncio.sleep(0)
            assert threading.active_count() - before <= 1  # the queue's own
        return await asyncio.gather(*tasks)

    results = asyncio.run(all_at_once())
    assert {result[0][0] for result in results} == {"job worker"}
    assert "Time taken" in results[0][2] and progress.restore_progress("task(59)")[1] == "info"


def test_what_is_put_around_a_handler_is_not_passed_over():
    handler = call_queue.wrap_gradio_gpu_call(lambda id_task: [1, ""])

    @functools.wraps(handler)
    def around(*args):
        return ["around", *handler(*args)]

    assert call_queue.coroutine_of(around) is around
    assert call_queue.coroutine_of("fn") == "fn" and call_queue.coroutine_of(None) is None


def test_a_closed_page_does_not_end_its_job():
    ran = threading.Event()
    waits = call_queue.coroutine_of(call_queue.wrap_gradio_gpu_call(lambda id_task: (ran.set(), "")))

    async def closes():
        with call_queue.queue_lock:
            task = asyncio.create_task(waits("task(closed)"))
            while "task(closed)" not in progress.pending_tasks:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(closes())
    assert ran.wait(timeout=10)


def test_the_error_of_a_coroutine_is_shown_too():
    def fails(id_task):
        raise errors.InvalidInput("steps is <0>", field="steps")

    waits = call_queue.coroutine_of(call_queue.wrap_gradio_gpu_call(fails, extra_outputs=[1, 2]))
    *outputs, shown = asyncio.run(waits("task(fails)"))
    assert outputs == [1, 2] and shown.startswith(
        "<div class='error'>steps is &lt;0&gt;</div><div class='performance'>"
    )


def test_the_page_hears_that_a_job_is_over_that_was_refused_before_it_waited():
    def refuses(name, work, id_task, args):
        raise errors.InvalidInput("there is no such folder")

    waits = call_queue.coroutine_of(call_queue.wrap_gradio_gpu_call(lambda id_task: ("", ""), submit=refuses))
    *_, shown = asyncio.run(waits("task(refused)"))
    assert "there is no such folder" in shown
    assert progress.progressapi(progress.ProgressRequest(id_task="task(refused)")).completed
