"""The first tables."""

from alembic import op

from patient_profile.storage import metadata
from phi_common.db import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table and let the service's role work with them."""
    metadata.create_all(op.get_bind())
    grant(op, "patient_profile")
