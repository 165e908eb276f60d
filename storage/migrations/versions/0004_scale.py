"""Indexes, the search of prompts, what asked, uploads of jobs, deletions under way"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from storage.errors import DatabaseError
from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHUNK = 1000
INDEXES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "jobs_by_user_state": (["user_id", "state", "id"], {}),
    "jobs_by_user_model": (["user_id", "model", "state", "id"], {}),
    "jobs_by_user_preset": (
        ["user_id", "preset", "state", "id"],
        {
            "sqlite_where": sa.text("preset IS NOT NULL"),
            "postgresql_where": sa.text("preset IS NOT NULL"),
        },
    ),
    "jobs_by_quota": (["user_id", "guild_id", "created_at", "state", "image_count"], {}),
    "jobs_by_time": (["created_at", "state"], {}),
    "jobs_undelivered": (
        ["state", "id"],
        {
            "sqlite_where": sa.text("delivered_at IS NULL"),
            "postgresql_where": sa.text("delivered_at IS NULL"),
        },
    ),
    "jobs_by_asked_by": (["asked_by"], {"unique": True}),
}
OWNER = (
    "char(19968 + {0}.user_id % 20000, 19968 + {0}.user_id / 20000 % 20000,"
    " 19968 + {0}.user_id / 400000000 % 20000)"
)
"""A person as one trigram, so that the search goes through their own jobs alone."""
REMEMBER = f"""
    INSERT INTO jobs_search (rowid, owner, words) VALUES (new.id, {OWNER.format("new")}, new.words);
"""
FORGET = f"""
    INSERT INTO jobs_search (jobs_search, rowid, owner, words)
    VALUES ('delete', old.id, {OWNER.format("old")}, old.words);
"""


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("image_count", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column("jobs", sa.Column("asked_by", sa.String(length=200), nullable=True))
    op.create_table(
        "uploads",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "file"),
    )
    op.create_index("ix_uploads_file", "uploads", ["file"])
    op.create_table(
        "handed_in",
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.Column("handed_in_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file"),
    )
    op.create_index("ix_handed_in_handed_in_at", "handed_in", ["handed_in_at"])
    op.create_table(
        "deletions",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_job", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "take_backs",
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
    )
    _fill()
    for name, (columns, options) in INDEXES.items():
        op.create_index(name, "jobs", columns, **options)
    if op.get_bind().dialect.name == "sqlite":
        _search_by_fts5()
    else:
        _search_by_trigrams()


def _fill() -> None:
    """How many pictures the jobs that are there ask for, and the pictures that they start from."""
    jobs = sa.table("jobs", *map(sa.column, ("id", "request", "image_count")))
    uploads = sa.table("uploads", sa.column("job_id"), sa.column("file"))
    connection = op.get_bind()
    last = 0
    while True:
        some = sa.select(jobs.c.id, jobs.c.request).where(jobs.c.id > last).order_by(jobs.c.id)
        rows = connection.execute(some.limit(CHUNK)).all()
        if not rows:
            return
        last = rows[-1].id
        counts: dict[int, list[int]] = {}
        files = []
        for row in rows:
            count, named = _read(row.request)
            counts.setdefault(count, []).append(row.id)
            files += [{"job_id": row.id, "file": file} for file in sorted(named)]
        for count, ids in counts.items():
            if count != 1:
                connection.execute(
                    jobs.update().where(jobs.c.id.in_(ids)).values(image_count=count)
                )
        if files:
            connection.execute(uploads.insert(), files)


def _read(request: Any) -> tuple[int, set[str]]:
    """A request's count and uploads; one that can't be read asks for one picture of nothing."""
    try:
        read = json.loads(request)
        named = {read.get("init_picture"), *(use["picture"] for use in read.get("controls", ()))}
        return int(read.get("count", 1)), {file for file in named if isinstance(file, str)}
    except (ValueError, TypeError, AttributeError, KeyError):
        return 1, set()


def _search_by_fts5() -> None:
    op.execute(
        "CREATE VIRTUAL TABLE jobs_search USING fts5"
        "(owner, words, content='', tokenize='trigram', detail=column)"
    )
    op.execute(
        "INSERT INTO jobs_search (rowid, owner, words)"
        f" SELECT id, {OWNER.format('jobs')}, words FROM jobs"
    )
    op.execute(f"CREATE TRIGGER jobs_search_insert AFTER INSERT ON jobs BEGIN {REMEMBER} END")
    op.execute(f"CREATE TRIGGER jobs_search_delete AFTER DELETE ON jobs BEGIN {FORGET} END")
    op.execute(
        "CREATE TRIGGER jobs_search_update AFTER UPDATE OF id, user_id, words ON jobs"
        f" BEGIN {FORGET} {REMEMBER} END"
    )


def _search_by_trigrams() -> None:
    """An index of trigrams where the database may have one; a search finds the same without."""
    available = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
    connection = op.get_bind()
    if connection.execute(sa.text(available)).first() is None:
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            connection.execute(
                sa.text("CREATE INDEX jobs_search ON jobs USING gin (words gin_trgm_ops)")
            )
    except (sa.exc.DBAPIError, DatabaseError):
        pass  # it takes a right that this role may lack
