"""Replies that a person has to read, and what they decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from consent.domain.replies import Reading, Reply, decide_by
from phi_common.clock import new_id
from phi_common.db import Tx, columns
from phi_common.events.consent import Channel

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
TAKE = "SELECT patient_id, channel, digest, reply, decision FROM flagged WHERE id = %b FOR UPDATE"
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
    await tx.pg.execute(ADD, columns(rows, 9))
    return ids


async def waiting(tx: Tx, limit: int) -> list[Listed]:
    """What nobody has decided yet, oldest first, in clear words."""
    rows = await (await tx.pg.execute(OPEN, [limit])).fetchall()
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
    """One of them, locked: who decides the same one meanwhile, waits."""
    row = await (await tx.pg.execute(TAKE, [reply_id])).fetchone()
    if row is None:
        return None
    patient, channel, digest, reply, decision = row
    return Taken(patient, Channel(channel), bytes(digest), Reply(reply), Reading(decision) if decision else None)


async def decide(tx: Tx, reply_id: UUID, decision: Reading) -> None:
    """Keep who decided what, and when."""
    await tx.pg.execute(DECIDE, [decision.value, tx.actor, tx.now, reply_id])
