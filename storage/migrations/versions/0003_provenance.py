"""jobs.making becomes jobs.provenance"""

from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("jobs", "making", new_column_name="provenance")
