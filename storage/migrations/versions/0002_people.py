"""Presets, settings, favourites, notices, history"""

import json

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("parent_picture", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("preset", sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column("model", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("words", sa.Text(), server_default="", nullable=False))
        batch_op.create_index("jobs_by_parent", ["parent_id"], unique=False)
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("position", sa.Integer(), nullable=True))
    with op.batch_alter_table("pictures", schema=None) as batch_op:
        batch_op.add_column(sa.Column("variation_seed", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("unsafe", sa.Float(), nullable=True))
    op.create_table(
        "favourites",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "job_id", "position"),
    )
    with op.batch_alter_table("favourites", schema=None) as batch_op:
        batch_op.create_index("favourites_by_job", ["job_id"], unique=False)
    op.create_table(
        "settings",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("values", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "id"),
    )
    op.create_table(
        "notices",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("what", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "what"),
    )
    op.create_table(
        "presets",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "key"),
    )
    op.create_table(
        "started_guilds",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("guild_id"),
    )
    op.create_table(
        "history_queries",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("history_queries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_history_queries_user_id"), ["user_id"], unique=False)
    op.create_table(
        "spent",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("spent", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_spent_user_id"), ["user_id"], unique=False)
    _fill()


def _fill() -> None:
    """Model and words of the jobs that are there, from their requests."""
    jobs = sa.table(
        "jobs", sa.column("id"), sa.column("request"), sa.column("model"), sa.column("words")
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(jobs.c.id, jobs.c.request)).all():
        request = json.loads(row.request)
        connection.execute(
            jobs.update()
            .where(jobs.c.id == row.id)
            .values(model=request["model"], words=request["prompt"].casefold())
        )
