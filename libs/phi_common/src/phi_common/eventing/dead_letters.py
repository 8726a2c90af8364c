"""Events that could not be handled, kept sealed as they came, and the events of the same key parked behind them."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from phi_common.clock import new_id
from phi_common.db import columns
from phi_common.eventing.envelope import Bad
from phi_common.transaction import Ahead, Tx

PARKED = "Parked"
INSERT = """
INSERT INTO dead_letters (event_id, topic, patient_id, type, reason, headers, body)
SELECT e, t, p, y, r, h::json, b FROM
unnest(%b::uuid[], %b::text[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::bytea[]) AS x(e, t, p, y, r, h, b)
ON CONFLICT (event_id) DO NOTHING
"""
WAITING = "SELECT DISTINCT patient_id FROM dead_letters WHERE topic = %b AND patient_id = ANY(%b)"


@dataclass(frozen=True)
class Record:
    """A Kafka record as it was kept; what `redrive` feeds through the same path again."""

    topic: str
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    partition: int = -1
    offset: int = -1


def add(tx: Tx, bad: Iterable[Bad]) -> None:
    """Keep these records, in order; none of an erased patient."""
    rows = [
        (
            one.event_id if one.event_id.int else new_id(),
            one.record.topic,
            one.patient_id,
            one.type,
            one.reason,
            _headers_text(one.record.headers),
            one.record.value or b"",
        )
        for one in bad
        if one.patient_id not in tx.erased
    ]
    if rows:
        tx.later(INSERT, columns(rows, 7))


def _headers_text(headers: Iterable[tuple[str, bytes | None]]) -> str:
    import orjson

    return orjson.dumps([(name, base64.b64encode(value or b"").decode()) for name, value in headers]).decode()


def parked(tx: Tx, topic: str, patients: Sequence[UUID]) -> Ahead:
    """Which of these subjects wait behind a dead letter of this topic."""
    return tx.ahead(WAITING, [topic, list(patients)])


async def listing(tx: Tx) -> list[dict[str, Any]]:
    """What waits, without content."""
    cursor = await tx.execute("SELECT id, at, topic, type, patient_id, reason FROM dead_letters ORDER BY id")
    return [
        dict(zip(("id", "at", "topic", "type", "patient_id", "reason"), row, strict=True))
        for row in await cursor.fetchall()
    ]


async def waiting(tx: Tx, topic: str) -> list[list[int]]:
    """The letters of a topic, together per patient, oldest patient first."""
    cursor = await tx.execute(
        "SELECT array_agg(id ORDER BY id) FROM dead_letters WHERE topic = %s "
        "GROUP BY coalesce(patient_id, event_id) ORDER BY min(id)",
        [topic],
    )
    return [list(letters) for (letters,) in await cursor.fetchall()]


async def take(tx: Tx, letters: Sequence[int]) -> list[Record]:
    """Take these letters out, and their inbox claims, to be handled again in this transaction.

    Their subjects are locked first: an erasure holds the subject when it comes for the letters.
    """
    subjects = await tx.rows("SELECT DISTINCT patient_id FROM dead_letters WHERE id = ANY(%b)", [letters])
    await tx.lock(patient for (patient,) in subjects if patient)
    cursor = await tx.execute(
        "DELETE FROM dead_letters WHERE id = ANY(%b) RETURNING id, event_id, topic, patient_id, headers, body",
        [letters],
    )
    rows = sorted(await cursor.fetchall(), key=lambda row: row[0])
    await tx.execute("DELETE FROM inbox WHERE event_id = ANY(%b)", [[row[1] for row in rows]])
    return [
        Record(
            topic,
            str(patient).encode() if patient else None,
            tuple((name, base64.b64decode(value)) for name, value in headers),
            body,
        )
        for _, _, topic, patient, headers, body in rows
    ]
