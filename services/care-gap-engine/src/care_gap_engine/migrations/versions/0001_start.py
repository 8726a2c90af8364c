"""The first tables."""

from alembic import op

from care_gap_engine.storage import metadata
from phi_common.db import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table and let the service's role work with them; the history of facts only grows."""
    metadata.create_all(op.get_bind())
    grant(op, "care_gap_engine")
    op.execute('REVOKE UPDATE, DELETE ON "facts" FROM "care_gap_engine"')
