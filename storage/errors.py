"""What can go wrong with a database: one tree of errors, whatever the driver raises."""

import errno
import sqlite3
from typing import Final

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError

from generation.refusal import Refused


class DatabaseError(Exception):
    """The database can't be worked with; the text says why."""


class DatabaseBusyError(DatabaseError):
    """Another process held the database too long; the same call may work later."""


class DatabaseFullError(DatabaseError):
    """There is no room for what was to be written."""


class DatabaseReadOnlyError(DatabaseError):
    """The database can be read and not written."""


class DatabaseUnreachableError(DatabaseError):
    """The file can't be opened, or the server doesn't answer."""


class PicturesAwayError(DatabaseUnreachableError):
    """The store of pictures doesn't answer, or this machine is out of what it takes to read a file:
    whether a picture is there is not known.
    """


class DatabaseDamagedError(DatabaseError):
    """The file is no database, or a broken one."""


class DatabaseUnsupportedError(DatabaseError):
    """The setting names no database that can be used, or its driver is not installed."""


class SchemaOlderError(DatabaseError):
    """A migration is due, and it is not this process that may migrate."""


class SchemaNewerError(DatabaseError):
    """A newer version of the program made the database."""


_SQLITE: Final[dict[int, type[DatabaseError]]] = {
    sqlite3.SQLITE_BUSY: DatabaseBusyError,
    sqlite3.SQLITE_LOCKED: DatabaseBusyError,
    sqlite3.SQLITE_PROTOCOL: DatabaseBusyError,
    sqlite3.SQLITE_FULL: DatabaseFullError,
    sqlite3.SQLITE_READONLY: DatabaseReadOnlyError,
    sqlite3.SQLITE_PERM: DatabaseReadOnlyError,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnreachableError,
    sqlite3.SQLITE_IOERR: DatabaseUnreachableError,
    sqlite3.SQLITE_CORRUPT: DatabaseDamagedError,
    sqlite3.SQLITE_NOTADB: DatabaseDamagedError,
}
"""By SQLite's primary result code."""
_POSTGRES: Final[dict[str, type[DatabaseError]]] = {
    "40": DatabaseBusyError,  # serialization failure, deadlock
    "55": DatabaseBusyError,  # lock not available
    "53": DatabaseUnreachableError,  # too many connections, out of memory
    "53100": DatabaseFullError,
    "25006": DatabaseReadOnlyError,
    "08": DatabaseUnreachableError,
    "57": DatabaseUnreachableError,  # shutting down, starting up
    "28": DatabaseUnreachableError,  # wrong password
    "3D": DatabaseUnreachableError,  # no such database
    "42501": DatabaseReadOnlyError,  # insufficient privilege
}
"""By SQLSTATE, or by its class."""
_NO_TEXT: Final = "22021"
"""PostgreSQL's SQLSTATE for a NUL in a text."""


def translate(context: ExceptionContext) -> BaseException | None:
    """Our own error for what a driver raised; None leaves it as it is.

    A listener of SQLAlchemy's `handle_error`. A text that no database can keep is Refused, as the
    person who wrote it can change it.
    """
    error = context.original_exception
    if not isinstance(error, Exception):
        return None  # whoever is cancelled must not take that for an error of the database
    if isinstance(error, UnicodeEncodeError):
        return Refused("text_unusable", option="text")
    if isinstance(context.sqlalchemy_exception, IntegrityError):
        return None
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, OSError):
        return DatabaseUnreachableError(error.strerror or reason)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state == _NO_TEXT:
        return Refused("text_unusable", option="text")
    if state is not None:
        kind = postgres_error(state)
        # asyncpg's own errors begin with their class
        return None if kind is None else kind(reason.rpartition(">: ")[2])
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        kind = _SQLITE.get(code & 0xFF)
        return None if kind is None else kind(reason)
    return DatabaseUnreachableError(reason) if context.is_disconnect else None


def postgres_error(state: str | None) -> type[DatabaseError] | None:
    """The kind of error that a SQLSTATE stands for; None for others."""
    return None if state is None else _POSTGRES.get(state) or _POSTGRES.get(state[:2])


_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


def trouble(error: Exception) -> str | None:
    """The sentence for an error that may pass: disk_full, disk_unwritable, database_busy.

    None for what would only fail again: a value that can't be stored, a row that is gone.
    """
    match error:
        case DatabaseFullError():
            return "disk_full"
        case DatabaseReadOnlyError():
            return "disk_unwritable"
        case DatabaseBusyError() | DatabaseUnreachableError():
            return "database_busy"
        case OSError():
            return "disk_full" if error.errno in _FULL else "disk_unwritable"
    return None
