"""descriptions: what was seen in pictures that people had described"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("description", sa.Text(), nullable=True))
