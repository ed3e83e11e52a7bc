"""The state of a job that workers carry out."""

import pytest

from modules import shared
from modules.executors.remote_state import RemoteState


@pytest.fixture
def state():
    made = RemoteState(shared.opts)
    made.begin("a job")
    return made


def report(job_no, step):
    return {
        "job_no": job_no,
        "job_count": 4,
        "sampling_step": step,
        "sampling_steps": 10,
        "job": "Batch",
        "skipped": False,
    }


def test_what_all_workers_have_done_is_added_up(state):
    assert state.share() == 0
    state.report("a", report(1, 5), is_leading=True)
    state.report("b", report(1, 0), is_leading=False)
    assert state.share() == pytest.approx(0.25 + 0.125 + 0.25)
    assert (state.job, state.job_no, state.sampling_step) == ("Batch", 2, 5)
    state.forget("b")
    assert state.share() == pytest.approx(0.375)


def test_wishes_reach_those_who_follow_also_later_ones(state):
    early, late = [], []
    leave = state.follow(early.append)
    state.skip()
    state.interrupt()
    state.follow(late.append)
    leave()
    state.stop_generating()
    assert (early, late) == (["skip", "interrupt"], ["interrupt", "stop_generating"])


def test_a_preview_is_asked_for_and_shown_when_it_comes(state):
    wishes = []
    state.follow(wishes.append)
    for _ in range(3):
        state.set_current_image()
    assert wishes == ["preview"] and state.current_image is None
    state.show("an image")
    assert (state.current_image, state.id_live_preview) == ("an image", 1)
