"""Raw messages, identifiers and the plumbing."""

from alembic import op

from ingest_fhir.storage import metadata
from phi_common.db import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table and let the service work with them."""
    metadata.create_all(op.get_bind())
    grant(op, "ingest_fhir")
