"""Rows of jobs in a file: written, found, kept over the end of the process, owned by one."""

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from modules.job import store as job_store
from modules.job.row import Row, State
from modules.job.store import JobStore

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs" / "jobs.sqlite3")
    yield made
    made.close()


def add(store, id, **fields):
    return store.add(Row(id, "txt2img", submitted=time.time(), **fields), '{"prompt": "x"}')


def test_a_row_comes_back_as_it_was_written(store):
    row = add(store, "task(1)", user="ann", priority=2, text="red apple", place=1.5, after_restart="run")
    assert row.number == 1 and store.get("task(1)") == row and store.body(row.number) == '{"prompt": "x"}'
    results = [{"file": None, "infotext": "red"}]
    store.update(row.number, state=State.DONE, results=results, seeds=[2**63, 1], ended=3.0)
    found = store.get("task(1)")
    assert (found.state, found.results, found.seeds, found.ended) == (State.DONE, results, [2**63, 1], 3.0)
    assert store.get("task(2)") is None and store.body(99) is None


def test_a_row_that_a_full_disk_takes_back_has_no_number(store, caplog):
    def refuse(connection):
        raise sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))

    sa.event.listen(store._engine, "commit", refuse)
    assert add(store, "task(1)").number == 0 and "disk is full" in caplog.text
    sa.event.remove(store._engine, "commit", refuse)
    assert add(store, "task(2)").number == 1 and store.find()[1] == 1


def test_the_latest_of_several_jobs_with_an_id_is_meant(store):
    add(store, "mine")
    second = add(store, "mine")
    assert store.get("mine").number == second.number


def test_jobs_are_found_by_state_user_and_words(store):
    for number in range(30):
        add(store, f"task({number})", user="ann" if number % 3 else "bob", text=f"apple_{number} 100%")
    store.update(1, state=State.DONE)
    rows, total = store.find(limit=10)
    assert total == 30 and [row.number for row in rows] == list(range(30, 20, -1))
    rows, total = store.find(limit=10, offset=25)
    assert total == 30 and [row.number for row in rows] == [5, 4, 3, 2, 1]
    oldest = store.find(limit=3, offset=1, is_oldest_first=True)[0]
    assert [row.number for row in oldest] == [2, 3, 4]
    assert store.find(text="apple", limit=1, is_oldest_first=True)[0][0].number == 1
    assert store.find(states=[State.DONE])[1] == 1 and store.find(states=[State.DONE, State.QUEUED])[1] == 30
    assert store.find(user="bob")[1] == 10
    assert [row.id for row in store.find(text="100% APPLE_17")[0]] == ["task(17)"]
    assert store.find(text="TXT2IMG task(3)")[1] == 1 and store.find(text="app%le")[1] == 0
    assert store.find(text='7 "')[1] == 0 and store.find(text="7 00%")[1] == 3, "words of one letter, and quotes"
    assert store.find(text="app\0le_17 OR *")[1] == 0 and store.find(text="app\0_17")[1] == 1, "no word has a meaning"
    assert store.counts() == {"queued": 29, "done": 1}


def test_words_are_found_in_what_a_job_came_to_and_not_in_what_it_was(store):
    row = add(store, "a", text="a plum")
    store.update(row.number, text="eine Pflaume, 梅の実, ПЛОД", state=State.DONE)
    assert store.find(text="plum")[1] == 0
    for word in ("PFLAUM", "梅の実", "плод", "aume,"):
        assert store.find(text=word)[1] == 1, word
    store.forget([row.number])
    assert store.find(text="Pflaume") == ([], 0)


def test_jobs_are_found_by_model_and_date(store):
    for number in range(6):
        row = add(store, f"task({number})", user="ann" if number % 2 else "bob")
        store.update(row.number, model=f"model {number % 3}", submitted=100.0 + number)
    assert store.models() == ["model 0", "model 1", "model 2"] and store.models("nobody") == []
    assert [row.number for row in store.find(model="model 1")[0]] == [5, 2]
    assert [row.number for row in store.find(since=101, until=104, user="ann")[0]] == [4, 2]


def test_a_search_needs_no_index(store):
    add(store, "a", text="red apple")
    store._is_indexed = False
    assert store.find(text="pple RED")[1] == 1 and store.find(text="pear")[1] == 0


FIRST_VERSION = """
CREATE TABLE jobs (number INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, user TEXT,
    priority INTEGER NOT NULL, place FLOAT NOT NULL, after_restart TEXT NOT NULL, webhook TEXT, text TEXT NOT NULL,
    submitted FLOAT NOT NULL, started FLOAT, ended FLOAT, error TEXT, seeds JSON, results JSON NOT NULL,
    PRIMARY KEY (number));
CREATE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE requests (number INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (number),
    FOREIGN KEY(number) REFERENCES jobs (number) ON DELETE CASCADE);
INSERT INTO jobs VALUES (1, 'task(old)', 'txt2img', 'done', 'ann', 0, 1.0, 'hold', NULL,
    'red apple' || char(10) || 'Steps: 4, Sampler: Euler, Seed: 1, Size: 64x64, Model hash: ab, Model: fruit_v1', 1.0,
    2.0, 3.0, NULL, '[1, 2]', '[{"file": null, "infotext": "red apple"}]');
INSERT INTO jobs VALUES (2, 'task(next)', 'txt2img', 'queued', NULL, 0, 2.0, 'run', NULL, 'pear', 2.0, NULL, NULL, NULL,
    NULL, '[]');
INSERT INTO requests VALUES (2, '{"api": {}}');
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_version_is_brought_up_to_this_one(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_VERSION)
    for _ in range(2):
        store = JobStore(path)
        (row,), total = store.find(text="apple", model="fruit_v1")
        assert (row.id, row.seeds, row.webhook_tries, total) == ("task(old)", [1, 2], 0, 1)
        assert store.waiting()[0].id == "task(next)" and store.body(2) == '{"api": {}}'
        store.close()
    columns = "SELECT name, type, [notnull] FROM pragma_table_info('jobs') ORDER BY name"
    fresh = JobStore(tmp_path / "fresh.sqlite3")
    fresh.close()
    found = []
    for file in (path, fresh.path):
        with closing(sqlite3.connect(file)) as connection:
            indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name").fetchall()
            found.append((connection.execute(columns).fetchall(), indexes))
    assert found[0] == found[1], "it is like one that was made anew"


def test_a_change_of_the_tables_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_VERSION)

    def fails(connection):
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN half TEXT")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(job_store.STEPS, 1, fails)
        with pytest.raises(KeyboardInterrupt):
            JobStore(path)
    store = JobStore(path)
    assert store.find(text="apple")[1] == 1
    store.close()


def test_a_job_that_is_over_is_due_for_its_webhook(store):
    told = add(store, "told", webhook="https://example.org/")
    quiet = add(store, "quiet")
    dropped = add(store, "dropped", webhook="https://example.org/")
    store.update(told.number, state=State.RUNNING)
    assert store.due(9) == []
    store.update(told.number, state=State.DONE)
    store.update(quiet.number, state=State.DONE)
    store.update_all([dropped.number], state=State.CANCELLED)
    assert [row.id for row in store.due(9)] == ["told", "dropped"] and [row.id for row in store.due(1)] == ["told"]
    store.update(told.number, webhook_due=None)
    assert [row.id for row in store.due(9)] == ["dropped"]


def test_waiting_jobs_come_in_the_order_of_their_places(store):
    for place in (3.0, 1.0, 2.0):
        add(store, str(place), place=place)
    assert [row.id for row in store.waiting()] == ["1.0", "2.0", "3.0"]
    store.set_places({1: 0.5})
    assert [row.id for row in store.waiting()] == ["3.0", "1.0", "2.0"]
    store.update_all([1, 2], state=State.HELD)
    assert [row.id for row in store.waiting(State.HELD)] == ["3.0", "1.0"]
    assert [row.id for row in store.waiting()] == ["2.0"]


def test_forgotten_jobs_take_their_requests_along(store):
    for number in range(4):
        add(store, str(number))
    store.update_all([1, 3], state=State.DONE)
    assert [row.number for row in store.oldest(10)] == [1, 3]
    store.forget([1, 3])
    assert store.find()[1] == 2 and store.body(1) is None and store.body(2) is not None


def test_rows_outlive_a_process_that_is_killed(tmp_path):
    script = (
        "import os, signal, sys; from modules.job.row import Row; from modules.job.store import JobStore;"
        "store = JobStore(sys.argv[1]); row = store.add(Row('a', 'txt2img'), '{}');"
        "store.update(row.number, state='running'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "jobs.sqlite3"
    subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    store = JobStore(path)
    assert store.is_kept and store.get("a").state == State.RUNNING
    store.close()


def test_a_second_program_keeps_its_rows_to_itself(store, caplog):
    other = JobStore(store.path)
    assert not other.is_kept and "another program" in caplog.text
    add(other, "theirs")
    assert other.get("theirs") is not None and store.get("theirs") is None
    with other._writes() as connection:
        connection.execute(job_store.jobs.update().values(state="failed"))
        assert ThreadPoolExecutor(1).submit(other.get, "theirs").result().state != State.FAILED  # not written yet
    assert other.get("theirs").state == State.FAILED
    other.close()


@pytest.mark.parametrize("damage", ["version", "bytes"])
def test_an_unreadable_file_is_kept_aside(tmp_path, caplog, damage):
    path = tmp_path / "jobs.sqlite3"
    store = JobStore(path)
    add(store, "old")
    if damage == "version":
        with sa.create_engine(f"sqlite:///{path}").begin() as connection:
            connection.exec_driver_sql("PRAGMA user_version = 99")
    store.close()
    if damage == "bytes":
        path.write_bytes(b"no database at all" * 100)
    again = JobStore(path)
    assert again.find() == ([], 0) and "cannot be read" in caplog.text
    assert [name for name in os.listdir(tmp_path) if name.endswith(".unreadable")]
    again.close()


def test_what_cannot_be_written_is_a_warning(store, caplog):
    row = add(store, "a")
    with store._engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    assert add(store, "b").number == 0
    store.update(row.number, state=State.DONE)
    assert "could not be written down" in caplog.text and store.get("a").state == State.QUEUED
