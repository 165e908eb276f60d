"""The connection: SQLite in WAL mode, or PostgreSQL.

What the drivers raise comes out of every statement as one of `storage.errors`, so that nobody above
storage needs to know a driver.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, get_args

import aiosqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, pool, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    InvalidRequestError,
    NoSuchModuleError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage import schema
from storage.errors import (
    DatabaseBusyError,
    DatabaseDamagedError,
    DatabaseUnreachableError,
    DatabaseUnsupportedError,
    postgres_error,
    translate,
)
from storage.threads import DatabaseThreads

T = TypeVar("T")
BUSY_SECONDS: Final = 10.0
"""How long a writer waits for another process, and for a connection."""
CACHE_KIB: Final = 16 * 1024
"""What a connection to SQLite keeps in memory at most: enough for somebody's last 1,000 prompts."""
DRIVERS: Final = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}
"""The databases, and what drives them where the URL does not say."""
Purpose = Literal["work", "migrate", "read"]
SharedWork = Literal["retention", "sweep"]
"""What one of several processes does for all of them."""
_WRITING: Final = "darkroom_writing"
_WORKS: Final[tuple[SharedWork, ...]] = get_args(SharedWork)
_LOCKS: Final = 0x0DA2
"""The first half of the numbers of locks; people's have none."""


class _Connection(AsyncConnection):
    """A connection whose failure to open is one of our own errors too."""

    async def start(self, is_ctxmanager: bool = False) -> Self:
        """Connect."""
        try:
            await super().start(is_ctxmanager)
        except PoolTimeoutError as error:
            raise DatabaseBusyError(f"no connection was free for {BUSY_SECONDS:g} s") from error
        except OSError as error:
            raise DatabaseUnreachableError(error.strerror or str(error)) from error
        except Exception as error:
            kind = postgres_error(getattr(error, "sqlstate", None))
            if kind is None:
                raise
            raise kind(str(error)) from error
        return self


class Database(AsyncEngine):
    """An engine whose `begin` is for writing and whose `connect` is for reading.

    On SQLite a writer takes the write lock when it begins, so that it waits for others instead of
    failing half-way; the writers of this process wait for each other in order of arrival.
    """

    _connection_cls = _Connection

    def __init__(self, engine: AsyncEngine, purpose: Purpose = "work") -> None:
        super().__init__(engine.sync_engine)
        self._alone = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._purpose = purpose
        self._threads: DatabaseThreads | None = None

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; committed when the block ends without an error."""
        async with self._alone or contextlib.nullcontext(), self.connect() as connection:
            await connection.execution_options(**{_WRITING: True})
            async with connection.begin():
                yield connection

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns of the database as it is at one moment. On SQLite in a thread."""
        if self.dialect.name != "sqlite":
            async with self.connect() as connection:
                return await connection.run_sync(work)
        return await self._in_threads().run(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; what it changes is committed when it ends without an error."""
        if self._alone is None:
            async with self.begin() as connection:
                return await connection.run_sync(work)
        async with self._alone:
            return await self._in_threads().run(work, **{_WRITING: True})

    @contextlib.asynccontextmanager
    async def alone(self, work: SharedWork) -> AsyncIterator[bool]:
        """Whether no other process does this work, or begins it before the block ends. On SQLite
        there is none; on a server a lock says so that goes with its connection.
        """
        if self.dialect.name != "postgresql":
            yield True
            return
        async with self.connect() as connection:
            # no transaction: the block may take hours
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            # closed when it is given back, and the lock with it, whatever happens
            await connection.run_sync(lambda own: own.detach())
            lock = select(func.pg_try_advisory_lock(_LOCKS, _WORKS.index(work)))
            yield (await connection.execute(lock)).scalar_one()

    def _in_threads(self) -> DatabaseThreads:
        if self._threads is None:
            engine = create_engine(self.url.set(drivername="sqlite"), pool_timeout=BUSY_SECONDS)
            _listen(engine, self._purpose)
            self._threads = DatabaseThreads(engine)
        return self._threads

    async def dispose(self, close: bool = True) -> None:
        """Close all connections."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.close)
            self._threads = None
        await super().dispose(close)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite database in this file."""
    return URL.create("sqlite+aiosqlite", database=file.as_posix()).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for another. Raises DatabaseUnsupportedError."""
    parsed = _parse(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def shown_url(url: str) -> str:
    """A database as people may see it: its file, or the URL without the password."""
    try:
        parsed = _parse(url)
    except DatabaseUnsupportedError:
        return "that is set"
    if parsed.get_backend_name() == "sqlite":
        return parsed.database or "in memory"
    return parsed.render_as_string(hide_password=True)


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # what was set may hold a password, so it is not repeated
        raise DatabaseUnsupportedError("it is not the URL of a database") from error
    backend = parsed.get_backend_name()
    if backend not in DRIVERS:
        raise DatabaseUnsupportedError(f"{backend} is not supported: use SQLite or PostgreSQL")
    if "+" in parsed.drivername:
        return parsed
    return parsed.set(drivername=f"{backend}+{DRIVERS[backend]}")


def make_database(url: str | URL, purpose: Purpose = "work", **options: Any) -> Database:
    """The database at a URL, not yet connected to. Raises DatabaseUnsupportedError."""
    parsed = _parse(url)
    try:
        if "poolclass" not in options:
            options["pool_timeout"] = BUSY_SECONDS
        if parsed.drivername == "sqlite+aiosqlite":
            options["connect_args"] = {"async_creator_fn": _connect_sqlite}
        engine = create_async_engine(parsed, **options)
    except (ImportError, NoSuchModuleError) as error:
        raise DatabaseUnsupportedError(
            f'its driver is missing ({error}); for PostgreSQL: pip install -e ".[postgres]"'
        ) from error
    except InvalidRequestError as error:  # no driver for asyncio
        backend = parsed.get_backend_name()
        wanted = f"{backend}+{DRIVERS[backend]}"
        raise DatabaseUnsupportedError(f"begin it with {wanted}://") from error
    _listen(engine.sync_engine, purpose)
    return Database(engine, purpose)


async def open_database(url: str, *, migrating: bool = True) -> Database:
    """Open a database and see that it can be written.

    With `migrating` its schema is brought up to date, in one transaction: nobody else may work
    with the database then. Without, nothing is changed. Raises DatabaseError.
    """
    if migrating:
        await asyncio.to_thread(migrate, url)
    database = make_database(url)
    try:
        async with database.begin() as connection:
            await connection.run_sync(schema.check)
            await connection.run_sync(schema.touch)
    except BaseException:
        await database.dispose()
        raise
    return database


async def open_read_only(url: str) -> Database:
    """Open a database to look at, and leave no trace in it or beside it. Raises DatabaseError."""
    file = sqlite_file(url)
    if file is None:
        database = make_database(url, "read")
    else:
        query = {"mode": "ro", "uri": "true"}
        if not file.with_name(f"{file.name}-wal").exists():
            # nobody has it open: without this SQLite would put its own files beside it
            query["immutable"] = "1"
        name = file.absolute().as_uri()
        database = make_database(URL.create("sqlite+aiosqlite", database=name, query=query), "read")
    try:
        async with database.connect() as connection:
            await connection.run_sync(schema.check)
    except BaseException:
        await database.dispose()
        raise
    return database


async def check_whole(database: Database) -> None:
    """Read all of a SQLite database. Raises DatabaseDamagedError where it is not whole."""
    if database.dialect.name != "sqlite":
        return
    async with database.connect() as connection:
        answer = (await connection.exec_driver_sql("PRAGMA quick_check(1)")).scalar_one()
    if answer != "ok":
        raise DatabaseDamagedError(answer.splitlines()[-1])


def migrate(url: str) -> None:
    """Bring the schema up to date, or leave it as it was; blocks, with an event loop of its own.

    Raises DatabaseError.
    """
    asyncio.run(_migrate(url))


async def _migrate(url: str) -> None:
    database = make_database(url, "migrate", poolclass=pool.NullPool)
    try:
        async with database.begin() as connection:
            await connection.run_sync(schema.upgrade)
    finally:
        await database.dispose()


def _listen(engine: Engine, purpose: Purpose) -> None:
    event.listen(engine, "handle_error", translate)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _Pragmas(purpose))
        event.listen(engine, "begin", _begin)


async def _connect_sqlite(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    """A connection, or nothing of it: the driver's thread would outlive one that failed to open,
    and answer to an event loop that is gone.
    """
    connection = aiosqlite.connect(*arguments, **options)
    thread = connection._thread
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        thread.join()
        raise


class _Pragmas:
    """What a SQLite connection begins with."""

    def __init__(self, purpose: Purpose) -> None:
        self._statements = [
            f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}",
            f"PRAGMA cache_size = -{CACHE_KIB}",
        ]
        if purpose != "read":
            self._statements += [
                "PRAGMA journal_mode = WAL",
                # every accepted request must outlive a power cut, so not NORMAL
                "PRAGMA synchronous = FULL",
                # a migration rebuilds tables, which must not cascade
                f"PRAGMA foreign_keys = {'OFF' if purpose == 'migrate' else 'ON'}",
            ]

    def __call__(self, connection: Any, _record: object) -> None:
        # the driver would begin no transaction before DDL: `_begin` does
        connection.isolation_level = None
        cursor = connection.cursor()
        for statement in self._statements:
            cursor.execute(statement)
        cursor.close()


def _begin(connection: Any) -> None:
    writing = connection.get_execution_options().get(_WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
