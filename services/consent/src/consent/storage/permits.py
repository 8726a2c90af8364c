"""Permits to send one message, and opt-outs that wait until no permit can be used any more.

Grant shares the locks that an opt-out takes for itself, so PostgreSQL puts one before the other: a permit
granted first is seen by the drain, a permit asked for later sees the block. Times here are the database's
own, never business time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from consent.domain.permits import OptOut, Outcome, Purpose, Refusal, Standing, confirmation_refusal, refusal
from consent.domain.preferences import ADDRESSED
from phi_common.clock import new_id
from phi_common.events.consent import Channel, OptOutConfirmationDue, Permission
from phi_common.transaction import Tx

TTL_MS = 5_000
MARGIN_MS = 5_100
"""A sender's pause before its call (2 s), the call (3 s) and clock drift over the life of a permit."""

ADDRESS = "optouts.address"
NOTHING_KNOWN = (0, False, False)
"""Version, deceased, held."""

SHARE_PEOPLE = """
SELECT patient_id, version, deceased, holds <> '{}' FROM people WHERE patient_id = ANY(%b) ORDER BY patient_id FOR SHARE
"""
SHARE_RULES = """
SELECT patient_id, permission FROM preferences
WHERE patient_id = ANY(%b) AND channel = %s ORDER BY patient_id FOR SHARE
"""
SEE_ADDRESS = """
INSERT INTO address_blocks (channel, digest, blocked, version) VALUES (%s, %b, false, 0)
ON CONFLICT DO NOTHING
"""
SHARE_ADDRESS = "SELECT blocked OR held > 0 FROM address_blocks WHERE channel = %s AND digest = %b FOR SHARE"
GRANT = """
INSERT INTO permits (id, message_id, patient_ids, channel, digest, purpose, optout_id, version, expires_at)
VALUES (%b, %b, %b::uuid[], %s, %b, %s, %b, %s, clock_timestamp() + %s * interval '1 ms')
ON CONFLICT DO NOTHING RETURNING id
"""
CONFIRMED = """
SELECT digest, confirm_for IS NOT NULL, received_at, effective_at, clock_timestamp() FROM optouts
WHERE id = %b AND channel = %s
"""
CLOSE = """
UPDATE permits SET closed_at = coalesce(closed_at, clock_timestamp()), outcome = %s
WHERE id = %b AND (outcome IS NULL OR outcome IN ('unknown', %s)) RETURNING id
"""
OPT_OUT = """
INSERT INTO optouts (id, provider_id, channel, digest, patient_ids, confirm_for, address, traceparent, received_at)
VALUES (%b, %s, %s, %b, %b::uuid[], %b, %b, %s, least(%b::timestamptz, clock_timestamp()))
"""
SETTLE = """
UPDATE optouts o SET effective_at = clock_timestamp()
WHERE o.effective_at IS NULL AND NOT EXISTS (
    SELECT FROM permits p
    WHERE p.expires_at > statement_timestamp() - %s * interval '1 ms'
      AND (p.closed_at IS NULL OR p.outcome = 'unknown')
      AND p.channel = o.channel AND (p.patient_ids && o.patient_ids OR p.digest = o.digest))
RETURNING o.id, o.channel, o.patient_ids, o.confirm_for, o.address, o.traceparent
"""
ANNOUNCED = "UPDATE optouts SET address = NULL WHERE id = ANY(%b)"
ERASED = "SELECT id FROM subjects WHERE id = ANY(%b) AND erased_at IS NOT NULL"
UNLINK = (
    "UPDATE permits SET digest = NULL WHERE digest IS NOT NULL AND channel = %s AND patient_ids && %b::uuid[]",
    "UPDATE optouts SET digest = NULL, confirm_for = NULL WHERE digest IS NOT NULL AND channel = %s "
    "AND patient_ids && %b::uuid[] AND effective_at IS NOT NULL",
)
NEVER_CONFIRM = """
UPDATE optouts SET confirm_for = NULL
WHERE confirm_for IS NOT NULL AND effective_at IS NOT NULL AND patient_ids && %b::uuid[]
"""


@dataclass(frozen=True)
class Request:
    """One message that wants to go out, to one person under all ids known for them."""

    message_id: UUID
    patient_ids: tuple[UUID, ...]
    channel: Channel
    digest: bytes | None
    purpose: Purpose
    optout_id: UUID | None = None
    """The opt-out to confirm; no other purpose names one."""


@dataclass(frozen=True)
class Permit:
    """Leave to send one message, for `TTL_MS` from the moment it was asked for."""

    id: UUID


@dataclass(frozen=True)
class Confirmation:
    """Where an opt-out may be confirmed once it is effective: an address, sealed for the person it belongs to."""

    patient_id: UUID
    address: bytes


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
    known = {patient: tuple(standing) for patient, *standing in await people.rows()}
    said = {patient: Permission(permission) for patient, permission in await rules.rows()}
    blocked = address is not None and (await address.rows())[0][0]
    texts = request.channel is Channel.SMS
    of_all = [(said.get(patient), *known.get(patient, NOTHING_KNOWN)[1:]) for patient in ids]
    standings = [Standing(permission, deceased, held and texts) for permission, deceased, held in of_all]
    refused = await _judged(tx, request, standings, address_blocked=blocked)
    if refused is None:
        permit = Permit(new_id())
        version = max(known.get(patient, NOTHING_KNOWN)[0] for patient in ids)
        row = [permit.id, request.message_id, ids, channel, request.digest, request.purpose.value, request.optout_id,
               version, TTL_MS]  # fmt: skip
        granted = await tx.rows(GRANT, row)
        refused = None if granted else Refusal.ALREADY_GRANTED
    for patient in ids:
        tx.audit(
            "permit:refuse" if refused else "permit:grant",
            patient,
            refused.value if refused else str(permit.id),
        )
    return refused or permit


async def _judged(tx: Tx, request: Request, standings: list[Standing], *, address_blocked: bool) -> Refusal | None:
    """The one exception to what people said is the confirmation of an opt-out; it has a judge of its own."""
    if request.purpose is not Purpose.OPTOUT_CONFIRM:
        addressed = request.digest is not None or request.channel not in ADDRESSED
        return refusal(standings, addressed=addressed, address_blocked=address_blocked)
    found = await (await tx.execute(CONFIRMED, [request.optout_id, request.channel.value])).fetchone()
    deceased = any(standing.deceased for standing in standings)
    return confirmation_refusal(
        OptOut(*found[:4]) if found else None,
        digest=request.digest,
        address_blocked=address_blocked,
        deceased=deceased,
        upto=(found[4] if found else tx.now) + timedelta(milliseconds=TTL_MS),
    )


async def holder(tx: Tx, message_id: UUID) -> UUID | None:
    """The permit that this message has, or had and used."""
    query = "SELECT id FROM permits WHERE message_id = %b AND outcome IS DISTINCT FROM 'not-sent'"
    found = await (await tx.execute(query, [message_id])).fetchone()
    return found[0] if found else None


async def close(tx: Tx, permit_id: UUID, outcome: Outcome) -> bool:
    """Report what became of a permit, once; `unknown` may be resolved later. False if that does not fit."""
    closed = await tx.execute(CLOSE, [outcome.value, permit_id, outcome.value])
    return await closed.fetchone() is not None


async def opt_out(
    tx: Tx,
    channel: Channel,
    patients: Sequence[UUID],
    digest: bytes | None = None,
    provider_id: str | None = None,
    *,
    received: datetime | None = None,
    confirmation: Confirmation | None = None,
) -> UUID:
    """Record, in the transaction that blocks and after the blocks, that these have to become effective."""
    optout_id = new_id()
    to = [confirmation.patient_id, confirmation.address] if confirmation else [None, None]
    row = [optout_id, provider_id, channel.value, digest, sorted(patients), *to, tx.traceparent, received]
    await tx.execute(OPT_OUT, row)
    return optout_id


async def settle(tx: Tx) -> int:
    """Make every opt-out effective that no permit can overtake any more; how many.

    One statement, so that one snapshot sees both the committed opt-out and all permits granted before it.
    """
    settled = await tx.rows(SETTLE, [MARGIN_MS])
    for optout_id, _, patients, *_ in settled:
        for patient in patients or [None]:
            tx.audit("optout:effective", patient, str(optout_id))
    waiting = [row for row in settled if row[3]]
    await tx.lock(row[3] for row in waiting)
    people = {patient for _, _, patients, *_ in settled for patient in patients}
    erased = {patient for (patient,) in await tx.rows(ERASED, [list(people)])} if people else set()
    _announce(tx, [row for row in waiting if erased.isdisjoint(row[2])])
    if waiting:
        tx.later(ANNOUNCED, [[optout_id for optout_id, *_ in waiting]])
    _unlink(tx, {channel for _, channel, patients, *_ in settled if not erased.isdisjoint(patients)}, erased)
    return len(settled)


def _announce(tx: Tx, settled: Sequence[tuple[Any, ...]]) -> None:
    """Say that these opt-outs may be confirmed, and where; from then on only the reader of the event knows where."""
    for optout_id, channel, _, patient, sealed, traceparent in settled:
        address = tx.open(patient, ADDRESS, sealed).decode()
        due = OptOutConfirmationDue(patient_id=patient, optout_id=optout_id, channel=Channel(channel), address=address)
        tx.emit(due, traceparent)


def _unlink(tx: Tx, channels: Iterable[str], erased: Iterable[UUID]) -> None:
    """No address leads to an erased person from what was permitted or forbidden before; nor is that confirmed."""
    for channel in channels:
        for statement in UNLINK:
            tx.later(statement, [channel, list(erased)])


def never_confirm(tx: Tx, patients: Sequence[UUID]) -> None:
    """What these people forbade by text is not confirmed any more, though a message for that may wait already.

    One that is not effective yet is looked at when it is: `settle` holds its row by then, and waits for its people.
    """
    tx.later(NEVER_CONFIRM, [list(patients)])


async def is_effective(tx: Tx, optout_id: UUID) -> bool:
    """Whether the person may be told that no more messages will go out."""
    found = await tx.execute("SELECT 1 FROM optouts WHERE id = %b AND effective_at IS NOT NULL", [optout_id])
    return await found.fetchone() is not None


async def receive(tx: Tx, provider_id: str, reply: str, *, flagged: bool) -> bool:
    """Note a text received; False when the provider has delivered this one before."""
    seen = await tx.execute(
        "INSERT INTO replies (provider_id, reply, flagged) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
        [provider_id, reply, flagged],
    )
    return await seen.fetchone() is not None


async def pending(tx: Tx) -> int:
    """How many opt-outs are not effective yet."""
    (count,) = await (await tx.execute("SELECT count(*) FROM optouts WHERE effective_at IS NULL")).fetchone()
    return int(count)
