import contextlib
import json
import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from modules import cache


@pytest.fixture(autouse=True)
def stores(monkeypatch):
    """Closes every store a test has opened: on Windows an open file cannot be deleted."""
    opened = []

    class ClosedStore(cache.Store):
        def __init__(self, path):
            super().__init__(path)
            opened.append(self)

    monkeypatch.setattr(cache, "Store", ClosedStore)
    yield
    for store in opened:
        store.close()


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The default store, in a folder of its own."""
    monkeypatch.setattr(cache, "cache_dir", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "cache_filename", str(tmp_path / "cache.json"))
    cache.default_store.cache_clear()
    yield lambda: cache.default_store()
    cache.default_store.cache_clear()


def fill(path, section, count):
    store = cache.Store(path)
    for number in range(count):
        cache.Section(store, section)[f"{section}-{number}"] = number
    store.close()


def test_section_is_a_mapping_of_json_values(store):
    section = cache.cache("hashes")
    section["b"] = {"mtime": 1.5, "list": [1, None, "ä"]}
    section["a"] = 1
    assert section["b"] == {"mtime": 1.5, "list": [1, None, "ä"]}
    assert dict(section) == {"a": 1, "b": section["b"]} and len(section) == 2
    assert "c" not in section and section.get("c", 7) == 7
    del section["a"]
    assert list(section) == ["b"]
    for missing in (lambda: section["a"], lambda: section.__delitem__("a")):
        with pytest.raises(KeyError):
            missing()


def test_sections_are_apart_and_on_disk_at_once(store):
    cache.cache("one")["k"] = 1
    cache.cache("two")["k"] = 2
    cache.dump_cache()
    assert cache.Section(cache.Store(store().path), "one")["k"] == 1


def test_values_that_are_not_json_are_refused(store):
    with pytest.raises(TypeError):
        cache.cache("one")["k"] = object()


def test_several_processes_and_threads_write_at_the_same_time(tmp_path):
    path = str(tmp_path / "shared.sqlite3")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(path, f"process{n}", 30)) for n in range(2)]
    for process in processes:
        process.start()
    store = cache.Store(path)
    threads = [
        threading.Thread(target=lambda n=n: cache.Section(store, "thread").update({f"{n}-{i}": i for i in range(30)}))
        for n in range(2)
    ]
    for worker in threads:
        worker.start()
    for worker in threads + processes:
        worker.join()
    assert [len(cache.Section(store, name)) for name in ("process0", "process1", "thread")] == [30, 30, 60]


def test_damaged_file_is_put_aside(tmp_path, caplog):
    path = tmp_path / "cache.sqlite3"
    path.write_bytes(b"this is no database, however long it is" * 100)
    section = cache.Section(cache.Store(str(path)), "a")
    section["k"] = 1
    assert section["k"] == 1
    assert (tmp_path / "cache.sqlite3.damaged").exists()


def test_file_damaged_while_in_use_starts_anew(tmp_path, caplog):
    path = tmp_path / "cache.sqlite3"
    section = cache.Section(cache.Store(str(path)), "a")
    section["k"] = "x" * 10000
    path.write_bytes(b"\0" * 50000)
    assert section.get("k") is None
    assert "is damaged and starts anew" in caplog.text
    section["k"] = 2
    assert section["k"] == 2


def test_write_that_fails_is_only_reported(tmp_path, caplog):
    section = cache.Section(cache.Store(str(tmp_path / "cache.sqlite3")), "a")
    section.store.execute("DROP TABLE entries")
    section["k"] = 1
    assert "no such table" in caplog.text and section.get("k") is None


def test_folder_that_cannot_be_made_leaves_a_cache_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    section = cache.Section(cache.Store(str(tmp_path / "file" / "cache.sqlite3")), "a")
    section["k"] = 1
    assert section["k"] == 1 and "cannot be used" in caplog.text


def test_json_cache_of_older_versions_is_taken_over_once(store, tmp_path):
    Path(cache.cache_filename).write_text(json.dumps({"hashes": {"a": {"mtime": 1, "sha256": "ff"}}}), encoding="utf8")
    assert cache.cache("hashes")["a"] == {"mtime": 1, "sha256": "ff"}

    del cache.cache("hashes")["a"]
    cache.default_store.cache_clear()
    assert "a" not in cache.cache("hashes")


def test_unreadable_json_cache_is_reported(store, caplog):
    Path(cache.cache_filename).write_text("{", encoding="utf8")
    assert len(cache.cache("hashes")) == 0
    assert "cannot be taken over" in caplog.text


def test_data_of_a_file_is_computed_once_until_the_file_changes(store, tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"n": len(calls)}

    path = tmp_path / "model"
    path.write_text("x")
    get = lambda: cache.cached_data_for_file("metadata", "model", str(path), compute)  # noqa: E731
    assert get() == get() == {"n": 1}
    os.utime(path, (1, 1))
    assert get() == {"n": 2}


def test_none_is_not_kept(store, tmp_path):
    path = tmp_path / "model"
    path.write_text("x")
    answers = iter([None, 5])
    get = lambda: cache.cached_data_for_file("metadata", "model", str(path), lambda: next(answers))  # noqa: E731
    assert get() is None
    assert get() == 5


def test_store_can_be_opened_by_any_sqlite(store):
    cache.cache("s")["k"] = [1]
    with contextlib.closing(sqlite3.connect(store().path)) as connection:
        assert connection.execute("SELECT * FROM entries").fetchall() == [("s", "k", "[1]")]


def test_facts_of_many_files_are_computed_once_each(store, tmp_path):
    paths = [str(tmp_path / name) for name in ("a", "b", "gone")]
    asked = []

    def size(path):
        asked.append(path)
        return os.path.getsize(path)

    for path in paths[:2]:
        Path(path).write_text("x")
    for _ in range(2):
        assert cache.facts_of_files("sizes", paths, size) == {paths[0]: 1, paths[1]: 1}
    assert asked == paths[:2]

    stat = os.stat(paths[1])
    Path(paths[1]).write_text("longer")
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.facts_of_files("sizes", paths[1:2], size) == {paths[1]: 6}


def test_the_facts_of_thousands_of_files_are_one_query(store, tmp_path):
    paths = [str(tmp_path / f"{number}.bin") for number in range(3000)]
    for path in paths:
        Path(path).touch()
    facts = cache.facts_of_files("sizes", paths, os.path.getsize)
    asked: list[str] = []
    store()._connection.set_trace_callback(asked.append)
    assert cache.facts_of_files("sizes", paths, os.path.getsize) == facts
    assert len(asked) == 1


def test_many_entries_that_cannot_be_written_are_a_warning(store, tmp_path, caplog):
    section = cache.cache("s")
    section["kept"] = 1
    store().execute("PRAGMA query_only = ON")
    section.set_all({"a": 1, "b": 2})
    assert "readonly" in caplog.text
    store().execute("PRAGMA query_only = OFF")
    section.set_all({"a": 1, "b": 2})
    assert dict(section) == {"a": 1, "b": 2, "kept": 1}
