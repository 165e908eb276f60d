"""presets of servers and of people in one table, each with a number that jobs know it by"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OLD = {"guild": ("presets", "guild_id"), "person": ("own_presets", "user_id")}
KEY_MAX = 100


def upgrade() -> None:
    op.create_table(
        "numbered_presets",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    for scope, (table, owner) in OLD.items():
        op.execute(
            "INSERT INTO numbered_presets (scope, owner_id, key, preset, created_at)"
            f" SELECT '{scope}', {owner}, key, preset, created_at FROM {table}"
            f" ORDER BY {owner}, key"
        )
        op.drop_table(table)
    op.rename_table("numbered_presets", "presets")
    op.create_index(
        "presets_by_name",
        "presets",
        ["scope", "owner_id", "key"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("presets_by_key", "presets", ["key", "scope"])
    op.add_column("jobs", sa.Column("preset_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "jobs", sa.Column("preset_own", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    _number_jobs()
    op.create_index(
        "jobs_by_preset",
        "jobs",
        ["preset_id", "user_id", "state", "id"],
        sqlite_where=sa.text("preset_id IS NOT NULL"),
        postgresql_where=sa.text("preset_id IS NOT NULL"),
    )


def _number_jobs() -> None:
    """Let jobs know the server's preset of the name that they have, where there is one."""
    connection = op.get_bind()
    jobs = sa.table("jobs", *map(sa.column, ("guild_id", "preset", "preset_id")))
    rows = connection.execute(
        sa.text("SELECT id, owner_id, key FROM presets WHERE scope = 'guild'")
    )
    numbers = {(row.owner_id, row.key): row.id for row in rows}
    named = sa.select(jobs.c.guild_id, jobs.c.preset).where(jobs.c.preset.is_not(None)).distinct()
    found = [
        {"guild": row.guild_id, "name": row.preset, "number": number}
        for row in connection.execute(named).all()
        if (number := numbers.get((row.guild_id, row.preset.casefold()[:KEY_MAX]))) is not None
    ]
    if not found:
        return
    # one pass over the jobs, however many presets there are
    op.create_table(
        "preset_numbers",
        sa.Column("guild", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("guild", "name"),
    )
    numbers_table = sa.table("preset_numbers", *map(sa.column, ("guild", "name", "number")))
    connection.execute(numbers_table.insert(), found)
    op.execute(
        "UPDATE jobs SET preset_id = (SELECT number FROM preset_numbers"
        " WHERE guild = jobs.guild_id AND name = jobs.preset) WHERE preset IS NOT NULL"
    )
    op.drop_table("preset_numbers")
