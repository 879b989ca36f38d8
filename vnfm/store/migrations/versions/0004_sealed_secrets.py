"""secrets of VIMs are kept sealed, apart from their configurations

What stands plain in older rows is sealed at the first start that is given a key: a migration has none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("vim", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sealed", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("vim", schema=None) as batch_op:
        batch_op.drop_column("sealed")
