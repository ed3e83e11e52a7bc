"""job: all jobs that were ever asked for and not forgotten, as rows of one SQLite file.

Knows neither the queue nor what a job does: rows in, rows out. One process owns the file; a second one that is started
on the same data directory keeps its rows in memory.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import exc

from modules.job.row import OVER, Row, State

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
"""Number in the file of the tables below. A file of another number is put aside, not read."""

tables = sa.MetaData()

jobs = sa.Table(
    "jobs",
    tables,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("user", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("place", sa.Float, nullable=False),
    sa.Column("after_restart", sa.Text, nullable=False),
    sa.Column("webhook", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("submitted", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("error", sa.Text),
    sa.Column("seeds", sa.JSON),
    sa.Column("results", sa.JSON, nullable=False),
    sa.Index("jobs_by_id", "id"),
    sa.Index("jobs_by_state", "state", "number"),
)
"""One row a job. What it was asked for lies apart, as it may be large and no list needs it."""

requests = sa.Table(
    "requests",
    tables,
    sa.Column("number", sa.Integer, sa.ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)


def row_of(found: Any) -> Row:
    """Returns a row of the table as an object."""
    return Row(**{**found, "state": State(found["state"])})


class JobStore:
    """The rows of a data directory.

    path: of the SQLite file. All methods may be called from any thread, and are over when what they write is safe from
    the end of the process; a power cut may cost the last of them. What cannot be written, as on a full disk, is named
    in the log and lost: no job fails for it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._writing = threading.Lock()
        self._owner = FileLock(f"{self.path}.lock", timeout=0)
        self.is_kept = self._own()
        self._engine = self._open() if self.is_kept else _in_memory()

    def _own(self) -> bool:
        """Takes the file for this process. Returns False when that is not possible."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._owner.acquire()
        except Timeout:
            logger.warning("another program uses %s: the jobs of this one are forgotten when it ends", self.path)
            return False
        except OSError as e:
            logger.warning("jobs are forgotten when the program ends: %s cannot be written (%s)", self.path, e.strerror)
            return False
        return True

    def _open(self) -> sa.Engine:
        try:
            return _connected(self.path)
        except (exc.DatabaseError, UnreadableSchema) as e:
            aside = f"{self.path}.{int(time.time())}.unreadable"
            logger.warning("%s cannot be read (%s): it is kept as %s, and a new one begun", self.path, e, aside)
            os.replace(self.path, aside)
            for ending in ("-wal", "-shm"):
                if os.path.exists(self.path + ending):
                    os.replace(self.path + ending, aside + ending)
            return _connected(self.path)

    def close(self) -> None:
        """Closes the file and gives it to the next process."""
        self._engine.dispose()
        self._owner.release()

    @contextmanager
    def _writes(self) -> Iterator[sa.Connection]:
        """One change of the file, all of it or nothing."""
        with self._writing:
            try:
                with self._engine.begin() as connection:
                    yield connection
            except exc.DatabaseError as e:
                logger.warning("a job could not be written down in %s: %s", self.path, e.orig)

    def add(self, row: Row, body: str | None) -> Row:
        """Writes a new job and returns it with its number, 0 if it could not be written.

        body: what it was asked for, if that lies here.
        """
        values = {name: value for name, value in vars(row).items() if name != "number"}
        number = 0
        with self._writes() as connection:
            number = connection.execute(jobs.insert(), values).inserted_primary_key[0]
            if body is not None:
                connection.execute(requests.insert(), {"number": number, "body": body})
        return replace(row, number=number)

    def update(self, number: int, **values: Any) -> None:
        """Changes the fields of one job."""
        with self._writes() as connection:
            connection.execute(jobs.update().where(jobs.c.number == number).values(values))

    def update_all(self, numbers: Iterable[int], **values: Any) -> None:
        """Changes the fields of many jobs alike, at once."""
        with self._writes() as connection:
            statement = jobs.update().where(jobs.c.number == sa.bindparam("of")).values(values)
            rows = [{"of": number} for number in numbers]
            if rows:
                connection.execute(statement, rows)

    def set_places(self, places: dict[int, float]) -> None:
        """Orders waiting jobs anew. places: number of a job -> its place."""
        statement = jobs.update().where(jobs.c.number == sa.bindparam("of")).values(place=sa.bindparam("to"))
        with self._writes() as connection:
            if places:
                connection.execute(statement, [{"of": number, "to": place} for number, place in places.items()])

    def get(self, id: str, user: str | None = None) -> Row | None:
        """Returns the latest job of an id; with a user, only of theirs."""
        statement = sa.select(jobs).where(jobs.c.id == id).order_by(jobs.c.number.desc()).limit(1)
        if user is not None:
            statement = statement.where(jobs.c.user == user)
        with self._engine.connect() as connection:
            found = connection.execute(statement).mappings().first()
        return None if found is None else row_of(found)

    def body(self, number: int) -> str | None:
        """Returns what a job was asked for; None where it does not lie here."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(requests.c.body).where(requests.c.number == number)).scalar()

    def find(
        self,
        states: Sequence[str] = (),
        user: str | None = None,
        text: str = "",
        limit: int | None = 100,
        offset: int = 0,
    ) -> tuple[list[Row], int]:
        """Returns jobs, the latest first, and how many there are in all pages.

        states: any of them, none for all. text: words that all have to be in the job's text, its kind or its id.
        """
        conditions = _conditions(states, user, text)
        statement = sa.select(jobs).where(*conditions).order_by(jobs.c.number.desc()).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            rows = [row_of(found) for found in connection.execute(statement).mappings()]
            is_all = offset == 0 and (limit is None or len(rows) < limit)
            total = len(rows) if is_all else connection.execute(_counted(conditions)).scalar_one()
        return rows, total

    def counts(self) -> dict[str, int]:
        """Returns state -> how many jobs are in it."""
        statement = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._engine.connect() as connection:
            return dict(connection.execute(statement).tuples().all())

    def waiting(self, state: State = State.QUEUED) -> list[Row]:
        """Returns the jobs in a state, in the order of their places."""
        statement = sa.select(jobs).where(jobs.c.state == state).order_by(jobs.c.place, jobs.c.number)
        with self._engine.connect() as connection:
            return [row_of(found) for found in connection.execute(statement).mappings()]

    def oldest(self, limit: int) -> list[Row]:
        """Returns jobs that are over, the first that came first."""
        statement = sa.select(jobs).where(jobs.c.state.in_(OVER)).order_by(jobs.c.number).limit(limit)
        with self._engine.connect() as connection:
            return [row_of(found) for found in connection.execute(statement).mappings()]

    def forget(self, numbers: Iterable[int]) -> None:
        """Deletes jobs, with what they were asked for."""
        rows = [{"of": number} for number in numbers]
        if not rows:
            return
        with self._writes() as connection:
            connection.execute(requests.delete().where(requests.c.number == sa.bindparam("of")), rows)
            connection.execute(jobs.delete().where(jobs.c.number == sa.bindparam("of")), rows)


class UnreadableSchema(Exception):
    """A file of another version of the program."""


def _conditions(states: Sequence[str], user: str | None, text: str) -> list[Any]:
    conditions: list[Any] = []
    if states:
        conditions.append(jobs.c.state.in_(states))
    if user is not None:
        conditions.append(jobs.c.user == user)
    for word in text.split():
        anywhere = jobs.c.text + " " + jobs.c.kind + " " + jobs.c.id
        conditions.append(anywhere.icontains(word, autoescape=True))
    return conditions


def _counted(conditions: Sequence[Any]) -> Any:
    return sa.select(sa.func.count()).select_from(jobs).where(*conditions)


def _connected(path: str) -> sa.Engine:
    """Returns an engine on the file, its tables made; raises UnreadableSchema for those of another version."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _prepare_connection)
    try:
        _make_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _in_memory() -> sa.Engine:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    _make_tables(engine)
    return engine


def _make_tables(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version not in (0, SCHEMA_VERSION):
            raise UnreadableSchema(f"its tables are of version {version}, those of this program of {SCHEMA_VERSION}")
        tables.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _prepare_connection(connection: Any, record: Any) -> None:
    """Has readers and the writer not wait for each other. What is written survives the process at once."""
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
