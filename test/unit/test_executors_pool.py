"""Two worker processes on the CPU, behind the real API: jobs side by side, shared runs, interrupting, one that dies."""

import base64
import io
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from PIL import Image

from modules import call_queue, checkpoints, hashes, shared
from modules.executors import kinds, names
from modules.executors import pool as executors_pool
from modules.job import elsewhere

SECONDS = 300
SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "seed": 3, "subseed": 4}
LONG = {"steps": 150, "n_iter": 8}


@pytest.fixture(scope="module")
def pool(client):
    classic(client)  # opens what is written down of jobs
    yield from running_pool()


def running_pool():
    made = kinds.make_pool(names.parse("cpu*2", lambda: 0), None)
    made.start()
    until(lambda: len(made._idle) == 2)
    yield made
    made.close()
    assert elsewhere.carrier is None


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def ask(client, **fields):
    return client.post("/serena/v1/jobs", json={"kind": "txt2img", "request": SMALL | fields}).json()["id"]


def get(client, id):
    return client.get(f"/serena/v1/jobs/{quote(id)}").json()


def over(client, id):
    return until(lambda: (job := get(client, id))["state"] not in ("queued", "running") and job)


def begun(client, id):
    return until(lambda: 0 < get(client, id)["progress"] < 1)


def classic(client, **fields):
    answer = client.post("/sdapi/v1/txt2img", json=SMALL | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pixels(answer):
    return [Image.open(io.BytesIO(base64.b64decode(image))).tobytes() for image in answer["images"]]


def said(answer):
    return {key: value for key, value in json.loads(answer["info"]).items() if key != "job_timestamp"}


@pytest.fixture
def options(client):
    """options(name=value, ...) changes settings as a client does, for one test."""
    before = {}

    def change(**values):
        found = client.get("/sdapi/v1/options").json()
        before.update({name: found[name] for name in values if name not in before})
        assert client.post("/sdapi/v1/options", json=values).status_code == 200

    yield change
    client.post("/sdapi/v1/options", json=before)


@pytest.fixture
def end_of():
    """Kills the process of a worker."""
    return lambda worker: worker.link.process.send_signal(signal.SIGKILL)


@pytest.fixture
def alone(monkeypatch):
    """Calls something as if there were no workers."""

    def call(function, *args, **fields):
        with monkeypatch.context() as context:
            context.setattr(elsewhere, "carrier", None)
            return function(*args, **fields)

    return call


def test_thirty_jobs_are_made_by_both_and_as_by_one_process(client, pool, alone):
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda seed: classic(client, seed=seed), range(30)))
    assert [said(answer)["seed"] for answer in answers] == list(range(30))
    made = {worker.name: worker.link.process.pid for worker in pool.workers}
    assert list(made) == ["cpu*1", "cpu*2"] and len(set(made.values())) == 2
    expected = alone(classic, client, seed=29)
    assert pixels(answers[29]) == pixels(expected) and said(answers[29]) == said(expected)


def test_a_run_that_is_shared_equals_one_of_one_process(client, pool, alone, options, tmp_path, monkeypatch):
    help = pool.help

    def run(folder, **fields):
        options(outdir_txt2img_samples=str(folder / "s"), outdir_txt2img_grids=str(folder / "g"))
        answer = classic(client, **fields | {"n_iter": 4, "batch_size": 2, "save_images": True, "seed": 7})
        files = {path.name: Image.open(path).text["parameters"] for path in sorted(folder.rglob("*.png"))}
        return answer, files

    helped = []
    monkeypatch.setattr(pool, "help", lambda *args: helped.append(args[0]) or help(*args))
    for number, fields in enumerate([{}, {"subseed_strength": 0.3, "sampler_name": "Euler a", "steps": 2}]):
        shared_run, files = run(tmp_path / f"{number}-shared", **fields)
        one, expected = alone(run, tmp_path / f"{number}-one", **fields)
        assert pixels(shared_run) == pixels(one)
        assert said(shared_run) == said(one)
        assert files == expected and len(files) == 9
    assert len(helped) >= 2


def test_progress_previews_and_the_end_of_one_of_two(client, pool):
    first, second = ask(client, **LONG), ask(client, **LONG)
    for id in (first, second):
        begun(client, id)
    page = {"id_task": first, "id_live_preview": -1}
    until(lambda: client.post("/internal/progress", json=page).json()["live_preview"])
    assert client.post("/internal/progress", json=page).json()["active"]
    state = client.get("/sdapi/v1/progress").json()
    assert state["state"]["job_count"] == 8 and state["state"]["sampling_steps"] == 150 and state["progress"] > 0
    assert client.delete(f"/serena/v1/jobs/{quote(first)}").status_code == 200
    assert over(client, first)["state"] == "interrupted"
    assert get(client, second)["state"] == "running"
    client.post("/sdapi/v1/interrupt")
    assert over(client, second)["state"] == "interrupted"


def test_a_job_that_waits_is_cancelled(client, pool):
    running = [ask(client, **LONG) for _ in range(2)]
    until(lambda: all(get(client, id)["state"] == "running" for id in running))
    waiting = ask(client)
    assert get(client, waiting)["state"] == "queued" and get(client, waiting)["position"] == 1
    client.delete(f"/serena/v1/jobs/{quote(waiting)}")
    assert get(client, waiting)["state"] == "cancelled"
    client.post("/sdapi/v1/interrupt")
    assert {over(client, id)["state"] for id in running} == {"interrupted"}


def test_settings_styles_and_errors_go_both_ways(client, pool, alone, options):
    options(CLIP_stop_at_last_layers=2)
    assert said(classic(client))["clip_skip"] == 2
    style = next(iter(shared.prompt_styles.styles))
    assert "red apple" in said(classic(client, styles=[style]))["prompt"]
    wrong = SMALL | {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "no such"}
    refused, expected = (
        client.post("/sdapi/v1/txt2img", json=wrong),
        alone(client.post, "/sdapi/v1/txt2img", json=wrong),
    )
    assert (refused.status_code, refused.json()) == (expected.status_code, expected.json())
    assert refused.status_code in (404, 422)


def test_the_hash_of_a_checkpoint_is_learned_from_who_has_read_it(client, pool):
    known = checkpoints.named(shared.opts.sd_model_checkpoint).sha256
    with pytest.MonkeyPatch.context() as context:
        context.setattr(hashes, "sha256_from_cache", lambda *_: None)
        checkpoints.scan()
        assert [info.sha256 for info in checkpoints.checkpoints_list.values()] == [None]
        shared.opts.data["sd_model_checkpoint"] = checkpoints.first().title
        classic(client)
    assert checkpoints.first().sha256 == known
    assert checkpoints.checkpoints_list[shared.opts.sd_model_checkpoint].shorthash in shared.opts.sd_model_checkpoint


def test_a_job_is_ended_that_waits_for_a_worker_which_does_not_come(client, pool):
    idle, pool._idle[:] = list(pool._idle), []
    try:
        id = ask(client)
        until(lambda: get(client, id)["state"] == "running")
        client.delete(f"/serena/v1/jobs/{quote(id)}")
        job = over(client, id)
    finally:
        pool._idle[:] = idle
    assert (job["state"], job["images"]) == ("interrupted", 0) and "before a worker was free" in job["error"]


def test_models_of_workers_are_moved_between_jobs(client, pool, monkeypatch):
    said = []
    for worker in pool.workers:
        send = worker.link.send
        monkeypatch.setattr(worker.link, "send", lambda message, send=send: said.append(message[0]) or send(message))
    for name in ("unload", "reload"):
        assert client.post(f"/sdapi/v1/{name}-checkpoint").json() == {}
    assert said == ["unload", "unload", "reload", "reload"]
    assert len(classic(client, n_iter=2)["images"]) == 2


def test_work_that_no_worker_can_do_is_done_here(client, pool):
    assert call_queue.submit("here", lambda: call_queue.queue.line.is_own()).future.result()


def test_what_a_lost_worker_has_not_finished_is_made_elsewhere(client, pool, alone, options, end_of, tmp_path):
    options(outdir_txt2img_samples=str(tmp_path))
    fields = {"n_iter": 6, "steps": 8, "seed": -1}
    id = ask(client, **fields, save_images=True)
    until(lambda: list(tmp_path.rglob("*.png")))
    leading = next(worker for worker in pool.workers if worker.task and worker.task.share == "lead")
    end_of(leading)
    job = over(client, id)
    assert job["state"] == "done" and re.search("killed by signal 9|process has died", job["error"]), job
    assert len(job["infotexts"]) == 7  # with the grid
    files = sorted(path.name for path in tmp_path.rglob("*.png"))
    numbers = [int(name[:5]) for name in files]
    assert len(set(numbers)) == 6 and numbers[-1] <= 6  # at most the one that was reserved when it died is left out
    seed = int(files[0].removesuffix(".png").split("-")[1])
    one = alone(classic, client, **fields | {"seed": seed})
    assert said(one)["infotexts"] == job["infotexts"][1:]


@pytest.mark.parametrize("numbered", [True, False])
def test_files_of_a_part_that_is_made_again_are_there_once(
    client, pool, options, end_of, tmp_path, monkeypatch, numbered
):
    options(outdir_txt2img_samples=str(tmp_path), save_images_add_number=numbered, samples_filename_pattern="0-[seed]")
    monkeypatch.setattr(executors_pool.SharedRun, "_note_finished", lambda *_: None)
    id = ask(client, n_iter=4, steps=8, save_images=True)
    until(lambda: list(tmp_path.rglob("*.png")))
    end_of(next(worker for worker in pool.workers if worker.task and worker.task.share == "lead"))
    assert over(client, id)["state"] == "done"
    files = [path.name for path in tmp_path.rglob("*.png")]
    assert sorted(name.removesuffix(".png").split("-")[-1] for name in files) == ["3", "4", "5", "6"], files
