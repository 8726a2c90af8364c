"""The first tables."""

from alembic import op

from phi_common.db import grant
from phi_common.migrations import PLUMBING_1

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE profiles (
    patient_id uuid NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT pk_profiles PRIMARY KEY (patient_id)
);
"""


def upgrade() -> None:
    """Create every table and let the service's role work with them."""
    op.execute(PLUMBING_1)
    op.execute(TABLES)
    grant(op, "patient_profile")
