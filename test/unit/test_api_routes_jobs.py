"""The routes of jobs on the real program: asked for, watched, cancelled, moved, made again; classic requests too."""

import base64
import io
import os
import time
from urllib.parse import quote

import pytest
from PIL import Image

from modules import call_queue, jobs, shared

SECONDS = 60
JOBS = "/serena/v1/jobs"
SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "seed": 3}


def submit(client, kind="txt2img", wishes=(), **fields):
    answer = client.post(JOBS, json={"kind": kind, "request": SMALL | fields} | dict(wishes))
    assert answer.status_code == 202, answer.text
    return answer.json()


def get(client, job):
    return client.get(f"{JOBS}/{quote(job['id'])}").json()


def over(client, job):
    deadline = time.monotonic() + SECONDS
    while (job := get(client, job))["state"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def image_of(client, job, n=0):
    answer = client.get(f"{JOBS}/{quote(job['id'])}/images/{n}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


def test_a_job_is_asked_for_and_fetched_later(client):
    job = submit(client)
    assert (job["kind"], job["state"], job["images"], job["error"]) == ("txt2img", "queued", 0, None)
    job = over(client, job)
    assert (job["state"], job["images"], job["progress"], job["position"]) == ("done", 1, 1, None)
    assert job["infotexts"][0].startswith("red apple\nSteps: 1")
    image = image_of(client, job)
    assert image.text["parameters"] == job["infotexts"][0]
    classic = client.post("/sdapi/v1/txt2img", json=SMALL)
    assert image.tobytes() == Image.open(io.BytesIO(base64.b64decode(classic.json()["images"][0]))).tobytes()


def test_a_classic_answer_names_its_job_whose_images_stay(client):
    answer = client.post("/sdapi/v1/txt2img", json=SMALL | {"force_task_id": "mein Bild ä/1"})
    assert answer.headers["X-Serena-Job"] == "mein Bild %C3%A4/1"
    assert get(client, {"id": "mein Bild ä/1"})["state"] == "done"
    blanks = client.post("/sdapi/v1/txt2img", json=SMALL | {"force_task_id": "  my picture "})
    assert blanks.headers["X-Serena-Job"] == "%20 my picture%20", "no header begins or ends with a blank"
    long = client.post("/sdapi/v1/txt2img", json=SMALL | {"force_task_id": "i" * 5000})
    assert "X-Serena-Job" not in long.headers and long.status_code == 200
    answer = client.post("/sdapi/v1/txt2img", json=SMALL | {"send_images": False})
    assert answer.json()["images"] == []
    job = get(client, {"id": answer.headers["X-Serena-Job"]})
    assert job["state"] == "done" and image_of(client, job).size == (64, 64)
    failed = client.post("/sdapi/v1/txt2img", json=SMALL | {"script_name": "nope"})
    assert failed.status_code >= 400 and "X-Serena-Job" not in failed.headers, "refused before it was a job"


def test_an_image_that_was_saved_is_the_users_file(client, settings, tmp_path):
    job = over(client, submit(client, save_images=True, override_settings={"samples_filename_pattern": "kept"}))
    row = jobs.journal().store.get(job["id"])
    assert (
        row.results[0]["file"].startswith(str(shared.opts.outdir_txt2img_samples)) or "kept" in row.results[0]["file"]
    )
    assert image_of(client, job).size == (64, 64)


@pytest.mark.parametrize("kind", ["extra-single-image", "extra-batch-images"])
def test_enlarging_is_a_job_too(client, kind):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "orange").save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    source = {"image": data} if kind == "extra-single-image" else {"imageList": [{"data": data, "name": "a"}]}
    body = {"kind": kind, "request": source | {"upscaling_resize": 2, "upscaler_1": "Nearest"}}
    job = over(client, client.post(JOBS, json=body).json())
    assert job["state"] == "done", job
    assert image_of(client, job).size == (16, 16)


def test_waiting_jobs_have_positions_and_are_moved_and_cancelled(client):
    with call_queue.queue_lock:
        first, second, third = (submit(client, prompt=f"cat {name}") for name in ("Anna", "Berta", "Cilly"))
        assert [get(client, job)["position"] for job in (first, second, third)] == [1, 2, 3]
        urgent = submit(client, wishes={"priority": 5})
        assert (urgent["position"], get(client, first)["position"]) == (1, 2)
        order = client.post(f"{JOBS}/reorder", json={"ids": [third["id"]]}).json()["ids"]
        assert order == [urgent["id"], third["id"], first["id"], second["id"]]
        assert client.delete(f"{JOBS}/{quote(first['id'])}").json()["state"] == "cancelled"
        listed = client.get(JOBS, params={"text": "CAT bert", "state": "queued"}).json()
        assert listed["total"] == 1 and listed["jobs"][0]["id"] == second["id"]
    for job in (urgent, third, second):
        assert over(client, job)["state"] == "done"
    assert get(client, first)["images"] == 0


def test_the_running_job_ends_early_and_keeps_what_it_has(client):
    job = submit(client, steps=150, n_iter=2)
    deadline = time.monotonic() + SECONDS
    while not shared.state.sampling_step:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert get(client, job)["state"] == "running"
    assert client.delete(f"{JOBS}/{quote(job['id'])}").json()["state"] in ("running", "interrupted")
    job = over(client, job)
    assert job["state"] == "interrupted"
    again = client.delete(f"{JOBS}/{quote(job['id'])}")
    assert again.status_code == 200 and again.json()["state"] == "interrupted"


def test_a_job_is_made_again_with_the_seeds_it_had(client):
    job = over(client, submit(client, seed=-1, subseed=-1, subseed_strength=0.5))
    answer = client.post(f"{JOBS}/{quote(job['id'])}/retry")
    assert answer.status_code == 202 and answer.json()["id"] != job["id"]
    again = over(client, answer.json())
    assert again["infotexts"] == job["infotexts"]
    assert image_of(client, again).tobytes() == image_of(client, job).tobytes()


def test_pages_of_the_list(client):
    made = [over(client, submit(client)) for _ in range(3)]
    first = client.get(JOBS, params={"limit": 1}).json()
    second = client.get(JOBS, params={"limit": 1, "offset": 1}).json()
    assert [first["jobs"][0]["id"], second["jobs"][0]["id"]] == [made[2]["id"], made[1]["id"]]
    assert first["total"] == second["total"] >= 3
    # "since", as all jobs that other tests have made may be more than a page holds.
    oldest = client.get(JOBS, params={"oldest_first": True, "since": made[0]["submitted"]}).json()["jobs"]
    assert [job["id"] for job in oldest] == [job["id"] for job in made]
    assert oldest == client.get(JOBS, params={"since": made[0]["submitted"]}).json()["jobs"][::-1]
    assert client.get(JOBS, params={"user": "nobody"}).json() == {"jobs": [], "total": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", "", {"kind": "painting", "request": {}}, 422, "kind"),
        ("POST", "", {"kind": "img2img", "request": {}}, 404, "init_images"),
        ("POST", "", {"kind": "txt2img", "request": {"width": 10**9}}, 422, "width"),
        ("GET", "/nope", None, 404, "id"),
        ("DELETE", "/nope", None, 404, "id"),
        ("POST", "/nope/retry", None, 404, "id"),
        ("GET", "/nope/images/0", None, 404, "id"),
        ("GET", "/..%2F..%2Fjobs.sqlite3", None, 404, "id"),
    ],
)
def test_what_is_wrong_is_named(client, method, path, body, status, field):
    answer = client.request(method, JOBS + path, json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


def test_a_request_that_does_not_fit_says_where(client):
    answer = client.post(JOBS, json={"kind": "txt2img", "request": {"steps": "many"}})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "request", "steps"]


def test_too_many_jobs_are_told_when_to_come_again(client, settings):
    with call_queue.queue_lock:
        job = submit(client)
        shared.opts.data["jobs_limit"] = 1
        try:
            answer = client.post(JOBS, json={"kind": "txt2img", "request": SMALL})
            assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
            assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 429
        finally:
            del shared.opts.data["jobs_limit"]
    assert over(client, job)["state"] == "done"


def test_an_image_that_is_gone_says_so(client):
    job = over(client, submit(client))
    jobs.journal().spool.remove(jobs.journal().store.get(job["id"]).number)
    answer = client.get(f"{JOBS}/{quote(job['id'])}/images/0")
    assert answer.status_code == 404 and "is gone" in answer.json()["detail"]
    assert client.get(f"{JOBS}/{quote(job['id'])}/images/1").json()["field"] == "n"


def test_the_page_has_the_same_without_the_api(client):
    job = over(client, submit(client))
    place = f"/internal/jobs/{quote(job['id'])}"
    assert client.get(place).json() == job
    with pytest.MonkeyPatch.context() as context:
        context.setattr(jobs.journal().spool, "put", lambda *_: os.stat("no such file"))
        whole = client.get(f"{place}/images/0", params={"thumbnail": True})
    assert whole.headers["content-type"] == "image/png", "where there is no room for a small copy"
    small = client.get(f"{place}/images/0", params={"thumbnail": True})
    assert small.headers["content-type"] == "image/webp" and max(Image.open(io.BytesIO(small.content)).size) <= 192
    assert client.get("/internal/jobs", params={"limit": 1}).json()["jobs"][0]["id"] == job["id"]
    assert client.post("/internal/jobs", json={}).status_code in (404, 405), "asking for jobs needs --api"


@pytest.mark.parametrize("login", ["page_user", "user"])
def test_whoever_is_logged_in_to_the_page_or_the_api_sees_the_own_jobs(login):
    from starlette.requests import Request

    from modules.api import routes_jobs
    from modules.errors import NotFound
    from modules.job.row import Row

    store = jobs.journal().store
    for user in ("ann", "bob", None):
        store.add(Row(f"of {user}", "txt2img", user=user), None)

    def request(user):
        made = Request({"type": "http", "headers": []})
        setattr(made.state, login, user)
        return made

    assert routes_jobs.get_job("of ann", request("ann"))["user"] == "ann"
    for other in ("of bob", "of None"):
        for act in (routes_jobs.get_job, routes_jobs.cancel_job, routes_jobs.retry_job):
            with pytest.raises(NotFound):
                act(other, request("ann"))
    assert {
        row["user"] for row in routes_jobs.list_jobs(request("ann"), user="bob", text="", limit=9, offset=0)["jobs"]
    } == {"ann"}
    assert routes_jobs.get_job("of bob", request(None))["user"] == "bob"
