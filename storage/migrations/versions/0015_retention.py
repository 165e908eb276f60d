"""retention: which pictures' files are no longer kept"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "pictures", sa.Column("removed", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index(
        "pictures_kept",
        "pictures",
        ["job_id"],
        sqlite_where=sa.text("removed IS 0"),
        postgresql_where=sa.text("removed IS false"),
    )
