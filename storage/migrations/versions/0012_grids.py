"""grids: what several requests together show"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "grids",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_grids_user_id", "grids", ["user_id"])
    op.create_index("ix_grids_state", "grids", ["state"])
    op.add_column("jobs", sa.Column("grid_id", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("grid_place", sa.Integer(), nullable=True))
    op.create_index(
        "jobs_by_grid",
        "jobs",
        ["grid_id", "grid_place"],
        sqlite_where=sa.text("grid_id IS NOT NULL"),
        postgresql_where=sa.text("grid_id IS NOT NULL"),
    )
