"""The bookkeeping of queued, running and finished tasks."""

import base64
import io
import threading
import time

import pytest
from PIL import Image

from modules import progress, shared


@pytest.fixture(autouse=True)
def clean_books():
    yield
    progress.pending_tasks.clear()
    progress.noted_finished.clear()
    progress.recorded_results.clear()
    progress.start_task(None)


@pytest.fixture
def state(monkeypatch):
    """The program's state, set back afterwards."""
    for name in ("job_count", "job_no", "sampling_steps", "sampling_step", "time_start", "textinfo"):
        monkeypatch.setattr(shared.state, name, getattr(shared.state, name))
    return shared.state


def asked(id_task, **values):
    return progress.ProgressRequest(id_task=id_task, **values)


def test_task_ids_name_their_kind_and_differ():
    first, second = progress.create_task_id("txt2img"), progress.create_task_id("txt2img")
    assert first.startswith("task(txt2img-") and first.endswith(")")
    assert first != second


def test_a_task_is_queued_then_active_then_completed():
    progress.add_task_to_queue("a")
    report = progress.progressapi(asked("a"))
    assert (report.active, report.queued, report.completed) == (False, True, False)
    progress.start_task("a")
    report = progress.progressapi(asked("a"))
    assert (report.active, report.queued, report.completed) == (True, False, False)
    assert progress.current_task == "a"
    progress.finish_task("a")
    report = progress.progressapi(asked("a"))
    assert (report.active, report.queued, report.completed) == (False, False, True)
    assert progress.current_task is None


def test_the_queue_is_told_in_order(monkeypatch):
    clock = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    for name in "abc":
        progress.add_task_to_queue(name)
    assert progress.get_pending_tasks() == {"size": 3, "tasks": ["a", "b", "c"]}
    assert progress.progressapi(asked("b")).textinfo == "In queue: 2/3"


def test_an_unknown_task_waits():
    report = progress.progressapi(asked("never heard of"))
    assert not report.active and not report.queued and not report.completed
    assert report.textinfo == "Waiting..." and report.id_live_preview == -1


@pytest.mark.parametrize(
    ("job_count", "job_no", "steps", "step", "share"),
    [(0, 0, 0, 0, 0.0), (4, 1, 0, 0, 0.25), (4, 1, 20, 10, 0.375), (1, 1, 20, 20, 1.0), (-1, 0, 20, 10, 0.0)],
)
def test_progress_counts_jobs_and_the_steps_of_the_current_one(state, job_count, job_no, steps, step, share):
    state.job_count, state.job_no, state.sampling_steps, state.sampling_step = job_count, job_no, steps, step
    assert progress.job_progress() == pytest.approx(share)


def test_time_left_is_in_proportion(state, monkeypatch):
    state.time_start = 100.0
    monkeypatch.setattr(time, "time", lambda: 130.0)
    assert progress.estimate_seconds_left(0.25) == pytest.approx(90.0)
    assert progress.estimate_seconds_left(0.0) is None


def test_old_tasks_and_results_are_forgotten():
    for number in range(progress.finished_limit + 3):
        progress.finish_task(f"task {number}")
        progress.record_results(f"task {number}", number)
    assert len(progress.finished_tasks) == progress.finished_limit
    assert [result for _, result in progress.recorded_results] == [17, 18]


def test_restoring_waits_for_the_running_task():
    progress.start_task("a")

    def finish():
        progress.record_results("a", ["picture"])
        progress.finish_task("a")

    timer = threading.Timer(0.05, finish)
    timer.start()
    assert progress.restore_progress("a", poll_seconds=0.005) == ["picture"]
    timer.join()
    assert progress.restore_progress("b") is None


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_previews_are_sent_in_the_chosen_format(image_format, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "live_previews_image_format", image_format)
    head, data = progress.encode_preview(Image.new("RGB", (8, 8), "red")).split(",")
    assert head == f"data:image/{image_format};base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).format == image_format.upper()


def test_a_preview_is_sent_once(state, monkeypatch):
    monkeypatch.setattr(shared.state, "set_current_image", lambda: None)
    monkeypatch.setattr(shared.state, "current_image", Image.new("RGB", (8, 8)))
    monkeypatch.setattr(shared.state, "id_live_preview", 3)
    progress.start_task("a")
    report = progress.progressapi(asked("a", id_live_preview=-1))
    assert report.live_preview.startswith("data:image/") and report.id_live_preview == 3
    assert progress.progressapi(asked("a", id_live_preview=3)).live_preview is None
    assert progress.progressapi(asked("a", live_preview=False)).live_preview is None
