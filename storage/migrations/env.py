"""Alembic's entry: the schema of `storage.tables`, on the database that the caller names."""

import asyncio
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, pool
from sqlalchemy.types import TypeDecorator

from storage.database import make_database
from storage.search import is_ours
from storage.tables import Table


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Migrations name plain column types, so that an old one outlives a change of our own."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def include_object(
    _item: Any, name: str | None, kind: str, _reflected: bool, _declared: Any
) -> bool:
    """Whether a difference counts: what the search has beside the declared tables does not."""
    return kind not in ("table", "index") or not is_ours(name)


def migrate(connection: Connection) -> None:
    """Run the migrations within the transaction of an open connection, all or none."""
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        render_item=render_item,
        include_object=include_object,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_online() -> None:
    """Open the database that was named and migrate it."""
    config = context.config
    url = config.attributes.get("url") or config.get_main_option("sqlalchemy.url") or ""
    database = make_database(url, "migrate", poolclass=pool.NullPool)
    async with database.begin() as connection:
        await connection.run_sync(migrate)
    await database.dispose()


handed_over: Connection | None = context.config.attributes.get("connection")
if handed_over is not None:
    migrate(handed_over)
else:
    asyncio.run(migrate_online())
