"""Addresses as blind digests: whose they are, and whether they may still be used."""

from uuid import UUID

import phonenumbers

from phi_common.crypto import BlindIndex
from phi_common.events.consent import Channel
from phi_common.transaction import Tx

HOME_REGION = "US"

PATIENTS = "SELECT DISTINCT patient_id FROM addresses WHERE digest = %b ORDER BY patient_id"
BLOCK = """
INSERT INTO address_blocks (channel, digest, blocked, version) VALUES (%s, %b, true, 1)
ON CONFLICT (channel, digest) DO UPDATE SET blocked = true, version = address_blocks.version + 1
WHERE NOT address_blocks.blocked RETURNING 1
"""
HOLD = """
INSERT INTO address_blocks (channel, digest, blocked, held, version) VALUES (%s, %b, false, %s, 1)
ON CONFLICT (channel, digest) DO UPDATE
SET held = address_blocks.held + excluded.held, version = address_blocks.version + 1
"""
RELEASE = "UPDATE address_blocks SET held = held - 1, version = version + 1 WHERE channel = %s AND digest = %b"
LIFT = """
WITH own AS (
    SELECT b.digest FROM address_blocks b
    WHERE b.channel = %s AND b.blocked AND b.digest IN (SELECT digest FROM addresses WHERE patient_id = %b)
    ORDER BY b.digest FOR UPDATE
)
UPDATE address_blocks b SET blocked = false, version = version + 1
FROM own WHERE b.channel = %s AND b.digest = own.digest
"""


def normal(kind: str, value: str) -> str | None:
    """The one way to write an address; None when nothing could be sent there."""
    if kind != "phone":
        return value.strip().casefold() if "@" in value else None
    try:
        number = phonenumbers.parse(value, HOME_REGION)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if possible else None


def digest_of(index: BlindIndex, kind: str, value: str) -> bytes:
    """What an address is looked up by; one without a normal form, as a short code, stands for itself."""
    return index.digest(kind, normal(kind, value) or value.strip())


async def patients_at(tx: Tx, digest: bytes) -> list[UUID]:
    """Everybody on record with this address: a STOP from a shared phone is a STOP for all of them."""
    return [patient for (patient,) in await tx.rows(PATIENTS, [digest])]


async def block(tx: Tx, channel: Channel, digest: bytes) -> bool:
    """No more messages to this address, whoever has it; whether it was open until now.

    Waits for permits that are just being granted: an address that is blocked already is locked all the same.
    """
    blocked = await tx.execute(BLOCK, [channel.value, digest])
    return await blocked.fetchone() is not None


async def hold(tx: Tx, channel: Channel, digest: bytes, times: int) -> None:
    """No messages to this address until each of these holds was released."""
    await tx.execute(HOLD, [channel.value, digest, times])


async def release(tx: Tx, channel: Channel, digest: bytes) -> None:
    """Take one hold away; a block stays."""
    await tx.execute(RELEASE, [channel.value, digest])


async def lift(tx: Tx, channel: Channel, patient_id: UUID) -> None:
    """New consent opens the person's own addresses again; others at the same number keep their own block."""
    await tx.execute(LIFT, [channel.value, patient_id, channel.value])
