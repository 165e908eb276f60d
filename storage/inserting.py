"""INSERT that can say what becomes of a row that is there already."""

from typing import Any, Final

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(dialect: Dialect, table: Any) -> Any:
    """An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return _INSERTS[dialect.name](table)
