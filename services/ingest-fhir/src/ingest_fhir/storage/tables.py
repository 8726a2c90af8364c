"""Tables of this service beside the shared ones."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from phi_common.db import NAMING
from phi_common.eventing.tables import plumbing

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)

identifiers = sa.Table(
    "identifiers",
    metadata,
    sa.Column("digest", BYTEA, primary_key=True),
    sa.Column("patient_id", UUID, nullable=False, index=True),
)

raw_messages = sa.Table(
    "raw_messages",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("patient_id", UUID, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("received", sa.DateTime(timezone=True), nullable=False),
    sa.Column("sha256", BYTEA, nullable=False),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("problem", sa.Text),
    sa.Column("traceparent", sa.Text, nullable=False),
)
