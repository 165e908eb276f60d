"""${message}"""

import sqlalchemy as sa
from alembic import op

from storage.schema import refuse_downgrade as downgrade  # noqa: F401 - alembic's name
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
