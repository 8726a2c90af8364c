"""Conversations, what is handed to the gate, and the portal inbox."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from outreach.domain.state import Conversation, Delivery, Desk, Outcome, Status
from outreach.templates import library
from phi_common.db import NAMING, columns
from phi_common.eventing.tables import plumbing
from phi_common.transaction import Tx

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)

INSTANT = sa.DateTime(timezone=True)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("patient_id", sa.Uuid, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("due_at", INSTANT),
    sa.Index("ix_conversations_due_at", "due_at", postgresql_where=sa.text("due_at IS NOT NULL")),
)
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("message_id", sa.Uuid, primary_key=True),
    sa.Column("patient_id", sa.Uuid, nullable=False),
    sa.Column("gap_id", sa.Uuid),
    sa.Column("optout_id", sa.Uuid, comment="the opt-out that this message confirms; then there is no gap"),
    sa.Column("attempt", sa.SmallInteger, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        comment="ready, attempting, sent, failed, unknown, refused, cancelled",
    ),
    sa.Column("reason", sa.Text, comment="why it failed or was refused"),
    sa.Column("due", INSTANT, nullable=False),
    sa.Column("send_by", INSTANT, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False, comment="address and text"),
    sa.Column("traceparent", sa.Text, nullable=False, comment="of the message that this one came of"),
    sa.Column("permit_id", sa.Uuid),
    sa.Column("provider_id", sa.Text),
    sa.Column("attempted_at", INSTANT, comment="real time of the claim, then of the permit"),
    sa.Column("at", INSTANT, comment="business time of the outcome"),
    sa.Column("carrier", sa.Text, comment="delivered or undelivered, as the carrier reported"),
    sa.Column("carrier_at", INSTANT),
    sa.Column(
        "news",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="not yet told to the conversation",
    ),
    sa.CheckConstraint(
        "state IN ('ready', 'attempting', 'sent', 'failed', 'unknown', 'refused', 'cancelled')", name="state"
    ),
    sa.CheckConstraint("num_nonnulls(gap_id, optout_id) = 1", name="cause"),
    sa.Index("ix_deliveries_open", "due", postgresql_where=sa.text("state IN ('ready', 'attempting', 'unknown')")),
    sa.Index("ix_deliveries_news", "patient_id", postgresql_where=sa.text("news")),
)
portal_messages = sa.Table(
    "portal_messages",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, comment="the message id: a repeat cannot become a second message"),
    sa.Column("patient_id", sa.Uuid, nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("at", INSTANT, nullable=False),
    sa.Column("read_at", INSTANT),
)
reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("gap_id", sa.Uuid, primary_key=True),
    sa.Column("patient_id", sa.Uuid, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("opened_at", INSTANT, nullable=False),
    sa.Column("closed_at", INSTANT),
    sa.Index("ix_reviews_open", "opened_at", postgresql_where=sa.text("closed_at IS NULL")),
)

PERSONAL = (conversations, deliveries, portal_messages, reviews)
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Conversation).decode

FINISHED = "d.news AND d.state NOT IN ('ready', 'attempting')"
UP_TO = "greatest(d.at, d.carrier_at) <="
"""Sweeps look at the world as of an instant that may lie back: what came after it, they do not know yet."""
LOAD = "SELECT patient_id, sealed FROM conversations WHERE patient_id = ANY(%b)"
NEWS = f"""
SELECT patient_id, message_id, gap_id, state, at, reason, permit_id, carrier, carrier_at, optout_id, traceparent
FROM deliveries d
WHERE {FINISHED} AND patient_id = ANY(%b) AND {UP_TO} %b ORDER BY at, message_id
"""  # noqa: S608
DUE = f"""
(SELECT DISTINCT patient_id FROM deliveries d WHERE {FINISHED} AND {UP_TO} %(upto)s LIMIT %(limit)s)
UNION (SELECT patient_id FROM conversations WHERE due_at <= %(upto)s ORDER BY due_at LIMIT %(limit)s)
LIMIT %(limit)s
"""  # noqa: S608
SAVE = """
INSERT INTO conversations (patient_id, sealed, due_at)
SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::timestamptz[])
ON CONFLICT (patient_id) DO UPDATE SET sealed = excluded.sealed, due_at = excluded.due_at
"""
HAND_OVER = """
INSERT INTO deliveries (message_id, patient_id, gap_id, optout_id, attempt, channel, due, send_by, sealed,
                        traceparent, state)
SELECT *, 'ready' FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::int2[], %b::text[],
                              %b::timestamptz[], %b::timestamptz[], %b::bytea[], %b::text[])
ON CONFLICT (message_id) DO NOTHING
"""
CALL_BACK = """
UPDATE deliveries SET state = 'cancelled', at = %s, news = true WHERE message_id = ANY(%s) AND state = 'ready'
"""
TOLD = "UPDATE deliveries SET news = false WHERE message_id = ANY(%b)"
REVIEW = """
INSERT INTO reviews (gap_id, patient_id, reason, opened_at, closed_at)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::timestamptz[], %b::timestamptz[])
ON CONFLICT (gap_id) DO UPDATE SET closed_at = coalesce(reviews.closed_at, excluded.closed_at)
"""
REPORTED = """
UPDATE deliveries SET carrier = %(status)s, carrier_at = %(at)s, news = true,
                      state = CASE state WHEN 'unknown' THEN 'sent' ELSE state END, at = coalesce(at, %(at)s)
WHERE message_id = %(message_id)s AND channel = 'sms' AND carrier IS NULL
RETURNING patient_id
"""


async def load_conversations(tx: Tx, patients: Sequence[UUID]) -> dict[UUID, Conversation]:
    """Each patient's conversation, with what the gate reported since it was last saved."""
    found = {patient: Conversation() for patient in patients}
    news = tx.ahead(NEWS, [list(patients), tx.now])
    for patient, sealed in await tx.rows(LOAD, [list(patients)]):
        if tx.knows(patient):
            found[patient] = decode(tx.open(patient, "conversations.sealed", sealed))
    for patient, message, gap, state, at, *rest in await news.rows():
        outcome = Outcome(message, gap, state, at, *rest)
        desk = found[patient].desk
        found[patient] = replace(found[patient], desk=replace(desk, outcomes=(*desk.outcomes, outcome)))
    return found


async def save_conversations(tx: Tx, states: dict[UUID, Conversation]) -> None:
    """Store the conversations, and carry out what lies on their desks."""
    rows = [
        (
            patient,
            tx.seal(patient, "conversations.sealed", encode(replace(state, desk=Desk()))),
            state.due,
        )
        for patient, state in states.items()
    ]
    tx.later(SAVE, columns(rows, 3))
    handed = [_row(tx, patient, delivery) for patient, state in states.items() for delivery in state.desk.handed]
    if handed:
        tx.later(HAND_OVER, columns(handed, 10))
    if withdrawn := [message for state in states.values() for message in state.desk.withdrawn]:
        tx.later(CALL_BACK, [tx.now, withdrawn])
    if settled := [message for state in states.values() for message in state.desk.settled]:
        tx.later(TOLD, [settled])
    if asked := list(_reviews(states, tx.now)):
        tx.later(REVIEW, columns(asked, 5))


def _row(tx: Tx, patient: UUID, delivery: Delivery) -> tuple[Any, ...]:
    if delivery.optout_id:
        text = library().confirmation(delivery.language)
    else:
        text = library().words(delivery.attempt, delivery.channel, delivery.language, delivery.rule)
    plain = json.dumps({"address": delivery.address, "text": text}).encode()
    sealed = tx.seal(patient, "deliveries.sealed", plain)
    return (
        delivery.message_id,
        patient,
        delivery.gap_id,
        delivery.optout_id,
        delivery.attempt,
        delivery.channel.value,
        delivery.due,
        delivery.send_by,
        sealed,
        delivery.trace,
    )


def _reviews(states: dict[UUID, Conversation], now: datetime) -> Iterable[tuple[Any, ...]]:
    for patient, state in states.items():
        for sequence in state.sequences.values():
            if sequence.review:
                closed = None if sequence.status is Status.REVIEW else now
                yield sequence.gap_id, patient, sequence.review.value, now, closed


async def due_conversations(tx: Tx, upto: datetime, limit: int) -> list[UUID]:
    """Patients with a step due, or with an outcome that their conversation has not heard."""
    rows = await tx.rows(DUE, {"upto": upto, "limit": limit})
    return [patient for (patient,) in rows]


async def report(tx: Tx, message_id: UUID, status: str) -> UUID | None:
    """Note what the carrier says of a message; a repeat changes nothing."""
    values = {"message_id": message_id, "status": status, "at": tx.now}
    row = await (await tx.execute(REPORTED, values)).fetchone()
    return row[0] if row else None


async def inbox(tx: Tx, patient_id: UUID) -> list[dict[str, Any]]:
    """A patient's portal messages, newest first."""
    query = sa.select(portal_messages).where(portal_messages.c.patient_id == patient_id)
    rows = (await (await tx.core()).execute(query.order_by(portal_messages.c.at.desc()))).all()
    return [
        {
            "id": row.id,
            "text": tx.open(patient_id, "portal_messages.sealed", row.sealed).decode(),
            "at": row.at,
            "read_at": row.read_at,
        }
        for row in rows
    ]


async def open_reviews(tx: Tx, limit: int) -> list[dict[str, Any]]:
    """Gaps that wait for a coordinator, oldest first."""
    query = sa.select(reviews.c.patient_id, reviews.c.gap_id, reviews.c.reason, reviews.c.opened_at)
    query = query.where(reviews.c.closed_at.is_(None)).order_by(reviews.c.opened_at).limit(limit)
    return [dict(row) for row in (await (await tx.core()).execute(query)).mappings()]


async def work_in_hand(tx: Tx) -> int:
    """Deliveries that wait for the gate now, are with it, or are finished and not yet told."""
    query = f"""
    SELECT count(*) FROM deliveries d
    WHERE (state = 'ready' AND due <= %s) OR state = 'attempting' OR ({FINISHED})
       OR (state = 'unknown' AND reason IS NULL)
    """  # noqa: S608
    row = await (await tx.execute(query, [tx.now])).fetchone()
    return int(row[0])


async def next_due(tx: Tx) -> datetime | None:
    """When time alone will ask for something next."""
    row = await (await tx.execute("SELECT min(due_at) FROM conversations WHERE due_at IS NOT NULL")).fetchone()
    return row[0] if row else None


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove conversations, messages and reviews of erased patients; what the gate has in hand it finds gone."""
    for table in PERSONAL:
        await (await tx.core()).execute(sa.delete(table).where(table.c.patient_id.in_(patients)))
