"""job: all jobs that were ever asked for and not forgotten, as rows of one SQLite file.

Knows neither the queue nor what a job does: rows in, rows out. One process owns the file; a second one that is started
on the same data directory keeps its rows in memory.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import exc

from modules.job.row import OVER, Row, State, model_of

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
"""Number in the file of the tables below. A file of an earlier one is brought up to it by STEPS, step by step; one of a
later program is put aside, not read.
"""

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
    sa.Column("model", sa.Text),
    sa.Column("webhook_due", sa.Float),
    sa.Column("webhook_tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("webhook_error", sa.Text),
    sa.Index("jobs_by_id", "id"),
    sa.Index("jobs_by_state", "state", "number"),
    sa.Index("jobs_by_model", "model", "user"),
    sa.Index("jobs_by_webhook", "webhook_due", sqlite_where=sa.text("webhook_due IS NOT NULL")),
)
"""One row a job. What it was asked for lies apart, as it may be large and no list needs it."""

requests = sa.Table(
    "requests",
    tables,
    sa.Column("number", sa.Integer, sa.ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

INDEXED = "id, kind, text"
"""The columns that words are looked for in."""

INDEX_SINCE = (3, 34)
"""Version of SQLite since which three letters can be found anywhere in a word; before, all words are read through."""

ADDED = f"INSERT INTO jobs_text(rowid, {INDEXED}) VALUES (new.number, new.id, new.kind, new.text);"
DELETED = (
    f"INSERT INTO jobs_text(jobs_text, rowid, {INDEXED}) VALUES ('delete', old.number, old.id, old.kind, old.text);"
)
INDEX = (
    f"CREATE VIRTUAL TABLE jobs_text USING fts5({INDEXED}, content='jobs', content_rowid='number', tokenize='trigram')",
    f"CREATE TRIGGER jobs_text_added AFTER INSERT ON jobs BEGIN {ADDED} END",
    f"CREATE TRIGGER jobs_text_deleted AFTER DELETE ON jobs BEGIN {DELETED} END",
    f"CREATE TRIGGER jobs_text_changed AFTER UPDATE OF {INDEXED} ON jobs BEGIN {DELETED} {ADDED} END",
    "INSERT INTO jobs_text(jobs_text) VALUES ('rebuild')",
)
"""What makes an index of all texts and keeps it up to date; it holds no text itself."""

texts = sa.table("jobs_text", sa.column("rowid"), sa.column("jobs_text"))
"""The index. What is compared with its column of its own name is looked for in all others."""

SHORTEST_INDEXED = 3
"""Letters of the shortest word that the index finds."""


def row_of(found: Any) -> Row:
    """Returns a row of the table as an object."""
    return Row(**{**found, "state": State(found["state"])})


CHANGE = jobs.update().where(jobs.c.number == sa.bindparam("of"))
"""Sets the columns that are given as arguments of a job."""

END = CHANGE.values(webhook_due=sa.case((jobs.c.webhook.is_not(None), sa.bindparam("now"))))
"""The same for a job that is over."""


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
        self._engine = self._open() if self.is_kept else self._open_for_this_process()
        self._is_indexed = sa.inspect(self._engine).has_table("jobs_text")

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

    def _open_for_this_process(self) -> sa.Engine:
        # A file, not SQLite's memory: that has one connection for all threads, and one that ends reading there takes
        # back what another is writing.
        self._folder = tempfile.TemporaryDirectory(prefix="serena-jobs-", ignore_cleanup_errors=True)
        return _connected(os.path.join(self._folder.name, os.path.basename(self.path)))

    def close(self) -> None:
        """Closes the file and gives it to the next process."""
        self._engine.dispose()
        self._owner.release()
        if not self.is_kept:
            self._folder.cleanup()

    @contextmanager
    def _writes(self) -> Iterator[sa.Connection]:
        """One change of the file, all of it or nothing. What cannot be written is named in the log."""
        with self._losses_logged(), self._change() as connection:
            yield connection

    @contextmanager
    def _losses_logged(self) -> Iterator[None]:
        try:
            yield
        except exc.DatabaseError as e:
            logger.warning("a job could not be written down in %s: %s", self.path, e.orig)

    @contextmanager
    def _change(self) -> Iterator[sa.Connection]:
        with self._writing, self._engine.begin() as connection:
            yield connection

    def add(self, row: Row, body: str | None) -> Row:
        """Writes a new job and returns it with its number, 0 if it could not be written.

        body: what it was asked for, if that lies here.
        """
        values = {name: value for name, value in vars(row).items() if name != "number"}
        number = 0
        with self._losses_logged():
            with self._change() as connection:
                inserted = connection.execute(jobs.insert(), values).inserted_primary_key[0]
                if body is not None:
                    connection.execute(requests.insert(), {"number": inserted, "body": body})
            number = inserted  # a disk may turn out to be full only now
        return replace(row, number=number)

    def update(self, number: int, **values: Any) -> None:
        """Changes the fields of one job. One that is over becomes due for its webhook."""
        with self._writes() as connection:
            connection.execute(*_change([number], values))

    def update_all(self, numbers: Iterable[int], **values: Any) -> None:
        """Changes the fields of many jobs alike, at once."""
        with self._writes() as connection:
            statement, rows = _change(numbers, values)
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
        *,
        model: str = "",
        since: float | None = None,
        until: float | None = None,
        is_oldest_first: bool = False,
    ) -> tuple[list[Row], int]:
        """Returns jobs, the latest first or the oldest, and how many there are in all pages.

        states: any of them, none for all. text: words that all have to be in the job's text, its kind or its id. model:
        that made its images. since, until: when it was asked for, in seconds since the epoch, `until` not included.
        """
        source, conditions = self._containing(text)
        is_indexed = source is not jobs
        conditions += _conditions(states, user, model, since, until, _unindexed if is_indexed else _as_it_is)
        number = texts.c.rowid if is_indexed else jobs.c.number
        order = number.asc() if is_oldest_first else number.desc()
        statement = sa.select(jobs).select_from(source).where(*conditions).order_by(order)
        with self._engine.connect() as connection:
            found = connection.execute(statement.limit(limit).offset(offset)).mappings()
            rows = [row_of(values) for values in found]
            is_all = offset == 0 and (limit is None or len(rows) < limit)
            counted = sa.select(sa.func.count()).select_from(source).where(*conditions)
            total = len(rows) if is_all else connection.execute(counted).scalar_one()
        return rows, total

    def models(self, user: str | None = None) -> list[str]:
        """Returns the names of the models that made the images of jobs, in order; with a user, only of theirs."""
        statement = sa.select(jobs.c.model).where(jobs.c.model.is_not(None)).distinct().order_by(jobs.c.model)
        if user is not None:
            statement = statement.where(jobs.c.user == user)
        with self._engine.connect() as connection:
            return list(connection.execute(statement).scalars())

    def due(self, limit: int) -> list[Row]:
        """Returns jobs whose webhook has to be called, the first that are due first."""
        statement = sa.select(jobs).where(jobs.c.webhook_due.is_not(None)).order_by(jobs.c.webhook_due).limit(limit)
        with self._engine.connect() as connection:
            return [row_of(found) for found in connection.execute(statement).mappings()]

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

    def last_number(self) -> int:
        """Returns the number of the job that came last, 0 where there is none."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(jobs.c.number))).scalar() or 0

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

    def _containing(self, text: str) -> tuple[sa.FromClause, list[Any]]:
        """Returns where to look for jobs that all these words are in, and what is asked of them."""
        words = text.replace("\0", " ").split()  # SQLite's texts end there
        indexed = [word for word in words if len(word) >= SHORTEST_INDEXED] if self._is_indexed else []
        anywhere = jobs.c.text + " " + jobs.c.kind + " " + jobs.c.id
        conditions = [anywhere.icontains(word, autoescape=True) for word in words if word not in indexed]
        if not indexed:
            return jobs, conditions
        phrases = " ".join('"' + word.replace('"', '""') + '"' for word in indexed)
        conditions.append(texts.c.jobs_text.op("MATCH")(phrases))
        return texts.join(jobs, jobs.c.number == texts.c.rowid), conditions


class UnreadableSchema(Exception):
    """A file of another version of the program."""


def _as_it_is(column: sa.Column[Any]) -> Any:
    return column


def _unindexed(column: sa.Column[Any]) -> Any:
    """Returns a column as SQLite does not look it up by an index: words are to be found first, and are fewer."""
    return sa.literal_column(f'+jobs."{column.name}"', column.type)


def _conditions(
    states: Sequence[str],
    user: str | None,
    model: str,
    since: float | None,
    until: float | None,
    of: Callable[[sa.Column[Any]], Any],
) -> list[Any]:
    conditions: list[Any] = []
    if states:
        conditions.append(of(jobs.c.state).in_(states))
    if user is not None:
        conditions.append(of(jobs.c.user) == user)
    if model:
        conditions.append(of(jobs.c.model) == model)
    if since is not None:
        conditions.append(jobs.c.submitted >= since)
    if until is not None:
        conditions.append(jobs.c.submitted < until)
    return conditions


def _change(numbers: Iterable[int], values: dict[str, Any]) -> tuple[sa.Update, list[dict[str, Any]]]:
    """Returns what changes fields of jobs alike, and its arguments for each. A job that is over becomes due for its
    webhook.
    """
    if values.get("state") not in OVER:
        return CHANGE, [{"of": number} | values for number in numbers]
    return END, [{"of": number, "now": time.time()} | values for number in numbers]


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


def _make_tables(engine: sa.Engine) -> None:
    """Makes the tables, or brings those of an earlier version of the program up to these: all of it or nothing."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins no transaction for changes of tables
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version > SCHEMA_VERSION:
            raise UnreadableSchema(f"its tables are of version {version}, those of this program of {SCHEMA_VERSION}")
        if version:
            for step in range(version, SCHEMA_VERSION):
                STEPS[step](connection)
        else:
            tables.create_all(connection)
        _index_texts(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.commit()


def _add_models_and_webhooks(connection: sa.Connection) -> None:
    """Version 2: the model of a job, and what is known of its webhook."""
    for column in ("model TEXT", "webhook_due FLOAT", "webhook_tries INTEGER NOT NULL DEFAULT 0", "webhook_error TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN {column}")
    for index in jobs.indexes:
        index.create(connection, checkfirst=True)
    texts = connection.execute(sa.select(jobs.c.number, jobs.c.text))
    models = [{"of": number, "is": model_of(text)} for number, text in texts.all()]
    if models:
        where = jobs.c.number == sa.bindparam("of")
        connection.execute(jobs.update().where(where).values(model=sa.bindparam("is")), models)


STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _add_models_and_webhooks}
"""Version of a file -> takes its tables to the next version."""


def _index_texts(connection: sa.Connection) -> None:
    """Makes the index of all texts, if it is missing and this SQLite can have one."""
    if sa.inspect(connection).has_table("jobs_text") or not _can_index(connection):
        return
    for statement in INDEX:
        connection.exec_driver_sql(statement)


def _can_index(connection: sa.Connection) -> bool:
    options = connection.exec_driver_sql("PRAGMA compile_options").scalars()
    return sqlite3.sqlite_version_info >= INDEX_SINCE and "ENABLE_FTS5" in options


def _prepare_connection(connection: Any, record: Any) -> None:
    """Has readers and the writer not wait for each other. What is written survives the process at once."""
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
