"""Conversations, deliveries, the portal inbox and reviews; what the service and what the gate may touch."""

from alembic import op

from phi_common.db import grant
from phi_common.migrations import PLUMBING_1

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE conversations (
    patient_id uuid NOT NULL,
    sealed bytea NOT NULL,
    due_at timestamptz,
    CONSTRAINT pk_conversations PRIMARY KEY (patient_id)
);
CREATE INDEX ix_conversations_due_at ON conversations (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE deliveries (
    message_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    gap_id uuid,
    optout_id uuid,
    attempt smallint NOT NULL,
    channel text NOT NULL,
    state text NOT NULL,
    reason text,
    due timestamptz NOT NULL,
    send_by timestamptz NOT NULL,
    sealed bytea NOT NULL,
    traceparent text NOT NULL,
    permit_id uuid,
    provider_id text,
    attempted_at timestamptz,
    at timestamptz,
    carrier text,
    carrier_at timestamptz,
    news boolean DEFAULT false NOT NULL,
    CONSTRAINT pk_deliveries PRIMARY KEY (message_id),
    CONSTRAINT ck_deliveries_state CHECK (
        state IN ('ready', 'attempting', 'sent', 'failed', 'unknown', 'refused', 'cancelled')
    ),
    CONSTRAINT ck_deliveries_cause CHECK (num_nonnulls(gap_id, optout_id) = 1)
);
CREATE INDEX ix_deliveries_news ON deliveries (patient_id) WHERE news;
CREATE INDEX ix_deliveries_open ON deliveries (due) WHERE state IN ('ready', 'attempting', 'unknown');
CREATE TABLE portal_messages (
    id uuid NOT NULL,
    patient_id uuid NOT NULL,
    sealed bytea NOT NULL,
    at timestamptz NOT NULL,
    read_at timestamptz,
    CONSTRAINT pk_portal_messages PRIMARY KEY (id)
);
CREATE INDEX ix_portal_messages_patient_id ON portal_messages (patient_id);
CREATE TABLE reviews (
    gap_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    CONSTRAINT pk_reviews PRIMARY KEY (gap_id)
);
CREATE INDEX ix_reviews_open ON reviews (opened_at) WHERE closed_at IS NULL;
COMMENT ON COLUMN deliveries.optout_id IS 'the opt-out that this message confirms; then there is no gap';
COMMENT ON COLUMN deliveries.state IS 'ready, attempting, sent, failed, unknown, refused, cancelled';
COMMENT ON COLUMN deliveries.reason IS 'why it failed or was refused';
COMMENT ON COLUMN deliveries.sealed IS 'address and text';
COMMENT ON COLUMN deliveries.traceparent IS 'of the message that this one came of';
COMMENT ON COLUMN deliveries.attempted_at IS 'real time of the claim, then of the permit';
COMMENT ON COLUMN deliveries.at IS 'business time of the outcome';
COMMENT ON COLUMN deliveries.carrier IS 'delivered or undelivered, as the carrier reported';
COMMENT ON COLUMN deliveries.news IS 'not yet told to the conversation';
COMMENT ON COLUMN portal_messages.id IS 'the message id: a repeat cannot become a second message';
"""


def upgrade() -> None:
    """Create every table; the gate sees deliveries and keys, and no conversation."""
    op.execute(PLUMBING_1)
    op.execute(TABLES)
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
