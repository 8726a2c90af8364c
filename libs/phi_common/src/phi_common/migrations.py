"""The plumbing's tables as they were made, step by step: what a service's migration runs beside its own statements.

A step that was released never changes. When `eventing.tables` changes, a new step is added here, and each service gets
a migration that runs it; made from today's tables, a step would leave databases behind that are there already.
"""

PLUMBING_1 = """
CREATE TABLE subjects (
    id uuid NOT NULL,
    merged_into uuid,
    version bigint DEFAULT 0 NOT NULL,
    erased_at timestamptz,
    CONSTRAINT pk_subjects PRIMARY KEY (id)
);
CREATE TABLE bucket_keys (
    bucket integer NOT NULL,
    wrapped bytea NOT NULL,
    CONSTRAINT pk_bucket_keys PRIMARY KEY (bucket)
);
CREATE TABLE patient_keys (
    patient_id uuid NOT NULL,
    wrapped bytea NOT NULL,
    CONSTRAINT pk_patient_keys PRIMARY KEY (patient_id)
);
CREATE TABLE inbox (
    event_id uuid NOT NULL,
    at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_inbox PRIMARY KEY (event_id)
);
CREATE INDEX ix_inbox_at ON inbox USING brin (at);
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    partition integer NOT NULL,
    key uuid NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    traceparent text NOT NULL,
    ck bytea NOT NULL,
    body bytea NOT NULL,
    stored timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id)
);
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    patient_id uuid,
    type text NOT NULL,
    reason text NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL,
    at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_dead_letters PRIMARY KEY (id),
    CONSTRAINT uq_dead_letters_event_id UNIQUE (event_id)
);
CREATE INDEX ix_dead_letters_topic_patient_id ON dead_letters (topic, patient_id);
CREATE TABLE answers (
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_answers PRIMARY KEY (key)
);
CREATE INDEX ix_answers_at ON answers USING brin (at);
CREATE TABLE audit (
    id uuid NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    patients uuid[] NOT NULL,
    details text[] NOT NULL,
    traces text[] NOT NULL,
    stored timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE INDEX ix_audit_xid ON audit (xid);
CREATE TABLE audit_blocks (
    number bigint NOT NULL,
    from_xid xid8 NOT NULL,
    to_xid xid8 NOT NULL,
    rows bigint NOT NULL,
    root bytea NOT NULL,
    previous bytea NOT NULL,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_audit_blocks PRIMARY KEY (number)
);
"""
