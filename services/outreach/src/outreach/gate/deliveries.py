"""The gate's part of the deliveries: claiming them, and recording what became of them."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from phi_common.events.consent import Channel
from phi_common.transaction import Tx

CLAIM = """
UPDATE deliveries SET state = 'attempting', attempted_at = clock_timestamp()
WHERE message_id IN (SELECT message_id FROM deliveries WHERE state = 'ready' AND due <= %(now)s
                     ORDER BY due LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING message_id, patient_id, channel, optout_id, traceparent, sealed
"""
EXPIRE = """
UPDATE deliveries SET state = 'failed', reason = 'expired', at = %(now)s, news = true
WHERE message_id IN (SELECT message_id FROM deliveries WHERE state = 'ready' AND send_by <= %(now)s
                     LIMIT 500 FOR UPDATE SKIP LOCKED)
"""
LOSE = """
UPDATE deliveries SET state = CASE channel WHEN 'portal' THEN 'ready' ELSE 'unknown' END
WHERE message_id IN (SELECT message_id FROM deliveries
                     WHERE state = 'attempting'
                       AND attempted_at < clock_timestamp() - make_interval(secs => %(seconds)s)
                     FOR UPDATE SKIP LOCKED)
"""
UNRESOLVED = """
SELECT message_id, patient_id, at IS NOT NULL, attempted_at < clock_timestamp() - interval '24 hours' FROM deliveries
WHERE state = 'unknown' AND NOT news AND reason IS NULL
  AND attempted_at < clock_timestamp() - make_interval(secs => %s) ORDER BY attempted_at LIMIT 50
"""
FINISH = """
UPDATE deliveries SET state = %(state)s, reason = %(reason)s, permit_id = coalesce(%(permit_id)s, permit_id),
                      provider_id = %(provider_id)s, at = %(at)s, news = news OR %(news)s
WHERE message_id = %(message_id)s AND state = %(from_state)s
"""
PERMIT = """
UPDATE deliveries SET permit_id = %s, attempted_at = clock_timestamp() WHERE message_id = %s AND state = 'attempting'
"""
PUT_BACK = "UPDATE deliveries SET state = 'ready', permit_id = NULL, at = NULL WHERE message_id = %s AND state = %s"
TO_PORTAL = """
INSERT INTO portal_messages (id, patient_id, sealed, at) VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING
"""


@dataclass(frozen=True)
class Claimed:
    """One message that this gate alone may send now."""

    message_id: UUID
    patient_id: UUID
    channel: Channel
    optout_id: UUID | None
    """The opt-out that it confirms."""
    trace: str
    """The traceparent that what the gate does with it belongs to."""
    address: str | None
    text: str


@dataclass(frozen=True)
class Record:
    """What became of a message."""

    state: str
    reason: str | None = None
    provider_id: str | None = None


async def claim(tx: Tx, limit: int) -> list[Claimed]:
    """Take due messages; once this commits, each is attempted here or never."""
    await tx.execute(EXPIRE, {"now": tx.now})
    rows = await tx.rows(CLAIM, {"now": tx.now, "limit": limit})
    await tx.load_keys([patient for _, patient, *_ in rows])
    return [
        Claimed(
            message,
            patient,
            Channel(channel),
            optout,
            trace,
            **json.loads(tx.open(patient, "deliveries.sealed", sealed)),
        )
        for message, patient, channel, optout, trace, sealed in rows
    ]


async def lose(tx: Tx, seconds: float) -> None:
    """A dead gate's messages become unknown; one for the portal, stored together with its outcome, is ready again."""
    await tx.execute(LOSE, {"seconds": seconds})


async def unresolved(tx: Tx, seconds: float) -> list[tuple[UUID, UUID, bool, bool]]:
    """Messages of which it is not known whether they went out; whether the call is over, and whether to stop asking."""
    found: list[tuple[UUID, UUID, bool, bool]] = await tx.rows(UNRESOLVED, [seconds])
    return found


async def hold_permit(tx: Tx, message_id: UUID, permit_id: UUID) -> bool:
    """Note the permit before the call, so that a lost outcome can name it; what is waited for counts from here.

    False if the message is no more.
    """
    held = await tx.execute(PERMIT, [permit_id, message_id])
    return int(held.rowcount) == 1


async def put_back(tx: Tx, message_id: UUID, *, after: str = "attempting") -> None:
    """Nothing was sent: the message waits for another turn."""
    await tx.execute(PUT_BACK, [message_id, after])


async def finish(
    tx: Tx,
    message: UUID,
    patient: UUID,
    record: Record,
    *,
    permit_id: UUID | None = None,
    after: str = "attempting",
) -> None:
    """Record an outcome once; an open one (`unknown` without a reason) is no news yet."""
    values: dict[str, Any] = {
        "message_id": message,
        "state": record.state,
        "reason": record.reason,
        "provider_id": record.provider_id,
        "permit_id": permit_id,
        "at": tx.now,
        "news": record.state != "unknown" or record.reason is not None,
        "from_state": after,
    }
    await tx.execute(FINISH, values)
    tx.audit("egress:" + record.state, patient, str(message))


async def to_portal(tx: Tx, message: Claimed, at: datetime) -> None:
    """Put a message into the patient's portal inbox."""
    sealed = tx.seal(message.patient_id, "portal_messages.sealed", message.text.encode())
    await tx.execute(TO_PORTAL, [message.message_id, message.patient_id, sealed, at])
