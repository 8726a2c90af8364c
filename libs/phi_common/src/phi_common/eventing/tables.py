"""The plumbing's tables. Each service has its own copies, made by its own migrations."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, UUID

NOW = sa.text("now()")
XID8 = type("XID8", (sa.types.UserDefinedType,), {"cache_ok": True, "get_col_spec": lambda self, **kw: "xid8"})
INSTANT = sa.DateTime(timezone=True)


def plumbing(metadata: sa.MetaData) -> None:
    """Add the shared tables to a service's metadata."""
    sa.Table(
        "subjects",
        metadata,
        sa.Column("id", UUID, primary_key=True),
        sa.Column("merged_into", UUID),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("erased_at", INSTANT),
    )
    sa.Table(
        "bucket_keys",
        metadata,
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wrapped", BYTEA, nullable=False),
    )
    sa.Table(
        "patient_keys",
        metadata,
        sa.Column("patient_id", UUID, primary_key=True),
        sa.Column("wrapped", BYTEA, nullable=False),
    )
    _eventing(metadata)
    _audit(metadata)


def _eventing(metadata: sa.MetaData) -> None:
    sa.Table(
        "inbox",
        metadata,
        sa.Column("event_id", UUID, primary_key=True),
        sa.Column("at", INSTANT, nullable=False, server_default=NOW),
        sa.Index(None, "at", postgresql_using="brin"),
    )
    sa.Table(
        "outbox",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("key", UUID, nullable=False),
        sa.Column("event_id", UUID, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("ck", BYTEA, nullable=False),
        sa.Column("body", BYTEA, nullable=False),
        sa.Column("stored", INSTANT, nullable=False, server_default=sa.text("clock_timestamp()")),
    )
    sa.Table(
        "dead_letters",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", UUID, nullable=False, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("patient_id", UUID),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("body", BYTEA, nullable=False),
        sa.Column("at", INSTANT, nullable=False, server_default=NOW),
        sa.Index(None, "topic", "patient_id"),
    )
    sa.Table(
        "answers",
        metadata,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_hash", BYTEA, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", BYTEA, nullable=False),
        sa.Column("at", INSTANT, nullable=False, server_default=NOW),
        sa.Index(None, "at", postgresql_using="brin"),
    )


def _audit(metadata: sa.MetaData) -> None:
    sa.Table(
        "audit",
        metadata,
        sa.Column("id", UUID, primary_key=True),
        sa.Column("xid", XID8, nullable=False, server_default=sa.text("pg_current_xact_id()"), index=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("patients", sa.ARRAY(UUID), nullable=False),
        sa.Column("details", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("traces", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("stored", INSTANT, nullable=False, server_default=sa.text("clock_timestamp()")),
    )
    sa.Table(
        "audit_blocks",
        metadata,
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("from_xid", XID8, nullable=False),
        sa.Column("to_xid", XID8, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("root", BYTEA, nullable=False),
        sa.Column("previous", BYTEA, nullable=False),
        sa.Column("at", INSTANT, nullable=False, server_default=sa.text("clock_timestamp()")),
    )
