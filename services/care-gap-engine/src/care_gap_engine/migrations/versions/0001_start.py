"""The first tables."""

from alembic import op

from phi_common.db import grant
from phi_common.migrations import PLUMBING_1

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE charts (
    patient_id uuid NOT NULL,
    sealed bytea NOT NULL,
    due_at timestamptz,
    CONSTRAINT pk_charts PRIMARY KEY (patient_id)
);
CREATE INDEX ix_charts_due_at ON charts (due_at);
CREATE TABLE facts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    patient_id uuid NOT NULL,
    recorded timestamptz NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT pk_facts PRIMARY KEY (id)
);
CREATE INDEX ix_facts_patient_id ON facts (patient_id);
CREATE TABLE gaps (
    gap_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    rule text NOT NULL,
    state text NOT NULL,
    opened timestamptz,
    closed timestamptz,
    CONSTRAINT pk_gaps PRIMARY KEY (gap_id)
);
CREATE INDEX ix_gaps_patient_id ON gaps (patient_id);
"""


def upgrade() -> None:
    """Create every table and let the service's role work with them; the history of facts only grows."""
    op.execute(PLUMBING_1)
    op.execute(TABLES)
    grant(op, "care_gap_engine")
    op.execute('REVOKE UPDATE, DELETE ON "facts" FROM "care_gap_engine"')
