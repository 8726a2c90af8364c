"""The inbox: each event takes effect once, however often it is delivered; and how long it is remembered."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from phi_common.topics import RETENTION_DAYS
from phi_common.transaction import Ahead, Tx

REMEMBERED_DAYS = RETENTION_DAYS + 7
"""How long a repeated event, or a request with the same key, is known for one."""

CLAIM = """
INSERT INTO inbox (event_id) SELECT id FROM unnest(%b::uuid[]) AS id
ON CONFLICT DO NOTHING RETURNING event_id
"""

OLD_CLAIMS = """
DELETE FROM inbox WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM inbox WHERE at < now() - make_interval(days => %s) LIMIT %s))
"""
OLD_ANSWERS = """
DELETE FROM answers WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM answers WHERE at < now() - make_interval(days => %s) AND request_hash <> '' LIMIT %s))
"""
"""A row without a request's hash answers no request: it says that a record exists, and does not age."""


def claim(tx: Tx, events: Iterable[UUID]) -> Ahead:
    """Claim these events in id order; the rows that come back were never seen before."""
    return tx.ahead(CLAIM, [sorted(set(events))])


async def prune(pg: Any, days: int, most: int = 10_000) -> bool:
    """Forget claims and answers older than `days`, which must be more than the topics' retention.

    At most so many of each, since a long transaction would hold up the sealing of the audit trail. True: more is left.
    """
    done = [await pg.execute(statement, [days, most]) for statement in (OLD_CLAIMS, OLD_ANSWERS)]
    return any(cursor.rowcount == most for cursor in done)
