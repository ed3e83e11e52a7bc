"""base: facts about files kept on disk between runs: hashes, metadata. JSON values in one SQLite file.

Several processes may use it at the same time. It is a cache: what cannot be read counts as absent, what cannot be
written is computed again the next time, and neither stops the program.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from modules.paths_internal import data_path
from modules.util import FileStamp

logger = logging.getLogger(__name__)

cache_filename = os.environ.get("SD_WEBUI_CACHE_FILE", os.path.join(data_path, "cache.json"))
cache_dir = os.environ.get("SD_WEBUI_CACHE_DIR", os.path.join(data_path, "cache"))

SECONDS_TO_WAIT_FOR_OTHER_WRITERS = 30


class Store:
    """An SQLite file of (section, key) -> JSON text, shared by all threads of the program."""

    def __init__(self, path: str):
        self.path = path
        self._lock = threading.Lock()
        self._connection = self._open()

    def execute(self, statement: str, *parameters: str) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows; none if the file cannot be used now."""
        with self._in_use() as connection:
            return connection.execute(statement, parameters).fetchall()
        return []

    def write(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """Sets many entries, (section, key, JSON text), in one transaction, which is much faster than one each."""
        with self._in_use() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", entries)

    @contextmanager
    def _in_use(self) -> Iterator[sqlite3.Connection]:
        """Has the connection for one thread alone; what is wrong with the file ends the block and no more."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.OperationalError as e:
                logger.warning("cache %s: %s", self.path, e)
            except sqlite3.DatabaseError as e:
                logger.warning("cache %s is damaged and starts anew: %s", self.path, e)
                self._connection.close()
                self._connection = self._start_anew()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            return self._connect(self.path)
        except (OSError, sqlite3.OperationalError) as e:
            logger.warning("cache %s cannot be used, hashes will be computed again next time: %s", self.path, e)
            return self._connect(":memory:")
        except sqlite3.DatabaseError:
            return self._start_anew()

    def _start_anew(self) -> sqlite3.Connection:
        os.replace(self.path, f"{self.path}.damaged")
        return self._connect(self.path)

    @staticmethod
    def _connect(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, timeout=SECONDS_TO_WAIT_FOR_OTHER_WRITERS, check_same_thread=False, isolation_level=None
        )
        try:
            # What a power cut destroys is computed again: not worth a flush to the disk with each entry.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS entries"
                " (section TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (section, key)) WITHOUT ROWID"
            )
        except sqlite3.Error:
            connection.close()
            raise
        return connection


class Section(MutableMapping[str, Any]):
    """One named part of a store, as a dict of JSON values; each assignment is on disk when it returns."""

    def __init__(self, store: Store, name: str):
        self.store = store
        self.name = name

    def __getitem__(self, key: str) -> Any:
        rows = self.store.execute("SELECT value FROM entries WHERE section = ? AND key = ?", self.name, key)
        if not rows:
            raise KeyError(key)
        return json.loads(rows[0][0])

    def __setitem__(self, key: str, value: Any) -> None:
        self.store.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", self.name, key, json.dumps(value))

    def get_all(self, keys: Iterable[str]) -> dict[str, Any]:
        """Returns the entries of those keys that there are, in one query.

        One query for each of thousands of keys would give the interpreter away each time, and wait for it to come
        back while a model is being loaded.
        """
        rows = self.store.execute(
            "SELECT key, value FROM entries WHERE section = ? AND key IN (SELECT value FROM json_each(?))",
            self.name,
            json.dumps(list(keys)),
        )
        return {key: json.loads(value) for key, value in rows}

    def set_all(self, values: Mapping[str, Any]) -> None:
        """Sets many entries at once; all of them are on disk when it returns."""
        self.store.write([(self.name, key, json.dumps(value)) for key, value in values.items()])

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.store.execute("DELETE FROM entries WHERE section = ? AND key = ?", self.name, key)

    def __iter__(self) -> Iterator[str]:
        return iter([key for (key,) in self.store.execute("SELECT key FROM entries WHERE section = ?", self.name)])

    def __len__(self) -> int:
        return len(list(iter(self)))


@functools.cache
def default_store() -> Store:
    """Returns the store in cache_dir; the first time, what the JSON file of older versions holds is taken over."""
    path = os.path.join(cache_dir, "cache.sqlite3")
    is_new = not os.path.exists(path)
    store = Store(path)
    if is_new:
        convert_old_cached_data(store)
    return store


def convert_old_cached_data(store: Store) -> None:
    """Copies the entries of the JSON file cache_filename into store, if there is one."""
    try:
        with open(cache_filename, encoding="utf8") as file:
            sections = json.load(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as e:
        logger.warning("%s cannot be taken over into the cache: %s", cache_filename, e)
        return

    for name, entries in sections.items():
        Section(store, name).set_all(entries)
    logger.info("took %s sections of %s over into %s", len(sections), cache_filename, store.path)


def cache(subsection: str) -> Section:
    """Returns a named part of the cache, a mapping of text to JSON values."""
    return Section(default_store(), subsection)


make_cache = cache


def dump_cache() -> None:
    """Does nothing: entries are on disk as soon as they are set. Extensions call it after they changed one."""


def cached_data_for_file(subsection: str, title: str, filename: str, func: Callable[[], Any]) -> Any:
    """Returns func() for a file, from the cache if the file has not changed since func was called last.

    title: name of the entry. func: takes nothing and returns a JSON value; None is returned but not kept.
    """
    section = cache(subsection)
    stamp = FileStamp.of(filename)
    entry = section.get(title)
    if stamp.is_in(entry) and "value" in entry:
        return entry["value"]

    value = func()
    if value is not None:
        section[title] = {**stamp._asdict(), "value": value}
    return value


def facts_of_files(subsection: str, filenames: Iterable[str], func: Callable[[str], Any]) -> dict[str, Any]:
    """Returns func(filename), a JSON value, of each file by its name; those that cannot be read are left out.

    Kept by absolute path until the file's time or size changes, and written all at once: for folders of thousands.
    """
    section = cache(subsection)
    paths = {filename: os.path.abspath(filename) for filename in filenames}
    known = section.get_all(paths.values())
    facts, fresh = {}, {}
    for filename, path in paths.items():
        try:
            stamp = FileStamp.of(filename)
            entry = known.get(path)
            if not stamp.is_in(entry):
                entry = fresh[path] = {**stamp._asdict(), "value": func(filename)}
        except OSError as e:
            logger.warning("%s is left out: %s", filename, e.strerror)
            continue
        facts[filename] = entry["value"]
    if fresh:
        section.set_all(fresh)
    return facts
