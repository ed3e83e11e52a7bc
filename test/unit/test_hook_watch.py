"""Code of extensions that hangs is named while it hangs."""

import threading
import time

import pytest

from modules import extensions, hook_records, hook_watch, shared
from modules.hook_records import Call
from modules.hook_watch import HookWatch

CODE = """
def hangs(event):
    event.wait()
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A script of the extension "slow", and its function that waits for an event."""
    path = tmp_path / "slow" / "scripts" / "main.py"
    found = extensions.Extension("slow", str(tmp_path / "slow"))
    monkeypatch.setitem(extensions.extension_paths, str(tmp_path / "slow"), found)
    names = {}
    exec(compile(CODE, str(path), "exec"), names)
    return str(path), names["hangs"]


@pytest.fixture
def watched(monkeypatch):
    """A watch that finds every call of a hundredth of a second too long."""
    watch = HookWatch(lambda: 0.01, poll_seconds=0.01)
    monkeypatch.setattr(hook_records, "watch", watch)
    return watch


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_hook_that_hangs_is_named_with_its_place_while_it_hangs_and_when_it_has_ended(watched, script, caplog):
    path, hangs = script
    may_end = threading.Event()

    def work():
        with Call("process", path):
            hangs(may_end)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: f"Hook process of extension slow [{path}] has been running" in caplog.text)
    assert f"it is at {path}, line 3, in hangs" in caplog.text and "has ended" not in caplog.text
    may_end.set()
    thread.join()
    assert f"Hook process of extension slow [{path}] has ended after" in caplog.text
    assert not watched._threads and not watched._next


def test_of_calls_within_calls_the_innermost_is_named_and_each_less_often_the_longer_it_takes(
    script, monkeypatch, caplog
):
    path, _ = script
    watch = HookWatch(lambda: 5.0, poll_seconds=600)
    monkeypatch.setattr(hook_records, "watch", watch)
    with Call("ui", path) as outer, Call("after_component", path) as inner:
        assert list(watch.innermost()) == [(inner, threading.get_ident())]
        for seconds in (4, 6, 11, 13, 25, 27):
            inner.started = time.perf_counter() - seconds
            watch.look_at(inner, threading.get_ident())
    assert [record.args[2] for record in caplog.records] == pytest.approx([6, 13, 27, 27], abs=0.9)
    assert {record.args[0] for record in caplog.records} == {inner.hook} != {outer.hook}


def test_zero_names_nothing(script, monkeypatch, caplog):
    watch = HookWatch(lambda: 0.0, poll_seconds=600)
    monkeypatch.setattr(hook_records, "watch", watch)
    with Call("process", script[0]) as call:
        call.started -= 1e6
        watch.look_at(call, threading.get_ident())
    assert not caplog.records


def test_the_limit_is_a_setting_and_the_watch_has_one_thread():
    with shared.opts.overlay({"hook_seconds": 7}):
        assert hook_watch.watch._limit() == 7
    for _ in range(3):
        with Call("process", "a.py"):
            pass
    assert [thread.name for thread in threading.enumerate()].count("hook watch") >= 1
    assert hook_watch.watch._watcher is not None and hook_watch.watch._watcher.daemon


def test_where_a_thread_is_that_has_ended_is_not_told():
    assert hook_watch.place_in(-1, "a.py") == ""
    assert "hook_watch.py, line" in hook_watch.place_in(threading.get_ident(), "elsewhere.py")
