"""Golden records, sealed. Sets in, sets out."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from patient_profile.domain import Golden
from phi_common.db import NAMING, Tx, columns
from phi_common.eventing.tables import plumbing

PROFILE = "profiles.sealed"

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("patient_id", sa.Uuid, primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
)

LOAD = "SELECT patient_id, sealed FROM profiles WHERE patient_id = ANY(%b)"
SAVE = """
INSERT INTO profiles (patient_id, sealed) SELECT * FROM unnest(%b::uuid[], %b::bytea[])
ON CONFLICT (patient_id) DO UPDATE SET sealed = excluded.sealed
"""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Golden).decode


async def load_profiles(tx: Tx, ids: Sequence[UUID]) -> dict[UUID, Golden]:
    """The record of every id; an empty one for a person not reported before."""
    ids = list(ids)
    rows = await tx.rows(LOAD, [ids])
    found = {patient: decode(tx.open(patient, PROFILE, sealed)) for patient, sealed in rows if tx.knows(patient)}
    return {patient: found.get(patient) or Golden(patient) for patient in ids}


async def save_profiles(tx: Tx, changed: dict[UUID, Golden]) -> None:
    """Store records."""
    rows = [(patient, tx.seal(patient, PROFILE, encode(record))) for patient, record in changed.items()]
    tx.later(SAVE, columns(rows, 2))
