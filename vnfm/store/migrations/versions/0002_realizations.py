"""what stands of chains and VNFs, and what operations make of them"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("chain", schema=None) as batch_op:
        batch_op.add_column(sa.Column("realization", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("grants", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("vnf_instance", schema=None) as batch_op:
        batch_op.add_column(sa.Column("isolation", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("scale_levels", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("realization", sa.JSON(), nullable=True))
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.add_column(sa.Column("desired", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.drop_column("desired")
    with op.batch_alter_table("vnf_instance", schema=None) as batch_op:
        batch_op.drop_column("realization")
        batch_op.drop_column("scale_levels")
        batch_op.drop_column("isolation")
    with op.batch_alter_table("chain", schema=None) as batch_op:
        batch_op.drop_column("grants")
        batch_op.drop_column("realization")
