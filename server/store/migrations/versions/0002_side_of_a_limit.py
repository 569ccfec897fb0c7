"""On which side of its limit a check's value must lie."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what the gate says of each check."""
    op.add_column("checks", sa.Column("side", sa.String(length=10), nullable=True))
