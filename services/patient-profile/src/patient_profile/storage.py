"""Golden records, sealed. Sets in, sets out."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from patient_profile.domain import Golden
from phi_common.db import NAMING, columns
from phi_common.eventing.tables import plumbing
from phi_common.transaction import Tx

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

KNOWN = "SELECT 1 FROM subjects WHERE id = %b"
ERASE = "DELETE FROM profiles WHERE patient_id = ANY(%b)"

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


async def is_known(tx: Tx, patient: UUID) -> bool:
    """Whether anything was ever heard of this patient, readable or not, erased since or not."""
    return bool(await tx.rows(KNOWN, [patient]))


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove the records of erased patients."""
    tx.later(ERASE, [list(patients)])
