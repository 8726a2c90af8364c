"""Replies that a person has to read, and what they decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from consent.domain.replies import Reading, Reply, decide_by
from phi_common.clock import new_id
from phi_common.db import columns
from phi_common.events.consent import Channel
from phi_common.transaction import Tx

WORDS = "flagged.sealed"

ADD = """
INSERT INTO flagged (id, provider_id, patient_id, channel, digest, reply, sealed, received_at, decide_by)
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::text[], %b::bytea[], %b::text[], %b::bytea[],
                     %b::timestamptz[], %b::date[])
"""
OPEN = """
SELECT id, patient_id, channel, reply, sealed, received_at, decide_by FROM flagged
WHERE decision IS NULL ORDER BY received_at, id LIMIT %s
"""
OF_WHOM = "SELECT patient_id FROM flagged WHERE id = %b"
TAKE = "SELECT patient_id, channel, digest, reply, decision FROM flagged WHERE id = %b FOR UPDATE"
FORGET = """
WITH gone AS (
    DELETE FROM flagged
    WHERE patient_id = ANY(%(ids)b)
       OR patient_id IS NULL AND digest IN (SELECT digest FROM addresses WHERE patient_id = ANY(%(ids)b))
    RETURNING provider_id, channel, digest, reply, decision
)
SELECT channel, digest, EXISTS (
    SELECT FROM flagged f WHERE f.provider_id = gone.provider_id AND f.patient_id <> ALL(%(ids)b))
FROM gone WHERE reply = %(doubt)s AND decision IS NULL ORDER BY channel, digest
"""
DECIDE = "UPDATE flagged SET decision = %s, decided_by = %s, decided_at = %b WHERE id = %b"


@dataclass(frozen=True)
class Listed:
    """One reply for the work list; `text` is None when the words were destroyed with the patient's key."""

    id: UUID
    patient_id: UUID | None
    channel: Channel
    reply: Reply
    text: str | None
    received_at: datetime
    decide_by: date


@dataclass(frozen=True)
class Taken:
    """One reply, locked for a decision."""

    patient_id: UUID | None
    channel: Channel
    digest: bytes
    reply: Reply
    decision: Reading | None


@dataclass(frozen=True)
class Unread:
    """A reply in doubt that goes before anybody decided it; it holds its number until somebody lets that go."""

    channel: Channel
    digest: bytes
    with_others: bool
    """Somebody else at the number has the same text on record, read or not."""


async def add(
    tx: Tx, provider_id: str, patients: Sequence[UUID], digest: bytes, reply: Reply, text: str
) -> dict[UUID | None, UUID]:
    """One row for each of these locked people, or one for nobody; the row's id by person."""
    words = text.encode()
    people: Sequence[UUID | None] = patients or (None,)
    ids = {person: new_id() for person in people}
    rows: list[tuple[Any, ...]] = []
    for patient, found in ids.items():
        sealed = tx.seal(patient, WORDS, words) if patient else await tx.seal_unowned(WORDS, words)
        rows.append((found, provider_id, patient, Channel.SMS.value, digest, reply.value, sealed, tx.now,
                     decide_by(tx.now)))  # fmt: skip
    await tx.execute(ADD, columns(rows, 9))
    return ids


async def waiting(tx: Tx, limit: int) -> list[Listed]:
    """What nobody has decided yet, oldest first, in clear words."""
    rows = await tx.rows(OPEN, [limit])
    await tx.load_keys({row[1] for row in rows if row[1]})
    return [
        Listed(found, patient, Channel(channel), Reply(reply), await _words(tx, patient, sealed), received, day)
        for found, patient, channel, reply, sealed, received, day in rows
    ]


async def _words(tx: Tx, patient: UUID | None, sealed: bytes) -> str | None:
    if patient is None:
        return (await tx.open_unowned(WORDS, sealed)).decode()
    return tx.open(patient, WORDS, sealed).decode() if tx.knows(patient) else None


async def take(tx: Tx, reply_id: UUID) -> Taken | None:
    """One of them, locked after its person, as everything is: who decides or erases the same one meanwhile, waits."""
    of_whom = await tx.rows(OF_WHOM, [reply_id])
    await tx.lock(patient for (patient,) in of_whom if patient)
    for patient, channel, digest, reply, decision in await tx.rows(TAKE, [reply_id]):
        return Taken(patient, Channel(channel), digest, Reply(reply), Reading(decision) if decision else None)
    return None


async def forget(tx: Tx, patients: Sequence[UUID]) -> list[Unread]:
    """Remove the replies of these people, and those that came from an address of theirs while nobody had it."""
    gone = await tx.rows(FORGET, {"ids": list(patients), "doubt": Reply.DOUBT.value})
    return [Unread(Channel(channel), digest, with_others) for channel, digest, with_others in gone]


async def decide(tx: Tx, reply_id: UUID, decision: Reading) -> None:
    """Keep who decided what, and when."""
    await tx.execute(DECIDE, [decision.value, tx.actor, tx.now, reply_id])
