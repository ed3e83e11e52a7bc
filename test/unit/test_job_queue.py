"""Jobs and the one line in which they and the threads that hold the device themselves stand."""

import asyncio
import contextvars
import gc
import threading
import weakref
from functools import partial

import pytest

from modules import errors
from modules.job.queue import HISTORY, Job, JobQueue, JobState, create_task_id

SECONDS = 10


@pytest.fixture
def queue():
    made = JobQueue(measure=lambda: 0.5)
    yield made
    made.close(SECONDS)


def wait_for(condition):
    """Lets other threads work until something is so."""
    for _ in range(SECONDS * 1000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def test_a_job_lives_from_queued_to_done(queue):
    entered, may_end = threading.Event(), threading.Event()

    def work():
        entered.set()
        may_end.wait(SECONDS)
        return "image"

    with queue.line:
        job = queue.submit(Job("work", "task(1)", user="ann"), work)
        (status,) = queue.statuses()
        assert (status.state, status.position, status.progress, status.started) == (JobState.QUEUED, 1, 0.0, None)
        assert (status.id, status.user, status.name, status.is_task) == ("task(1)", "ann", "work", True)
    assert entered.wait(SECONDS)
    (status,) = queue.statuses()
    assert (status.state, status.position, status.progress) == (JobState.RUNNING, None, 0.5)
    assert queue.running() is job and queue.find("task(1)") is job
    may_end.set()
    assert job.future.result(SECONDS) == "image"
    (status,) = queue.statuses()
    assert (status.state, status.progress, status.error) == (JobState.DONE, 1.0, None)
    assert status.submitted <= status.started <= status.ended
    assert queue.running() is None and queue.find("task(1)") is None and not queue.line.locked()


def test_a_failed_job_keeps_its_message_and_hands_its_error_over(queue):
    def work():
        raise errors.InvalidInput("too large")

    with pytest.raises(errors.InvalidInput):
        queue.submit(Job("work"), work).future.result(SECONDS)
    (status,) = queue.over()
    assert (status.state, status.error) == (JobState.FAILED, "too large")
    assert queue.submit(Job("next"), lambda: 1).future.result(SECONDS) == 1


def test_jobs_and_threads_stand_in_one_line(queue):
    order = []

    def holds(name):
        with queue.hold(Job(name)):
            order.append(name)

    def locks(name):
        with queue.line:
            order.append(name)

    threads = []
    with queue.line:
        for number in range(12):
            name = f"{number}"
            lined_up = len(queue.line._waiting)
            if number % 3 == 0:
                queue.submit(Job(name), lambda name=name: order.append(name))
            else:
                threads.append(threading.Thread(target=holds if number % 3 == 1 else locks, args=(name,)))
                threads[-1].start()
            wait_for(lambda expected=lined_up + 1: len(queue.line._waiting) == expected)
    for thread in threads:
        thread.join(SECONDS)
    assert order == [f"{number}" for number in range(12)]


def test_a_cancelled_job_never_runs_and_the_others_move_up(queue):
    ran = []
    with queue.line:
        jobs = [queue.submit(Job("work", f"task({n})"), lambda n=n: ran.append(n)) for n in range(3)]
        assert [queue.position(job) for job in jobs] == [1, 2, 3]
        assert queue.cancel(jobs[0]) and queue.cancel(queue.find("task(1)"))
        assert [queue.position(job) for job in jobs] == [None, None, 1]
        assert not queue.cancel(jobs[0]) and queue.find("task(1)") is None
    jobs[2].future.result(SECONDS)
    assert ran == [2]
    assert [status.state for status in queue.over()] == [JobState.CANCELLED, JobState.CANCELLED, JobState.DONE]
    assert not queue.line.locked()


def test_a_running_job_can_not_be_cancelled(queue):
    entered, may_end = threading.Event(), threading.Event()
    job = queue.submit(Job("work", "task(1)"), lambda: (entered.set(), may_end.wait(SECONDS)))
    assert entered.wait(SECONDS)
    assert not queue.cancel(job)
    may_end.set()
    assert job.future.result(SECONDS)[1] is True


def test_a_job_cancelled_in_the_moment_its_turn_comes_gives_the_line_on(queue, monkeypatch):
    """The turn has come, the thread has not begun: the place is given up by whoever cancels."""
    handed_over, go_on = threading.Event(), threading.Event()
    begin = Job.begin

    def slow_begin(job):
        if job.name == "late":
            handed_over.set()
            go_on.wait(SECONDS)
        return begin(job)

    monkeypatch.setattr(Job, "begin", slow_begin)
    late = queue.submit(Job("late"), lambda: pytest.fail("it must not run"))
    assert handed_over.wait(SECONDS)
    assert queue.cancel(late)
    after = queue.submit(Job("after"), lambda: "ran")
    go_on.set()
    assert after.future.result(SECONDS) == "ran" and not queue.line.locked()


def test_a_thread_that_stops_waiting_gives_up_its_place(queue, monkeypatch):
    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    with queue.line:
        queue.line._owner = None  # it is another thread's
        with monkeypatch.context() as patch:
            patch.setattr("modules.job.queue.threading.Event", Interrupted)
            with pytest.raises(KeyboardInterrupt), queue.hold(Job("impatient")):
                pytest.fail("it must not run")
        assert not queue.line._waiting and queue.line.locked()
    assert not queue.line.locked() and queue.over()[0].state is JobState.CANCELLED


def test_work_sees_the_context_of_the_submitter_and_does_not_change_it(queue):
    variable = contextvars.ContextVar("variable", default="nobody's")
    variable.set("the submitter's")

    def work():
        seen = variable.get()
        variable.set("the job's")
        return seen

    assert queue.submit(Job("work"), work).future.result(SECONDS) == "the submitter's"
    assert variable.get() == "the submitter's"
    assert contextvars.Context().run(lambda: queue.submit(Job("work"), work).future).result(SECONDS) == "nobody's"


def test_one_named_daemon_thread_does_all_the_work(queue):
    threads = {queue.submit(Job("work"), threading.current_thread).future.result(SECONDS) for _ in range(5)}
    (thread,) = threads
    assert thread.name == "job worker" and thread.daemon
    assert not queue.line.is_own()
    assert queue.submit(Job("work"), queue.line.is_own).future.result(SECONDS)


def test_a_job_that_takes_the_line_again_gives_it_back_when_it_ends(queue):
    queue.submit(Job("work"), queue.line.acquire).future.result(SECONDS)
    with queue.hold(Job("work")):
        queue.line.acquire()
    assert not queue.line.locked()


def test_a_line_that_somebody_has_released_under_a_job_costs_nothing(queue):
    def work():
        thread = threading.Thread(target=queue.line.release)
        thread.start()
        thread.join()

    queue.submit(Job("work"), work).future.result(SECONDS)
    assert queue.submit(Job("work"), lambda: "next").future.result(SECONDS) == "next"


def test_a_job_inside_a_job_is_refused_instead_of_waited_for(queue):
    def work():
        with queue.hold(Job("inner")):
            pass

    with pytest.raises(RuntimeError, match="call the function itself"):
        queue.submit(Job("work"), work).future.result(SECONDS)
    assert not queue.line.locked() and not queue.live()


def test_closing_waits_for_the_running_job_and_cancels_the_rest_and_what_that_job_queues(queue):
    entered, may_end, told, late = threading.Event(), threading.Event(), [], []
    queue.listeners.append(told.append)

    def work():
        entered.set()
        may_end.wait(SECONDS)
        late.append(queue.submit(Job("late"), lambda: pytest.fail("it must not run")))
        return threading.current_thread()

    running = queue.submit(Job("running"), work)
    assert entered.wait(SECONDS)
    queued = queue.submit(Job("queued"), lambda: pytest.fail("it must not run"))
    queued.future.add_done_callback(lambda _: may_end.set())
    queue.close(SECONDS)
    assert queued.state is JobState.CANCELLED and running.state is JobState.DONE
    assert not running.future.result().is_alive()
    elsewhere = queue.submit(Job("elsewhere"), lambda: pytest.fail("it must not run"), is_elsewhere=True)
    assert {job.state for job in (*late, elsewhere)} == {JobState.CANCELLED} and not queue.live()
    assert told[-3:] == [*late, running, elsewhere]
    with queue.hold(Job("in the caller's thread")):
        assert queue.line.locked()


def test_what_is_over_is_remembered_up_to_a_number_and_without_results(queue):
    class Image:
        pass

    job = queue.submit(Job("work", "task(0)"), Image)
    image = weakref.ref(job.future.result(SECONDS))
    del job
    wait_for(lambda: gc.collect() is not None and image() is None)
    for number in range(HISTORY + 3):
        queue.submit(Job("work", f"task({number})"), int).future.result(SECONDS)
    assert len(queue.over()) == HISTORY
    assert queue.over()[-1].id == f"task({HISTORY + 2})"


def test_the_memory_of_a_failed_job_is_free_at_once(queue):
    """Nothing of it waits for the garbage collector: on a GPU that would be gigabytes."""
    alive = []

    class Latent:
        pass

    def work():
        latent = Latent()
        alive.append(weakref.ref(latent))
        raise ValueError("broken")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="broken"):
            queue.submit(Job("work"), work).future.result(SECONDS)
        wait_for(lambda: alive[0]() is None)
    finally:
        gc.enable()


def test_waiting_for_the_outcome_holds_no_thread_and_leaving_does_not_cancel(queue):
    async def waits():
        with queue.line:
            job = queue.submit(Job("work"), lambda: "image")
            impatient = asyncio.create_task(job.outcome())
            await asyncio.sleep(0)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
            assert job.state is JobState.QUEUED
        return await job.outcome()

    assert asyncio.run(waits()) == "image"


def test_the_outcome_of_a_cancelled_job_is_an_error_with_a_name(queue):
    async def waits():
        with queue.line:
            job = queue.submit(Job("work"), int)
            queue.cancel(job)
            await job.outcome()

    with pytest.raises(errors.Cancelled, match="before its turn"):
        asyncio.run(waits())


def test_a_long_queue_is_listed_and_emptied_quickly(queue):
    with queue.line:
        jobs = [queue.submit(Job("work", f"task({number})"), int) for number in range(2000)]
        assert [status.position for status in queue.statuses()] == list(range(1, 2001))
        assert queue.position(jobs[-1]) == 2000
        assert all(queue.cancel(job) for job in jobs)
        assert queue.waiting() == []


def test_task_ids_name_their_kind_and_leave_the_random_numbers_of_jobs_alone():
    import random

    random.seed(1)
    expected = random.random()
    random.seed(1)
    first, second = create_task_id("txt2img"), create_task_id("txt2img")
    assert first.startswith("task(txt2img-") and first.endswith(")") and first != second
    assert random.random() == expected


def run_all(queue, jobs):
    """Queues jobs while the device is taken; returns what said in which order they will run, and the order they ran."""
    order = []
    with queue.line:
        for job in jobs:
            queue.submit(job, lambda job=job: order.append(job.name))
        said = [job.name for job in queue.waiting()]
    wait_for(lambda: len(order) == len(jobs))
    return said, order


def test_users_have_their_turns_one_after_the_other(queue):
    names = [("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1"), ("cid", "c1"), ("bob", "b2")]
    said, order = run_all(queue, [Job(name, user=user) for user, name in names])
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"] == said
    said, order = run_all(queue, [Job("a4", user="ann"), Job("d1", user="dan"), Job("b3", user="bob")])
    assert order == ["d1", "b3", "a4"] == said, "who was served last comes last, who never was comes first"


def test_priority_comes_before_the_order_of_users(queue):
    jobs = [Job("a", user="ann"), Job("b", user="bob", priority=1), Job("c", user="bob", priority=2), Job("d")]
    said, order = run_all(queue, jobs)
    assert order == said and order[:2] == ["c", "b"]


def test_waiting_jobs_can_be_arranged(queue):
    order = []
    with queue.line:
        jobs = [queue.submit(Job(name), lambda name=name: order.append(name)) for name in "abcd"]
        moved = queue.arrange([jobs[2], jobs[0]])
        assert [job.name for job in queue.waiting()] == ["c", "a", "b", "d"]
        assert {job.name for job in moved} == {"a", "b", "c"}
        assert [queue.position(job) for job in jobs] == [2, 3, 1, 4]
    wait_for(lambda: len(order) == 4)
    assert order == ["c", "a", "b", "d"]


def test_whoever_is_cancelled_takes_nobody_elses_place(queue):
    """Jobs with priority take the places of those before them, while both are cancelled from another thread."""
    for attempt in range(30):
        done, at_once, most = [], [], []

        def work(name, done=done, at_once=at_once, most=most):
            at_once.append(name)
            most.append(len(at_once))
            done.append(name)
            at_once.remove(name)

        jobs = [queue.submit(Job(str(n), user=str(n % 3), priority=n % 4), partial(work, str(n))) for n in range(24)]
        unwanted = jobs[attempt % 3 :: 3]
        canceller = threading.Thread(target=lambda unwanted=unwanted: [queue.cancel(job) for job in unwanted])
        canceller.start()
        canceller.join(SECONDS)
        wait_for(lambda jobs=jobs: all(job.future.done() for job in jobs))
        wait_for(lambda: not queue.line.locked())
        assert max(most, default=1) == 1
        assert sorted(done) == sorted(job.name for job in jobs if not job.future.cancelled())
        assert queue.live() == []


def test_only_the_running_job_is_interrupted(queue):
    entered, may_end, stopped = threading.Event(), threading.Event(), []
    running = queue.submit(Job("runs"), lambda: (entered.set(), may_end.wait(SECONDS)))
    waiting = queue.submit(Job("waits"), lambda: None)
    assert entered.wait(SECONDS)
    assert not queue.interrupt(waiting, lambda: stopped.append("waiting"))
    assert queue.interrupt(running, lambda: stopped.append("running")) and running.is_interrupted
    may_end.set()
    waiting.future.result(SECONDS)
    assert not queue.interrupt(running, lambda: stopped.append("over")) and stopped == ["running"]


def test_listeners_hear_of_each_stage_and_cost_the_job_nothing(queue, caplog):
    heard = []

    def deaf(job):
        raise ValueError("deaf")

    queue.listeners += [deaf, lambda job: heard.append((job.name, str(job.state)))]
    queue.submit(Job("a"), lambda: 1).future.result(SECONDS)
    with queue.line:
        queue.cancel(queue.submit(Job("b"), lambda: 1))
    assert heard == [("a", "queued"), ("a", "running"), ("a", "done"), ("b", "queued"), ("b", "cancelled")]
    assert "deaf" in caplog.text


class Elsewhere:
    """Jobs that other processes carry out: each waits until it is let go."""

    def __init__(self, queue):
        self.queue = queue
        self.begun: list[str] = []
        self.may_end = {}

    def submit(self, id, **wishes):
        ends = self.may_end[id] = threading.Event()

        def work():
            self.begun.append(id)
            ends.wait(SECONDS)
            return id

        return self.queue.submit(Job("work", id, **wishes), work, is_elsewhere=True)


@pytest.fixture
def elsewhere(queue):
    made = Elsewhere(queue)
    yield made
    for ends in made.may_end.values():
        ends.set()


def test_jobs_for_other_processes_run_side_by_side_and_need_no_device(queue, elsewhere):
    queue.open_lanes(2)
    with queue.line:
        jobs = [elsewhere.submit(f"task({n})") for n in range(4)]
        wait_for(lambda: len(elsewhere.begun) == 2)
        assert set(elsewhere.begun) == {"task(0)", "task(1)"}
        assert queue.running_jobs() == jobs[:2] and queue.running() is None and queue.waiting() == jobs[2:]
        elsewhere.may_end["task(1)"].set()
        wait_for(lambda: "task(2)" in elsewhere.begun)
        assert jobs[1].future.result(SECONDS) == "task(1)" and queue.position(jobs[3]) == 1
    here = queue.submit(Job("here"), lambda: queue.running())
    assert here.future.result(SECONDS) is here and jobs[3].state is JobState.QUEUED


def test_they_come_in_turn_with_all_others(queue, elsewhere):
    queue.open_lanes(1)
    elsewhere.submit("first")
    wait_for(lambda: elsewhere.begun)
    jobs = [
        elsewhere.submit("ann 1", user="ann"),
        elsewhere.submit("ann 2", user="ann"),
        elsewhere.submit("bob", user="bob"),
    ]
    urgent = elsewhere.submit("urgent", user="ann", priority=1)
    assert queue.waiting() == [urgent, jobs[2], jobs[0], jobs[1]]
    assert queue.cancel(jobs[0]) and not queue.cancel(jobs[0]) and jobs[0].state is JobState.CANCELLED
    for id in ("first", "urgent", "bob", "ann 2"):
        wait_for(lambda id=id: elsewhere.begun[-1] == id)
        elsewhere.may_end[id].set()
    assert jobs[1].future.result(SECONDS) == "ann 2" and jobs[1].task is None
    assert elsewhere.begun == ["first", "urgent", "bob", "ann 2"]


def test_what_waits_is_cancelled_when_the_lanes_close(queue, elsewhere):
    queue.open_lanes(1)
    runs, waits = elsewhere.submit("runs"), elsewhere.submit("waits")
    wait_for(lambda: elsewhere.begun)
    queue.close_lanes(0)
    assert waits.state is JobState.CANCELLED and runs.state is JobState.RUNNING
    elsewhere.may_end["runs"].set()
    assert runs.future.result(SECONDS) == "runs"


def test_the_progress_of_a_job_elsewhere_is_its_own(queue, elsewhere):
    class Half:
        """A state."""

        def share(self):
            return 0.25

    queue.open_lanes(1)
    job = elsewhere.submit("task(x)")
    wait_for(lambda: elsewhere.begun)
    job.watched = Half()
    queue.note_seeds([1, 2], job)
    assert [status.progress for status in queue.statuses()] == [0.25] and job.seeds == [1, 2]
    elsewhere.may_end["task(x)"].set()
    wait_for(lambda: job.watched is None)
