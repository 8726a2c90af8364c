"""Conversations, deliveries, the portal inbox and reviews; what the service and what the gate may touch."""

from alembic import op

from outreach.storage import metadata
from phi_common.db import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table; the gate sees deliveries and keys, and no conversation."""
    metadata.create_all(op.get_bind())
    grant(op, "outreach")
    grant(
        op,
        "outreach_gate",
        {
            "deliveries": "SELECT, UPDATE",
            "portal_messages": "SELECT, INSERT",
            "patient_keys": "SELECT",
            "bucket_keys": "SELECT",
            "audit": "SELECT, INSERT",
            "outbox": "SELECT",
        },
    )
