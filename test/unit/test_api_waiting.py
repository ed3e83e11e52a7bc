"""Requests that wait for their job, on a real server with real sockets and all that stands before the routes."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
import time
import urllib.request
import weakref

import pytest

from modules import call_queue, progress, script_callbacks, shared
from modules.errors import InvalidInput
from modules.job.queue import JobState

SECONDS = 20
SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "save_images": False, "seed": 1}


@pytest.fixture
def api_log(monkeypatch):
    """The request log, whose middleware passes on what the client sends."""
    monkeypatch.setattr(shared.cmd_opts, "api_log", True)


class Client:
    """A connection with a request on it, which can go away at any moment."""

    def __init__(self, running, path, body=None, method="POST"):
        content = json.dumps(body or {}).encode()
        self.socket = socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS)
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Type: application/json"]
        head += [f"Content-Length: {len(content)}", "", ""]
        self.socket.sendall("\r\n".join(head).encode() + content)

    def go_away(self):
        self.socket.close()

    def answer(self):
        """The status and the body."""
        with contextlib.closing(self.socket), self.socket.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def txt2img(running, task, **fields):
    return Client(running, "/sdapi/v1/txt2img", SMALL | {"force_task_id": task} | fields)


def last_state(task):
    """The state of a job that is over, None before."""
    return next((job.state for job in reversed(call_queue.queue.over()) if job.id == task), None)


def get(running, path):
    with urllib.request.urlopen(running.url + path, timeout=SECONDS) as answer:
        return json.load(answer)


def test_a_client_that_goes_away_while_it_waits_gives_up_its_place(running, api_log):
    with call_queue.queue_lock:
        first, second = txt2img(running, "task(gone)"), txt2img(running, "task(stays)")
        wait_for(lambda: len(progress.pending_tasks) == 2)
        first.go_away()
        wait_for(lambda: list(progress.pending_tasks) == ["task(stays)"])
        assert last_state("task(gone)") is JobState.CANCELLED
    assert second.answer()[0] == 200
    assert last_state("task(stays)") is JobState.DONE


def test_a_client_that_goes_away_does_not_stop_its_running_job(running):
    begun, may_go_on = threading.Event(), threading.Event()

    def denoised(params):
        begun.set()
        may_go_on.wait(SECONDS)

    script_callbacks.on_cfg_denoised(denoised, name="held")
    try:
        client = txt2img(running, "task(running)")
        assert begun.wait(SECONDS)
        client.go_away()
        waiting = txt2img(running, "task(next)")
        wait_for(lambda: "task(next)" in progress.pending_tasks)
        assert progress.current_task == "task(running)"
        may_go_on.set()
        assert waiting.answer()[0] == 200
    finally:
        may_go_on.set()
        script_callbacks.remove_callbacks_for_function(denoised)
    assert last_state("task(running)") is JobState.DONE


def test_waiting_requests_hold_no_threads(running):
    """More of them than the server has threads; those who watch and steer still get their answers."""
    with call_queue.queue_lock:
        threads = threading.active_count()
        clients = [txt2img(running, f"task({number})") for number in range(60)]
        clients += [Client(running, path) for path in COMMANDS]
        wait_for(lambda: len(call_queue.queue.waiting()) == len(clients))
        assert progress.get_pending_tasks()["size"] == 60
        assert get(running, "/internal/ping") == {}
        assert get(running, "/sdapi/v1/progress")["progress"] == 0
        assert Client(running, "/sdapi/v1/interrupt").answer() == (200, {})
        report = Client(running, "/internal/progress", {"id_task": "task(41)"}).answer()[1]
        assert report["queued"] and report["textinfo"].startswith("In queue: ")
        assert threading.active_count() - threads <= 45  # the pool's 40 and the queue's
        for client in clients[:60]:
            client.go_away()
        wait_for(lambda: not progress.pending_tasks)
    assert [client.answer()[0] for client in clients[60:]] == [200] * len(COMMANDS)


COMMANDS = [f"/sdapi/v1/refresh-{kind}" for kind in ("embeddings", "checkpoints", "vae")]


def test_a_reload_of_the_page_loses_neither_jobs_nor_threads(running, app):
    threads = {thread.name for thread in threading.enumerate() if thread.name == "job worker"}
    with call_queue.queue_lock:
        clients = [txt2img(running, f"task(kept {number})") for number in range(3)]
        wait_for(lambda: len(progress.pending_tasks) == 3)
        running.detach()
        running.attach(app)
        assert len(progress.pending_tasks) == 3
    assert [client.answer()[0] for client in clients] == [200] * 3
    assert {thread.name for thread in threading.enumerate() if thread.name == "job worker"} == threads


def test_steering_needs_no_thread_of_the_pool(running, monkeypatch):
    """Handlers of extensions may hold all of them."""
    held, may_end = [], threading.Event()
    monkeypatch.setattr("modules.memmon.memory_report", lambda: held.append(1) or may_end.wait(SECONDS) or {})
    clients = [Client(running, "/sdapi/v1/memory", method="GET") for _ in range(45)]
    try:
        wait_for(lambda: len(held) == 40)
        assert get(running, "/internal/ping") == {}
        assert Client(running, "/sdapi/v1/interrupt").answer() == (200, {})
        assert Client(running, "/sdapi/v1/skip").answer() == (200, None)
    finally:
        may_end.set()
        for client in clients:
            client.go_away()


def test_a_command_is_carried_out_though_its_client_is_gone(running, monkeypatch):
    done = threading.Event()
    monkeypatch.setattr("modules.shared_items.refresh_vae_list", done.set)
    with call_queue.queue_lock:
        client = Client(running, "/sdapi/v1/refresh-vae")
        wait_for(call_queue.queue.waiting)
        client.go_away()
        assert not done.wait(0.1)
    assert done.wait(SECONDS)


def test_a_job_that_somebody_else_cancels_is_answered_as_such(running):
    with call_queue.queue_lock:
        client = txt2img(running, "task(cancelled)")
        wait_for(lambda: "task(cancelled)" in progress.pending_tasks)
        call_queue.queue.cancel(call_queue.queue.find("task(cancelled)"))
        status, body = client.answer()
    assert (status, body["error"]) == (409, "Cancelled")


def test_the_error_of_a_job_and_of_its_preparation_are_answers(running, monkeypatch):
    assert txt2img(running, "task(bad)", steps=-1).answer()[0] == 422
    assert last_state("task(bad)") is None

    def fails(p):
        raise RuntimeError("the device is on fire")

    monkeypatch.setattr("modules.processing.process_images", fails)
    status, body = txt2img(running, "task(fails)").answer()
    assert (status, body["errors"]) == (500, "the device is on fire")
    assert last_state("task(fails)") is JobState.FAILED and not call_queue.queue_lock.locked()


def test_the_memory_of_a_failed_request_is_free_without_the_garbage_collector(running, monkeypatch):
    """A device that ran out of memory has to have it back for the next job."""
    alive = []

    class Latent:
        pass

    def fails(p):
        latent = Latent()
        alive.append(weakref.ref(latent))
        raise InvalidInput("no room")

    monkeypatch.setattr("modules.processing.process_images", fails)
    gc.disable()
    try:
        assert txt2img(running, "task(no room)").answer()[0] == 422
        wait_for(lambda: alive[0]() is None)
    finally:
        gc.enable()


def test_a_setting_that_changes_the_model_waits_for_the_job_and_others_do_not(running, monkeypatch):
    info = shared.opts.data_labels["sd_vae"]
    reloaded = []
    monkeypatch.setattr(info, "onchange", call_queue.wrap_queued_call(lambda: reloaded.append(shared.opts.sd_vae)))
    monkeypatch.setitem(shared.opts.data, "sd_vae", "Automatic")
    monkeypatch.setitem(shared.opts.data, "samples_format", "png")
    with call_queue.queue_lock:
        assert Client(running, "/sdapi/v1/options", {"samples_format": "webp"}).answer()[0] == 200
        assert shared.opts.samples_format == "webp"
        client = Client(running, "/sdapi/v1/options", {"samples_format": "jpg", "sd_vae": "None"})
        wait_for(call_queue.queue.waiting)
        assert (shared.opts.samples_format, reloaded) == ("jpg", [])
    assert client.answer()[0] == 200
    assert reloaded == ["None"] and shared.opts.sd_vae == "None"
