"""reservations are found by their operation: at its end those are freed that came to nothing"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("reservations_of_operation", "reservation", ["operation_id"])


def downgrade() -> None:
    op.drop_index("reservations_of_operation", "reservation")
