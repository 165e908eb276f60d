"""take_backs.user_id: who may still delete a message whose job is gone"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("take_backs", sa.Column("user_id", sa.BigInteger(), nullable=True))
