"""The first tables."""

from alembic import op

from consent.storage import metadata
from phi_common.db import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    grant(op, "consent")
