"""The first tables."""

from alembic import op

from phi_common.db import grant
from phi_common.migrations import PLUMBING_1

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE address_blocks (
    channel text NOT NULL,
    digest bytea NOT NULL,
    blocked boolean NOT NULL,
    held integer DEFAULT 0 NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT pk_address_blocks PRIMARY KEY (channel, digest)
);
CREATE TABLE addresses (
    patient_id uuid NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT pk_addresses PRIMARY KEY (patient_id, digest)
);
CREATE INDEX ix_addresses_digest ON addresses (digest);
CREATE TABLE consents (
    patient_id uuid NOT NULL,
    version bigint NOT NULL,
    channel text NOT NULL,
    permission text NOT NULL,
    since timestamptz NOT NULL,
    evidence bytea NOT NULL,
    CONSTRAINT pk_consents PRIMARY KEY (patient_id, version)
);
CREATE TABLE flagged (
    id uuid NOT NULL,
    provider_id text NOT NULL,
    patient_id uuid,
    channel text NOT NULL,
    digest bytea NOT NULL,
    reply text NOT NULL,
    sealed bytea NOT NULL,
    received_at timestamptz NOT NULL,
    decide_by date NOT NULL,
    decision text,
    decided_by text,
    decided_at timestamptz,
    CONSTRAINT pk_flagged PRIMARY KEY (id)
);
CREATE INDEX ix_flagged_open ON flagged (received_at) WHERE decision IS NULL;
CREATE TABLE optouts (
    id uuid NOT NULL,
    provider_id text,
    channel text NOT NULL,
    digest bytea,
    patient_ids uuid[] NOT NULL,
    committed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    received_at timestamptz NOT NULL,
    effective_at timestamptz,
    confirm_for uuid,
    address bytea,
    traceparent text NOT NULL,
    CONSTRAINT pk_optouts PRIMARY KEY (id),
    CONSTRAINT uq_optouts_provider_id UNIQUE (provider_id)
);
CREATE INDEX ix_optouts_pending ON optouts (committed_at) WHERE effective_at IS NULL;
CREATE TABLE people (
    patient_id uuid NOT NULL,
    version bigint NOT NULL,
    deceased boolean NOT NULL,
    preferred text,
    holds uuid[] DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_people PRIMARY KEY (patient_id)
);
CREATE TABLE permits (
    id uuid NOT NULL,
    message_id uuid NOT NULL,
    patient_ids uuid[] NOT NULL,
    channel text NOT NULL,
    digest bytea,
    purpose text NOT NULL,
    optout_id uuid,
    version bigint NOT NULL,
    issued_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at timestamptz,
    outcome text,
    CONSTRAINT pk_permits PRIMARY KEY (id)
);
CREATE INDEX ix_permits_expires_at ON permits (expires_at);
CREATE UNIQUE INDEX uq_permits_message_id ON permits (message_id) WHERE outcome IS DISTINCT FROM 'not-sent';
CREATE UNIQUE INDEX uq_permits_optout_id ON permits (optout_id) WHERE outcome IS DISTINCT FROM 'not-sent';
CREATE TABLE preferences (
    patient_id uuid NOT NULL,
    channel text NOT NULL,
    permission text NOT NULL,
    version bigint NOT NULL,
    since timestamptz NOT NULL,
    CONSTRAINT pk_preferences PRIMARY KEY (patient_id, channel)
);
CREATE TABLE replies (
    provider_id text NOT NULL,
    reply text NOT NULL,
    flagged boolean NOT NULL,
    received_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_replies PRIMARY KEY (provider_id)
);
COMMENT ON TABLE address_blocks IS
    'A row for each address ever seen, so that permits and opt-outs have something to lock.';
COMMENT ON COLUMN address_blocks.held IS 'open replies in doubt from here';
COMMENT ON COLUMN flagged.patient_id IS 'nobody where the number is nobody''s';
COMMENT ON COLUMN flagged.sealed IS 'the words, for who has to read them';
COMMENT ON COLUMN optouts.received_at IS 'by the provider, where that is known; real time';
COMMENT ON COLUMN optouts.confirm_for IS 'the person at whose address a confirmation may go out';
COMMENT ON COLUMN optouts.address IS 'where to, sealed; until that is announced';
COMMENT ON COLUMN optouts.traceparent IS 'of the text or the request; its confirmation is in it';
COMMENT ON COLUMN people.holds IS 'replies in doubt, not read yet';
COMMENT ON COLUMN permits.optout_id IS 'the opt-out that this message confirms';
COMMENT ON TABLE addresses IS 'Who can be reached where, as blind digests.';
COMMENT ON TABLE consents IS 'Everything a person ever allowed or forbade, with sealed evidence; only added to.';
COMMENT ON TABLE flagged IS 'Replies that a person has to read, one row for each person at the number.';
COMMENT ON TABLE preferences IS 'What holds now. No row means no.';
COMMENT ON TABLE replies IS
    'Each text received, by the provider''s id. Words are kept of flagged ones alone.';
"""


def upgrade() -> None:
    op.execute(PLUMBING_1)
    op.execute(TABLES)
    grant(op, "consent")
