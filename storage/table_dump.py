"""The rows of all tables as lines of JSON, alike on every database and of whatever schema: out of
one, and into another.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    String,
    Table,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from storage import schema, search
from storage.picture_store import HASH

ROWS: Final = 500
LINE_BYTES: Final = 64 * 2**20
"""Of one row."""
VERSION: Final = "alembic_version"
REMOVED: Final = "removed"
FILES: Final = "file"
"""What a column is called that names pictures."""


class DumpDamagedError(Exception):
    """The rows are not what a dump writes; the text says of which table."""


class TableDump(msgspec.Struct, frozen=True):
    """The rows of one table, in the order of their keys."""

    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Of the lines."""


class Dumped(msgspec.Struct, frozen=True):
    """All rows. `last_numbers` are the highest that each table has given out, also to rows that are
    gone: nobody gets one of those again.
    """

    schema: str
    tables: dict[str, TableDump]
    last_numbers: dict[str, int]


def dump(
    connection: Connection, into: Callable[[str], IO[bytes]], said: Callable[[str, int], None]
) -> tuple[Dumped, set[str]]:
    """Write each table's rows to what `into` opens for its name, as they are at one moment.

    `said` is told of each table and how many rows it has had so far. Also returns the hashes of the
    pictures that rows name. Raises DatabaseError.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    revision = schema.revision_of(connection)
    if revision is None:
        return Dumped("", {}, {}), set()
    tables, files = {}, set[str]()
    reflected = _reflected(connection)
    for table in reflected:
        lines = _TableLines(connection, table, files)
        with into(table.name) as file:
            for line in lines:
                file.write(line)
                if lines.rows % ROWS == 0:
                    said(table.name, lines.rows)
        said(table.name, lines.rows)
        columns = tuple(str(column.name) for column in table.columns)
        tables[str(table.name)] = TableDump(columns, lines.rows, lines.sha256.hexdigest())
    return Dumped(revision, tables, _last_numbers(connection, reflected)), files


class _TableLines:
    """The rows of a table as lines; on the way their number, hash, and the pictures they name."""

    def __init__(self, connection: Connection, table: Table, files: set[str]) -> None:
        self.rows = 0
        self.sha256 = hashlib.sha256()
        self._connection = connection
        self._table = table
        self._files = files

    def __iter__(self) -> Iterator[bytes]:
        table = self._table
        columns: list[Any] = list(table.columns)
        if self._connection.dialect.name == "sqlite":
            # a text may be no UTF-8 there
            columns = [
                cast(column, LargeBinary).label(column.name)
                if isinstance(column.type, String)
                else column
                for column in columns
            ]
        of_files, of_removed = (
            table.columns.keys().index(name) if name in table.columns else None
            for name in (FILES, REMOVED)
        )
        statement = select(*columns).order_by(*table.primary_key.columns)
        streamed = statement.execution_options(yield_per=ROWS)
        for row in self._connection.execute(streamed):
            values = [_plain(value) for value in row]
            if of_removed is not None and values[of_removed]:
                pass  # nobody keeps its file
            elif of_files is not None and HASH.fullmatch(str(values[of_files])):
                self._files.add(str(values[of_files]))
            line = msgspec.json.encode(values) + b"\n"
            self.rows += 1
            self.sha256.update(line)
            yield line


def load(
    connection: Connection,
    dumped: Dumped,
    lines_of: Callable[[str], Iterator[bytes]],
    said: Callable[[str, int], None],
) -> int:
    """Make the schema of a dump in an empty database, fill it and bring it up to date, in the
    connection's transaction.

    Returns how many texts had to be changed for this database. Raises DumpDamagedError,
    SchemaNewerError, DatabaseError.
    """
    schema.create(connection, dumped.schema)
    tables = _reflected(connection)
    if {table.name for table in tables} != set(dumped.tables):
        raise DumpDamagedError("it has other tables than its schema")
    changed = 0
    for table in tables:
        try:
            changed += _fill(connection, table, dumped.tables[table.name], lines_of, said)
        except (SQLAlchemyError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise DumpDamagedError(f"the rows of {table.name} can't be read") from error
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise DumpDamagedError(f"a row of {broken[0]} belongs to none of {broken[2]}")
    _set_last_numbers(connection, tables, dumped.last_numbers)
    schema.upgrade(connection)
    return changed


def is_empty(connection: Connection) -> bool:
    """Whether a database has no table of ours."""
    if schema.revision_of(connection) is not None:
        return False
    return not _reflected(connection)


def _fill(
    connection: Connection,
    table: Table,
    dumped: TableDump,
    lines_of: Callable[[str], Iterator[bytes]],
    said: Callable[[str, int], None],
) -> int:
    columns = [table.columns[name] for name in dumped.columns]
    if len(set(dumped.columns)) != len(table.columns):
        raise ValueError(dumped.columns)
    readers = [_reader(column, connection.dialect.name) for column in columns]
    rows: list[dict[str, Any]] = []
    count = changed = 0
    for line in lines_of(table.name):
        values = msgspec.json.decode(line, type=list[Any])
        row = {}
        for column, read, value in zip(columns, readers, values, strict=True):
            row[column.name], altered = read(value)
            changed += altered
        rows.append(row)
        count += 1
        if len(rows) == ROWS:
            connection.execute(table.insert(), rows)
            rows = []
            said(table.name, count)
    if rows:
        connection.execute(table.insert(), rows)
    said(table.name, count)
    if count != dumped.rows:
        raise ValueError(f"{count} rows of {dumped.rows}")
    return changed


def _plain(value: Any) -> Any:
    """A value as JSON has it; bytes that are no UTF-8 in an object."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _reader(column: Column[Any], dialect: str) -> Callable[[Any], tuple[Any, bool]]:
    """What makes a column's value of JSON's, and says whether that had to be another."""

    def read(value: Any) -> tuple[Any, bool]:
        if isinstance(value, dict):
            broken = base64.b64decode(value["base64"], validate=True)
            if dialect == "sqlite":
                return broken, False
            return broken.decode("utf-8", "replace").replace("\0", "\ufffd"), True
        if isinstance(value, str) and dialect != "sqlite" and "\0" in value:
            return value.replace("\0", "\ufffd"), True
        if value is not None and isinstance(column.type, Boolean):
            return bool(value), False
        if isinstance(value, list):
            raise TypeError(value)
        return value, False

    return read


def _reflected(connection: Connection) -> Sequence[Table]:
    """All tables that hold what is kept, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name != VERSION and not search.is_ours(name))
    return metadata.sorted_tables


def _last_numbers(connection: Connection, tables: Sequence[Table]) -> dict[str, int]:
    found = {}
    given: Mapping[str, int] = {}
    if connection.dialect.name == "sqlite":
        given = dict(connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all())
    for table in tables:
        if table.primary_key.columns.keys() != ["id"]:
            continue
        highest = connection.execute(select(func.max(table.columns["id"]))).scalar() or 0
        sequence = _sequence(connection, table)
        if sequence is not None:
            last, used = connection.exec_driver_sql(
                f"SELECT last_value, is_called FROM {sequence}"
            ).one()
            highest = max(highest, last if used else 0)
        found[str(table.name)] = max(highest, given.get(table.name, 0))
    return found


def _set_last_numbers(
    connection: Connection, tables: Sequence[Table], last: Mapping[str, int]
) -> None:
    for table in tables:
        number = last.get(table.name, 0)
        if not number:
            continue
        sequence = _sequence(connection, table)
        if sequence is not None:
            connection.execute(
                text("SELECT setval(:sequence, :number)"),
                {"sequence": sequence, "number": number},
            )
        elif connection.dialect.name == "sqlite" and _never_again(connection, table):
            values = {"name": table.name, "number": number}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :number)"), values)


def _sequence(connection: Connection, table: Table) -> str | None:
    """What numbers a table's rows on PostgreSQL."""
    if connection.dialect.name != "postgresql" or "id" not in table.columns:
        return None
    asked = select(func.pg_get_serial_sequence(table.name, "id"))
    found: str | None = connection.execute(asked).scalar()
    return found


def _never_again(connection: Connection, table: Table) -> bool:
    """Whether a table on SQLite gives no number out twice."""
    asked = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    return "AUTOINCREMENT" in str(connection.execute(asked, {"name": table.name}).scalar()).upper()
