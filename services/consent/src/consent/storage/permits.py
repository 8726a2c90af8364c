"""Permits to send one message, and opt-outs that wait until no permit can be used any more.

Grant shares the locks that an opt-out takes for itself, so PostgreSQL puts one before the other: a permit
granted first is seen by the drain, a permit asked for later sees the block. Times here are the database's
own, never business time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from consent.domain.permits import Outcome, Refusal, Standing, refusal
from consent.domain.preferences import ADDRESSED
from phi_common.clock import new_id
from phi_common.db import Tx
from phi_common.events.consent import Channel, Permission

TTL_MS = 5_000
MARGIN_MS = 5_100
"""A sender's pause before its call (2 s), the call (3 s) and clock drift over the life of a permit."""

SHARE_PEOPLE = """
SELECT patient_id, version, deceased FROM people WHERE patient_id = ANY(%b) ORDER BY patient_id FOR SHARE
"""
SHARE_RULES = """
SELECT patient_id, permission FROM preferences
WHERE patient_id = ANY(%b) AND channel = %s ORDER BY patient_id FOR SHARE
"""
SEE_ADDRESS = """
INSERT INTO address_blocks (channel, digest, blocked, version) VALUES (%s, %b, false, 0)
ON CONFLICT DO NOTHING
"""
SHARE_ADDRESS = "SELECT blocked FROM address_blocks WHERE channel = %s AND digest = %b FOR SHARE"
GRANT = """
INSERT INTO permits (id, message_id, patient_ids, channel, digest, purpose, version, expires_at)
VALUES (%b, %b, %b::uuid[], %s, %b, %s, %s, clock_timestamp() + %s * interval '1 ms')
ON CONFLICT (message_id) WHERE outcome IS DISTINCT FROM 'not-sent' DO NOTHING RETURNING id
"""
CLOSE = """
UPDATE permits SET closed_at = coalesce(closed_at, clock_timestamp()), outcome = %s
WHERE id = %b AND (outcome IS NULL OR outcome IN ('unknown', %s)) RETURNING id
"""
OPT_OUT = "INSERT INTO optouts (id, provider_id, channel, digest, patient_ids) VALUES (%b, %s, %s, %b, %b::uuid[])"
SETTLE = """
UPDATE optouts o SET effective_at = clock_timestamp()
WHERE o.effective_at IS NULL AND NOT EXISTS (
    SELECT FROM permits p
    WHERE p.expires_at > statement_timestamp() - %s * interval '1 ms'
      AND (p.closed_at IS NULL OR p.outcome = 'unknown')
      AND p.channel = o.channel AND (p.patient_ids && o.patient_ids OR p.digest = o.digest))
RETURNING o.id, o.channel, o.patient_ids
"""
ERASED = "SELECT id FROM subjects WHERE id = ANY(%b) AND erased_at IS NOT NULL"
UNLINK = (
    "UPDATE permits SET digest = NULL WHERE digest IS NOT NULL AND channel = %s AND patient_ids && %b::uuid[]",
    "UPDATE optouts SET digest = NULL WHERE digest IS NOT NULL AND channel = %s AND patient_ids && %b::uuid[] "
    "AND effective_at IS NOT NULL",
)


@dataclass(frozen=True)
class Request:
    """One message that wants to go out, to one person under all ids known for them."""

    message_id: UUID
    patient_ids: tuple[UUID, ...]
    channel: Channel
    digest: bytes | None
    purpose: str


@dataclass(frozen=True)
class Permit:
    """Leave to send one message, for `TTL_MS` from the moment it was asked for."""

    id: UUID


async def grant(tx: Tx, request: Request) -> Permit | Refusal:
    """A permit, or why not. No opt-out becomes effective before a granted one is closed or has run out."""
    ids, channel = sorted(set(request.patient_ids)), request.channel.value
    address = None
    people = tx.ahead(SHARE_PEOPLE, [ids])
    rules = tx.ahead(SHARE_RULES, [ids, channel])
    if request.digest is not None:
        tx.ahead(SEE_ADDRESS, [channel, request.digest])
        address = tx.ahead(SHARE_ADDRESS, [channel, request.digest])
    await tx.arrive()
    known = {patient: (version, deceased) for patient, version, deceased in await people.rows()}
    said = {patient: Permission(permission) for patient, permission in await rules.rows()}
    blocked = address is not None and (await address.rows())[0][0]
    standings = [Standing(said.get(patient), known.get(patient, (0, False))[1]) for patient in ids]
    addressed = request.digest is not None or request.channel not in ADDRESSED
    refused = refusal(standings, addressed=addressed, address_blocked=blocked)
    if refused is None:
        permit = Permit(new_id())
        version = max(known[patient][0] for patient in ids)
        row = [permit.id, request.message_id, ids, channel, request.digest, request.purpose, version, TTL_MS]
        granted = await tx.rows(GRANT, row)
        refused = None if granted else Refusal.ALREADY_GRANTED
    for patient in ids:
        tx.audit(
            "permit:refuse" if refused else "permit:grant",
            patient,
            refused.value if refused else str(permit.id),
        )
    return refused or permit


async def holder(tx: Tx, message_id: UUID) -> UUID | None:
    """The permit that this message has, or had and used."""
    query = "SELECT id FROM permits WHERE message_id = %b AND outcome IS DISTINCT FROM 'not-sent'"
    found = await (await tx.pg.execute(query, [message_id])).fetchone()
    return found[0] if found else None


async def close(tx: Tx, permit_id: UUID, outcome: Outcome) -> bool:
    """Report what became of a permit, once; `unknown` may be resolved later. False if that does not fit."""
    closed = await tx.pg.execute(CLOSE, [outcome.value, permit_id, outcome.value])
    return await closed.fetchone() is not None


async def opt_out(
    tx: Tx,
    channel: Channel,
    patients: Sequence[UUID],
    digest: bytes | None = None,
    provider_id: str | None = None,
) -> UUID:
    """Record, in the transaction that blocks and after the blocks, that these have to become effective."""
    optout_id = new_id()
    await tx.pg.execute(OPT_OUT, [optout_id, provider_id, channel.value, digest, sorted(patients)])
    return optout_id


async def settle(tx: Tx) -> int:
    """Make every opt-out effective that no permit can overtake any more; how many.

    One statement, so that one snapshot sees both the committed opt-out and all permits granted before it.
    """
    settled = await (await tx.pg.execute(SETTLE, [MARGIN_MS])).fetchall()
    for optout_id, _, patients in settled:
        for patient in patients or [None]:
            tx.audit("optout:effective", patient, str(optout_id))
    for _, channel, patients in settled:
        await _unlink(tx, channel, patients)
    return len(settled)


async def _unlink(tx: Tx, channel: str, patients: Sequence[UUID]) -> None:
    """No address leads to an erased person from what was permitted or forbidden before."""
    erased = [patient for (patient,) in await (await tx.pg.execute(ERASED, [list(patients)])).fetchall()]
    for statement in UNLINK if erased else ():
        await tx.pg.execute(statement, [channel, erased])


async def is_effective(tx: Tx, optout_id: UUID) -> bool:
    """Whether the person may be told that no more messages will go out."""
    found = await tx.pg.execute("SELECT 1 FROM optouts WHERE id = %b AND effective_at IS NOT NULL", [optout_id])
    return await found.fetchone() is not None


async def receive(tx: Tx, provider_id: str, reply: str, *, flagged: bool) -> bool:
    """Note a text received; False when the provider has delivered this one before."""
    seen = await tx.pg.execute(
        "INSERT INTO replies (provider_id, reply, flagged) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
        [provider_id, reply, flagged],
    )
    return await seen.fetchone() is not None


async def pending(tx: Tx) -> int:
    """How many opt-outs are not effective yet."""
    (count,) = await (await tx.pg.execute("SELECT count(*) FROM optouts WHERE effective_at IS NULL")).fetchone()
    return int(count)
