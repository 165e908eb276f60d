"""jobs.making becomes jobs.provenance"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("jobs", "making", new_column_name="provenance")


def downgrade() -> None:
    op.alter_column("jobs", "provenance", new_column_name="making")
