"""Watching and steering a running job: interrupt, skip, stop, progress, previews, the queue."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from modules import call_queue, processing, progress, script_callbacks, shared
from test.quality import api_jobs
from test.quality.api_jobs import decoded

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}
PREVIEWS = {"show_progress_every_n_steps": 1, "live_previews_enable": True}


@pytest.fixture
def at_call():
    """Runs a function in the job's thread, at the end of the given call of the denoiser, counted from 1."""
    registered = []

    def install(number, action):
        calls = []

        def denoised(params):
            calls.append(params)
            if len(calls) == number:
                action()

        script_callbacks.on_cfg_denoised(denoised, name=f"at-call-{number}")
        registered.append(denoised)

    yield install
    for callback in registered:
        script_callbacks.remove_callbacks_for_function(callback)


@pytest.fixture
def meanwhile(client):
    """Sends a request from another thread, as a client does while a job runs, and returns its answer."""

    def send(method, path, **arguments):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.request(method, path, **arguments)))
        thread.start()
        thread.join()
        return answers[0]

    return send


def differ_by_rounding_alone(images, others):
    """Whether images are equal but for a grey level: a step and its prediction are rounded in different places."""
    pairs = zip(images, others, strict=True)
    return all(np.abs(np.int16(np.frombuffer(a, np.uint8)) - np.frombuffer(b, np.uint8)).max() <= 1 for a, b in pairs)


def test_interrupt_returns_what_the_last_call_predicted(txt2img, at_call, meanwhile):
    """Without guidance the prediction of the first call is what one step of Euler makes."""
    at_call(1, lambda: meanwhile("POST", "/sdapi/v1/interrupt"))
    partial = txt2img(steps=5, cfg_scale=1, n_iter=3)
    assert len(partial.images) == len(partial.infotexts) == 1
    assert differ_by_rounding_alone(partial.pixels, txt2img(steps=1, cfg_scale=1).pixels)
    assert not differ_by_rounding_alone(partial.pixels, txt2img(steps=5, cfg_scale=1).pixels)


@pytest.mark.parametrize("keep", [False, True])
def test_interrupted_pictures_are_files_only_if_the_setting_says_so(txt2img, at_call, data_dir, keep):
    at_call(1, shared.state.interrupt)
    before = set(data_dir.rglob("outputs/**/*.png"))
    overrides = {"save_incomplete_images": keep}
    txt2img(steps=3, save_images=True, override_settings=overrides)
    assert bool(set(data_dir.rglob("outputs/**/*.png")) - before) == keep


def test_next_job_is_not_interrupted(txt2img, at_call):
    expected = txt2img(steps=3)
    at_call(1, shared.state.interrupt)
    assert txt2img(steps=3).pixels != expected.pixels
    assert txt2img(steps=3).pixels == expected.pixels


@pytest.mark.parametrize(
    "sampler", ["Euler a", "DPM++ 2M", "DPM fast", "DPM adaptive", "Restart", "DDIM", "PLMS", "UniPC", "LCM"]
)
@pytest.mark.parametrize("command", ["interrupt", "skip"])
def test_every_kind_of_sampler_can_be_ended(txt2img, at_call, sampler, command):
    at_call(2, getattr(shared.state, command))
    assert txt2img(steps=6, sampler_name=sampler).images[0].size == (64, 64)


def test_interrupt_in_the_first_pass_leaves_out_the_second(txt2img, at_call):
    at_call(1, shared.state.interrupt)
    assert txt2img(**HIRES).images[0].size == (64, 64)


def test_interrupt_in_the_second_pass_gives_an_enlarged_picture(txt2img, at_call):
    at_call(3, shared.state.interrupt)
    result = txt2img(**HIRES, hr_second_pass_steps=4)
    assert result.images[0].size == (96, 96)


def test_skip_goes_on_with_the_next_batch(txt2img, at_call, meanwhile):
    at_call(1, lambda: meanwhile("POST", "/sdapi/v1/skip"))
    result = txt2img(steps=4, cfg_scale=1, n_iter=2, **NO_GRID)
    assert differ_by_rounding_alone(result.pixels[:1], txt2img(steps=1, cfg_scale=1).pixels)
    assert result.pixels[1:] == txt2img(seed=2, steps=4, cfg_scale=1).pixels


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_skip_in_the_first_pass_enlarges_without_denoising(txt2img, at_call, sampler):
    """So does a hires pass of strength 0."""
    fields = HIRES | {"cfg_scale": 1, "sampler_name": sampler}
    seen = []
    at_call(1, lambda: (shared.state.skip(), seen.append(True)))
    skipped = txt2img(**fields, steps=4)
    assert seen and skipped.images[0].size == (96, 96)
    if sampler == "Euler":
        assert differ_by_rounding_alone(skipped.pixels, txt2img(**fields | {"denoising_strength": 0}, steps=1).pixels)


def test_stop_finishes_the_batch(txt2img, at_call):
    at_call(1, shared.state.stop_generating)
    result = txt2img(steps=3, n_iter=3, batch_size=2, **NO_GRID)
    assert result.pixels == txt2img(steps=3, batch_size=2, **NO_GRID).pixels


def test_img2img_ended_before_the_first_call_returns_the_picture(img2img, monkeypatch):
    """What is left of it is the init picture, through the VAE: as with a strength that runs no step."""
    sample = processing.StableDiffusionProcessingImg2Img.sample

    def interrupted_first(p, *args, **kwargs):
        shared.state.interrupt()
        return sample(p, *args, **kwargs)

    expected = img2img(denoising_strength=0, override_settings={"img2img_fix_steps": True})
    monkeypatch.setattr(processing.StableDiffusionProcessingImg2Img, "sample", interrupted_first)
    assert img2img().pixels == expected.pixels


def test_progress_while_a_job_runs(txt2img, at_call, meanwhile):
    seen = []
    for call in (1, 4, 6):
        at_call(call, lambda: seen.append(meanwhile("GET", "/sdapi/v1/progress").json()))
    txt2img(steps=3, n_iter=2)
    shares = [body["progress"] for body in seen]
    assert shares == sorted(shares) and 0.01 <= shares[0] < 0.5 < shares[1] <= shares[2] <= 1
    state = seen[0]["state"]
    assert (state["job"], state["job_count"], state["job_no"], state["sampling_steps"]) == ("Batch 1 out of 2", 2, 0, 3)
    assert seen[1]["state"]["job_no"] == 1
    assert meanwhile("GET", "/sdapi/v1/progress").json()["progress"] == 0


def test_hires_pass_counts_as_a_job_of_its_own(txt2img, at_call, meanwhile):
    seen = []
    for call in (1, 3):
        at_call(call, lambda: seen.append(meanwhile("GET", "/sdapi/v1/progress").json()["state"]))
    txt2img(**HIRES)
    assert [(state["job_no"], state["job_count"]) for state in seen] == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("method", "size"), [("Full", 64), ("Approx cheap", 8), ("Approx NN", 8), ("TAESD", 8)], ids=str
)
def test_preview_by_each_method(txt2img, at_call, meanwhile, monkeypatch, method, size):
    """Approx NN and TAESD are drawn by the linear map until their files are there."""
    for key, value in {**PREVIEWS, "show_progress_type": method}.items():
        monkeypatch.setitem(shared.opts.data, key, value)
    seen = []
    at_call(3, lambda: seen.append(meanwhile("GET", "/sdapi/v1/progress").json()["current_image"]))
    txt2img(steps=3)
    assert decoded(seen[0]).size == (size, size)


def test_preview_shows_the_batch_if_asked_for(txt2img, at_call, meanwhile, monkeypatch):
    for key, value in {**PREVIEWS, "show_progress_type": "Approx cheap", "show_progress_grid": True}.items():
        monkeypatch.setitem(shared.opts.data, key, value)
    seen = []
    at_call(3, lambda: seen.append(meanwhile("GET", "/sdapi/v1/progress").json()["current_image"]))
    txt2img(steps=3, batch_size=2)
    assert decoded(seen[0]).width * decoded(seen[0]).height == 2 * 8 * 8


def test_no_preview_if_not_asked_for(txt2img, at_call, meanwhile, monkeypatch):
    seen = []
    path = "/sdapi/v1/progress?skip_current_image=true"
    at_call(2, lambda: seen.append(meanwhile("GET", path).json()["current_image"]))
    monkeypatch.setitem(shared.opts.data, "live_previews_enable", False)
    at_call(2, lambda: seen.append(meanwhile("GET", "/sdapi/v1/progress").json()["current_image"]))
    txt2img()
    assert seen == [None, None]


def test_previews_change_no_picture(txt2img, at_call, meanwhile, monkeypatch):
    expected = txt2img(steps=4, sampler_name="Euler a")
    for key, value in PREVIEWS.items():
        monkeypatch.setitem(shared.opts.data, key, value)
    for call in range(1, 5):
        at_call(call, lambda: meanwhile("GET", "/sdapi/v1/progress"))
    assert txt2img(steps=4, sampler_name="Euler a").pixels == expected.pixels


def test_requests_are_carried_out_in_the_order_they_come(client):
    """Three wait for the lock; each is seen to queue before the next is sent."""
    order, threads = [], []

    def send(task):
        body = api_jobs.SMALL | {"steps": 1, "force_task_id": task}
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 200
        order.append(task)

    tasks = [f"task(test-{number})" for number in range(3)]
    with call_queue.queue_lock:
        for task in tasks:
            threads.append(threading.Thread(target=send, args=(task,)))
            threads[-1].start()
            while task not in progress.pending_tasks:
                threading.Event().wait(0.01)
        assert progress.get_pending_tasks() == {"size": 3, "tasks": tasks}
    for thread in threads:
        thread.join()
    finished = [task for task in progress.finished_tasks if task in tasks]
    assert finished == tasks
    assert sorted(order) == tasks
    assert progress.get_pending_tasks()["size"] == 0


def test_task_id_is_the_clients_or_made_up(txt2img, at_call):
    seen = []
    at_call(1, lambda: seen.append(progress.current_task))
    at_call(3, lambda: seen.append(progress.current_task))
    txt2img(force_task_id="task(mine)")
    txt2img()
    assert seen[0] == "task(mine)"
    assert seen[1].startswith("task(txt2img-") and seen[1] != seen[0]
    assert progress.current_task is None
