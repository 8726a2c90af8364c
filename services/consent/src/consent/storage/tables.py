"""The tables of consent.

Rows are locked in one order everywhere: subjects, people, preferences, addresses; each in ascending order.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, UUID

from phi_common.db import NAMING
from phi_common.eventing.tables import plumbing

INSTANT = sa.DateTime(timezone=True)
REAL_NOW = sa.text("clock_timestamp()")

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)

people = sa.Table(
    "people",
    metadata,
    sa.Column("patient_id", UUID, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("deceased", sa.Boolean, nullable=False),
    sa.Column("preferred", sa.Text),
    sa.Column("holds", ARRAY(UUID), nullable=False, server_default="{}", comment="replies in doubt, not read yet"),
)
preferences = sa.Table(
    "preferences",
    metadata,
    sa.Column("patient_id", UUID, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("permission", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("since", INSTANT, nullable=False),
    comment="What holds now. No row means no.",
)
consents = sa.Table(
    "consents",
    metadata,
    sa.Column("patient_id", UUID, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("permission", sa.Text, nullable=False),
    sa.Column("since", INSTANT, nullable=False),
    sa.Column("evidence", BYTEA, nullable=False),
    comment="Everything a person ever allowed or forbade, with sealed evidence; only added to.",
)
addresses = sa.Table(
    "addresses",
    metadata,
    sa.Column("patient_id", UUID, primary_key=True),
    sa.Column("digest", BYTEA, primary_key=True),
    sa.Index(None, "digest"),
    comment="Who can be reached where, as blind digests.",
)
address_blocks = sa.Table(
    "address_blocks",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("digest", BYTEA, primary_key=True),
    sa.Column("blocked", sa.Boolean, nullable=False),
    sa.Column("held", sa.Integer, nullable=False, server_default="0", comment="open replies in doubt from here"),
    sa.Column("version", sa.BigInteger, nullable=False),
    comment="A row for each address ever seen, so that permits and opt-outs have something to lock.",
)
permits = sa.Table(
    "permits",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("message_id", UUID, nullable=False),
    sa.Column("patient_ids", ARRAY(UUID), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("digest", BYTEA),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("optout_id", UUID, comment="the opt-out that this message confirms"),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("issued_at", INSTANT, nullable=False, server_default=REAL_NOW),
    sa.Column("expires_at", INSTANT, nullable=False, index=True),
    sa.Column("closed_at", INSTANT),
    sa.Column("outcome", sa.Text),
    sa.Index(
        "uq_permits_message_id",
        "message_id",
        unique=True,
        postgresql_where=sa.text("outcome IS DISTINCT FROM 'not-sent'"),
    ),
    sa.Index(
        "uq_permits_optout_id",
        "optout_id",
        unique=True,
        postgresql_where=sa.text("outcome IS DISTINCT FROM 'not-sent'"),
    ),
)
optouts = sa.Table(
    "optouts",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("provider_id", sa.Text, unique=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("digest", BYTEA),
    sa.Column("patient_ids", ARRAY(UUID), nullable=False),
    sa.Column("committed_at", INSTANT, nullable=False, server_default=REAL_NOW),
    sa.Column("received_at", INSTANT, nullable=False, comment="by the provider, where that is known; real time"),
    sa.Column("effective_at", INSTANT),
    sa.Column("confirm_for", UUID, comment="the person at whose address a confirmation may go out"),
    sa.Column("address", BYTEA, comment="where to, sealed; until that is announced"),
    sa.Column("traceparent", sa.Text, nullable=False, comment="of the text or the request; its confirmation is in it"),
    sa.Index("ix_optouts_pending", "committed_at", postgresql_where=sa.text("effective_at IS NULL")),
)
replies = sa.Table(
    "replies",
    metadata,
    sa.Column("provider_id", sa.Text, primary_key=True),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("flagged", sa.Boolean, nullable=False),
    sa.Column("received_at", INSTANT, nullable=False, server_default=REAL_NOW),
    comment="Each text received, by the provider's id. Words are kept of flagged ones alone.",
)
flagged = sa.Table(
    "flagged",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("provider_id", sa.Text, nullable=False),
    sa.Column("patient_id", UUID, comment="nobody where the number is nobody's"),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("digest", BYTEA, nullable=False),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("sealed", BYTEA, nullable=False, comment="the words, for who has to read them"),
    sa.Column("received_at", INSTANT, nullable=False),
    sa.Column("decide_by", sa.Date, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided_at", INSTANT),
    sa.Index("ix_flagged_open", "received_at", postgresql_where=sa.text("decision IS NULL")),
    comment="Replies that a person has to read, one row for each person at the number.",
)
