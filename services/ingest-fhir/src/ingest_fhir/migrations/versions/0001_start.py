"""Raw messages, identifiers and the plumbing."""

from alembic import op

from phi_common.db import grant
from phi_common.migrations import PLUMBING_1

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE identifiers (
    digest bytea NOT NULL,
    patient_id uuid NOT NULL,
    CONSTRAINT pk_identifiers PRIMARY KEY (digest)
);
CREATE INDEX ix_identifiers_patient_id ON identifiers (patient_id);
CREATE TABLE raw_messages (
    id uuid NOT NULL,
    patient_id uuid,
    kind text NOT NULL,
    source text NOT NULL,
    received timestamptz NOT NULL,
    sha256 bytea NOT NULL,
    sealed bytea NOT NULL,
    problem text,
    traceparent text NOT NULL,
    CONSTRAINT pk_raw_messages PRIMARY KEY (id)
);
CREATE INDEX ix_raw_messages_patient_id ON raw_messages (patient_id);
"""


def upgrade() -> None:
    """Make every table and let the service work with them."""
    op.execute(PLUMBING_1)
    op.execute(TABLES)
    grant(op, "ingest_fhir")
