"""What is written down of jobs: before they wait, while they run, when they are over, after the program was killed."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from modules import call_queue, errors, shared
from modules.job import request_json
from modules.job.journal import LARGE, LOST, Asked, Journal
from modules.job.plan import Plan, ResultImage
from modules.job.queue import JobQueue
from modules.job.row import State
from modules.job.spool import Spool
from modules.job.store import JobStore

SECONDS = 20
ROOT = Path(__file__).resolve().parent.parent.parent


class Program:
    """One run of the program on a data directory: a journal over a queue of its own."""

    def __init__(self, folder, monkeypatch):
        self.queue = JobQueue()
        self.made = []
        self.may_end = threading.Event()
        self.may_end.set()
        monkeypatch.setattr(call_queue, "queue", self.queue)
        self.journal = Journal(
            JobStore(folder / "jobs.sqlite3"), Spool(str(folder / "files")), self.queue, self.make_plan, self.again
        )

    def make_plan(self, kind, body):
        """A job that makes an image of a colour, and draws the seeds that it was not given."""
        if body.get("fails"):
            raise errors.InvalidInput("no such colour")

        def work():
            self.made.append(body)
            self.queue.note_seeds([body.get("seed", 41), body.get("subseed", 42)])
            if body.get("breaks"):
                raise errors.InvalidInput("broken")
            assert self.may_end.wait(SECONDS)
            return Image.new("RGB", (8, 8), body["colour"])

        return Plan(
            kind,
            work,
            lambda result, images: len(images),
            lambda image: [ResultImage(image, body["colour"], format=shared.opts.samples_format)],
        )

    @staticmethod
    def again(body, seeds):
        return body | dict(zip(("seed", "subseed"), seeds or (), strict=False))

    def submit(self, colour="red", **body):
        wishes = {name: body.pop(name) for name in ("user", "after_restart", "priority") if name in body}
        body |= {"colour": colour}
        return self.journal.submit(self.make_plan("paint", body), Asked("paint", body, text=colour, **wishes))

    def row(self, job):
        return self.journal.store.get(job.record.row.id)

    def over(self, job):
        """The row of a job once it is over."""
        job.record.kept.result(SECONDS)
        return self.row(job)

    def die(self):
        """What is left when the process is killed: nobody writes anything any more, and the file is free."""
        self.journal.store.update = self.journal.store.add = lambda *args, **values: None
        self.may_end.set()
        self.queue.close(SECONDS)
        self.journal.close()


@pytest.fixture
def start(tmp_path, monkeypatch, program):
    runs = []

    def run():
        runs.append(Program(tmp_path, monkeypatch))
        return runs[-1]

    yield run
    runs[-1].die()


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_a_job_is_written_down_from_first_to_last(start):
    run = start()
    changes = []
    run.journal.listeners.append(lambda row: changes.append(str(row.state)))
    with run.queue.line:
        job = run.submit("red")
        assert run.row(job).state == State.QUEUED and run.journal.body(run.row(job)) == {"colour": "red"}
    row = run.over(job)
    assert (row.state, row.text, row.seeds, row.error) == (State.DONE, "red", [41, 42], None)
    assert row.submitted <= row.started <= row.ended
    assert changes == ["queued", "running", "running", "done"], "the second time with its seeds"
    with Image.open(row.results[0]["file"]) as image:
        assert image.size == (8, 8) and row.results[0]["infotext"] == "red"


def test_images_that_were_saved_are_not_written_again(start, tmp_path):
    run = start()
    saved = tmp_path / "saved.png"
    Image.new("RGB", (4, 4)).save(saved)
    plan = Plan("x", lambda: 1, lambda *_: None, lambda result: [ResultImage(Image.new("RGB", (4, 4)), "", str(saved))])
    row = run.over(run.journal.submit(plan, Asked("paint", {})))
    assert row.results == [{"file": str(saved), "infotext": ""}] and run.journal.spool.numbers() == []


def test_what_was_asked_for_before_the_last_run_is_taken_up_is_not_taken_for_its(start):
    run = start()
    with run.queue.line:
        left = run.submit("red", after_restart="hold")
        run.die()
    run = start()
    run.may_end.clear()
    running, waiting = run.submit("green"), run.submit("blue", after_restart="run")
    wait_for(lambda: run.row(running).state == State.RUNNING)
    run.journal.restore()
    states = [run.row(job).state for job in (left, running, waiting)]
    assert states == [State.HELD, State.RUNNING, State.QUEUED]
    run.may_end.set()
    assert [run.over(job).state for job in (running, waiting)] == [State.DONE] * 2
    assert [body["colour"] for body in run.made] == ["green", "blue"]


def test_uploads_are_kept_as_long_as_the_job(start, tmp_path):
    file = tmp_path / "cat.txt"
    file.write_text("red")
    run = start()
    body, uploads = request_json.without_uploads({"colour": "red", "files": [str(file)]}, os.path.isfile)
    assert body == {"colour": "red", "files": [{"$upload": "0/cat.txt"}]}
    with run.queue.line:
        asked = Asked("paint", body, after_restart="run", uploads=uploads)
        job = run.journal.submit(run.make_plan("paint", body), asked)
        run.die()
    file.unlink()
    run = start()
    run.journal.restore()
    wait_for(lambda: run.made)
    (again,) = run.made[-1]["files"]
    assert again.endswith("/uploads/0/cat.txt") and Path(again).read_text() == "red"
    wait_for(lambda: run.row(job).state == State.DONE)
    retried = run.journal.retry(run.row(job))
    assert run.over(retried).state == State.DONE
    (own,) = run.made[-1]["files"]
    assert own != again and Path(own).read_text() == "red"
    Path(own).unlink()
    count = run.journal.store.find()[1]
    with pytest.raises(errors.NotFound, match="uploaded for this job"):
        run.journal.retry(run.row(retried))
    assert run.journal.store.find()[1] == count


def test_images_are_kept_in_the_format_of_the_answer(start, settings):
    run = start()
    for image_format in ("png", "jpg", "webp"):
        settings(samples_format=image_format)
        row = run.over(run.submit("green"))
        assert row.results[0]["file"].endswith(f"0.{image_format}")


def test_errors_and_interruptions_are_written_down(start):
    run = start()
    failed = run.submit("red", breaks=True)
    with pytest.raises(errors.InvalidInput):
        failed.future.result(SECONDS)
    row = run.over(failed)
    assert (row.state, row.error, row.seeds) == (State.FAILED, "broken", [41, 42])

    run.may_end.clear()
    stopped = run.submit("blue")
    wait_for(lambda: run.row(stopped).state == State.RUNNING)
    shared.state.interrupted = False
    assert run.journal.cancel(run.row(stopped)) and shared.state.interrupted
    run.may_end.set()
    row = run.over(stopped)
    assert row.state == State.INTERRUPTED and len(row.results) == 1, "what it has made so far is its result"
    assert not run.journal.cancel(row)


def test_a_waiting_job_is_cancelled_at_once(start):
    run = start()
    with run.queue.line:
        job = run.submit()
        assert run.journal.cancel(run.row(job)) and run.row(job).state == State.CANCELLED
    assert run.made == []


def test_results_that_cannot_be_kept_fail_the_job_and_nobody_waits_for_ever(start, monkeypatch, caplog):
    run = start()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.journal.spool, "put", full)
    job = run.submit()
    assert run.over(job).results == [{"file": None, "infotext": "red"}]
    assert job.record.kept.result()[0].content, "who waits gets the image all the same"

    with monkeypatch.context() as context, pytest.raises(errors.NotSaved):
        context.setattr(run.journal.store, "add", lambda row, body: row)
        run.journal.retry(run.row(job))

    plan = Plan("x", lambda: 1, lambda *_: None, lambda result: 1 / 0)
    job = run.journal.submit(plan, Asked("paint", {}))
    assert "division" in run.over(job).error and run.row(job).state == State.FAILED


def test_the_killed_run_leaves_lost_held_and_queued_jobs(start):
    run = start()
    run.may_end.clear()
    done = run.submit("green")
    run.may_end.set()
    run.over(done)
    run.may_end.clear()
    running = run.submit("red")
    held = run.submit("yellow", after_restart="hold")
    again = run.submit("blue", after_restart="run")
    dropped = run.submit("black", after_restart="drop")
    wait_for(lambda: run.row(running).seeds)
    run.die()

    run = start()
    run.may_end.clear()
    run.journal.restore()
    lost = run.row(running)
    assert (lost.state, lost.error) == (State.LOST, LOST)
    assert [run.row(job).state for job in (held, dropped, done)] == [State.HELD, State.CANCELLED, State.DONE]
    assert [job.id for job in run.queue.live()] == [run.row(again).id]

    retried = run.journal.retry(lost)
    taken_up = run.journal.retry(run.row(held))
    run.may_end.set()
    assert run.over(retried).state == run.over(taken_up).state == State.DONE
    assert run.over(retried).id != lost.id and run.row(held).state == State.DONE, (
        "a held job is itself, a retry another"
    )
    assert {"colour": "red", "seed": 41, "subseed": 42} in run.made


@pytest.mark.parametrize(("wish", "state"), [("hold", State.HELD), ("drop", State.CANCELLED)])
def test_a_setting_decides_for_all_that_waited(start, settings, wish, state):
    run = start()
    with run.queue.line:
        jobs = [run.submit(fate, after_restart=fate) for fate in ("hold", "run", "drop")]
        run.die()
    run = start()
    settings(jobs_after_restart=wish)
    run.journal.restore()
    assert {run.row(job).state for job in jobs} == {state}


def test_the_order_of_waiting_jobs_outlives_the_program(start):
    run = start()
    with run.queue.line:
        jobs = [run.submit(name, after_restart="run") for name in ("a", "b", "c", "d")]
        ids = [job.record.row.id for job in jobs]
        assert run.journal.arrange([ids[2], "no such job", ids[1]]) == [ids[2], ids[1], ids[0], ids[3]]
        run.die()
    run = start()
    with run.queue.line:
        run.journal.restore()
        assert [job.id for job in run.queue.waiting()] == [ids[2], ids[1], ids[0], ids[3]]
    wait_for(lambda: len(run.made) == 4)


def test_priority_outlives_the_program_for_the_job_that_begins_first(start, monkeypatch):
    run = start()
    with run.queue.line:
        for priority, colour in ((0, "red"), (5, "green"), (1, "blue")):
            run.submit(colour, priority=priority, after_restart="run")
        run.die()
    run = start()
    release = run.journal.release

    def release_and_wait(row):
        run.over(release(row))

    monkeypatch.setattr(run.journal, "release", release_and_wait)
    run.journal.restore()
    assert [body["colour"] for body in run.made] == ["green", "blue", "red"]


def test_a_job_that_can_no_longer_be_planned_says_so(start, monkeypatch):
    run = start()
    with run.queue.line:
        job = run.submit("red", fails=False, after_restart="run")
        run.die()
    run = start()
    monkeypatch.setattr(run.journal, "_make_plan", lambda kind, body: run.make_plan(kind, body | {"fails": True}))
    run.journal.restore()
    assert (run.row(job).state, run.row(job).error) == (State.FAILED, "no such colour")


def test_the_end_of_the_program_leaves_waiting_jobs_written_down(start):
    run = start()
    run.may_end.clear()
    running = run.submit("red")
    waiting = run.submit("blue")
    wait_for(lambda: run.row(running).state == State.RUNNING)
    run.journal.leave()
    run.may_end.set()
    run.queue.close(SECONDS)
    wait_for(lambda: run.row(running).state == State.DONE)
    assert run.row(waiting).state == State.QUEUED


def test_only_what_is_over_can_be_made_again(start):
    run = start()
    with run.queue.line:
        job = run.submit()
        with pytest.raises(errors.Busy, match="queued"):
            run.journal.retry(run.row(job))
    run.over(job)
    again = run.journal.retry(run.row(job))
    assert run.over(again).state == State.DONE and run.made[-1]["seed"] == 41


def test_large_requests_lie_in_the_spool_and_go_with_it(start, settings):
    run = start()
    image = "x" * LARGE
    job = run.submit("red", image=image)
    row = run.over(job)
    assert run.journal.store.body(row.number) is None and run.journal.body(row)["image"] == image
    run.journal.spool.remove(row.number)
    with pytest.raises(errors.NotFound, match="not kept"):
        run.journal.retry(row)


def test_limits_hold_for_all_and_for_each_user(start, settings):
    run = start()
    with run.queue.line:
        settings(jobs_limit=3, jobs_user_limit=2)
        jobs = [run.submit(user="ann"), run.submit(user="ann")]
        with pytest.raises(errors.TooManyJobs, match="jobs_user_limit"):
            run.submit(user="ann")
        jobs.append(run.submit(user="bob"))
        with pytest.raises(errors.TooManyJobs, match="jobs_limit"):
            run.submit(user="cid")
        assert run.journal.store.find()[1] == 3, "what was refused is not written down"
    for job in jobs:
        run.over(job)


def test_as_many_jobs_are_remembered_as_the_setting_says(start, settings):
    run = start()
    settings(jobs_history=5)
    for number in range(25):
        last = run.submit("red", number=number)
        run.over(last)
    wait_for(lambda: run.journal.store.find()[1] < 25)
    assert len(run.journal.spool.numbers()) < 25 and run.row(last) is not None


KILLED = """
import json, os, random, signal, sys, time
(folder, rounds), sys.argv[1:] = sys.argv[1:], []
from PIL import Image
from modules import call_queue
from modules.job import request_json
from modules.job.journal import LARGE, Asked, Journal
from modules.job.plan import Plan, ResultImage
from modules.job.queue import JobQueue
from modules.job.spool import Spool
from modules.job.store import JobStore

def make_plan(kind, body):
    image = Image.effect_noise((128, 128), 50).convert("RGB")  # large enough to be cut in the middle
    return Plan(kind, lambda: image, lambda *_: None, lambda made: [ResultImage(made, "noise")])

def run(say):
    call_queue.queue = queue = JobQueue()
    store, spool = JobStore(folder + "/jobs.sqlite3"), Spool(folder + "/files")
    journal = Journal(store, spool, queue, make_plan, lambda body, seeds: body)
    journal.restore()
    for number in range(1_000_000):
        body = {"image": "x" * LARGE if number % 3 == 0 else ""}
        jobs = [journal.submit(make_plan("noise", body), Asked("noise", body, after_restart="run")) for _ in range(2)]
        for job in jobs:
            job.record.kept.result()
            os.write(say, f"{job.record.row.id}\\n".encode())

told = []
for number in range(int(rounds)):
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        run(say)
    os.close(say)
    with os.fdopen(hear) as lines:
        for _ in range(random.randint(1, 8)):
            told.append(lines.readline().strip())
        time.sleep(random.random() / 50)
        os.kill(child, signal.SIGKILL)
        told += lines.read().split()
    os.waitpid(child, 0)
print(json.dumps(told))
"""


def test_a_program_killed_at_any_moment_loses_no_result_and_leaves_no_half_file(start, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), "5"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    run = start()
    with run.queue.line:
        run.journal.restore()
        store, spool = run.journal.store, run.journal.spool
        rows, total = store.find(limit=None)
        by_id = {row.id: row for row in rows}
        assert len(by_id) == total and len(told) >= 5
        for id in told:
            assert by_id[id].state == State.DONE, "what was told of is there"
        for row in rows:
            for result in row.results:
                with Image.open(result["file"]) as image:
                    image.load()
        results = {result["file"] for row in rows for result in row.results}
        for folder, _, names in os.walk(spool.folder):
            for name in names:
                assert name == "request.json" or os.path.join(folder, name) in results, f"{name} is nobody's"
        assert {row.state for row in rows} <= {State.DONE, State.LOST, State.QUEUED, State.FAILED}
        for job in run.queue.waiting():
            run.queue.cancel(job)
