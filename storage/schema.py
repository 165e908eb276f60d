"""The schema's versions: which one a database has, and the way to the newest."""

from pathlib import Path
from typing import Final, NoReturn

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from storage.errors import SchemaNewerError, SchemaOlderError

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Bring the schema up to date within the connection's transaction. Raises SchemaNewerError."""
    if connection.dialect.name == "postgresql":
        # SQLite's writers are alone anyhow
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(727001)")
    try:
        check(connection)
    except SchemaOlderError:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(connection: Connection) -> None:
    """Raise SchemaOlderError or SchemaNewerError where the schema is not this program's."""
    scripts = ScriptDirectory.from_config(alembic_config())
    newest = scripts.get_current_head()
    revision = revision_of(connection)
    if revision == newest:
        return
    if revision is not None and revision not in {s.revision for s in scripts.walk_revisions()}:
        raise SchemaNewerError(f"its schema is {revision}, and this Darkroom knows {newest}")
    raise SchemaOlderError(f"its schema is {revision or 'empty'}, and {newest} is needed")


def revision_of(connection: Connection) -> str | None:
    """Which schema a database has; None for one that has none."""
    return MigrationContext.configure(connection).get_current_revision()


def create(connection: Connection, revision: str) -> None:
    """Make the schema of that revision in an empty database. Raises SchemaNewerError."""
    scripts = ScriptDirectory.from_config(alembic_config())
    if revision not in {script.revision for script in scripts.walk_revisions()}:
        newest = scripts.get_current_head()
        raise SchemaNewerError(f"its schema is {revision}, and this Darkroom knows {newest}")
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def touch(connection: Connection) -> None:
    """Write what is there already, to see that the database can be written."""
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")


def alembic_config(url: str | None = None) -> AlembicConfig:
    """Alembic's configuration, for the database at `url` or for a connection to be handed over.

    It says nothing about logging, which is the program's own matter.
    """
    config = AlembicConfig()
    config.set_main_option("script_location", MIGRATIONS.as_posix())
    if url is not None:
        config.attributes["url"] = url
    return config


def refuse_downgrade() -> NoReturn:
    """Every migration's `downgrade`: what a newer schema holds has no place in an older one."""
    raise CommandError(
        "A database is not taken back to an older schema."
        " Restore the copy that was made before the newer Darkroom was started."
    )
