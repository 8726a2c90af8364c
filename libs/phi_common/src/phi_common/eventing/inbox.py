"""The inbox: each event takes effect once, however often it is delivered."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from phi_common.db import Ahead, Tx

CLAIM = """
INSERT INTO inbox (event_id) SELECT id FROM unnest(%b::uuid[]) AS id
ON CONFLICT DO NOTHING RETURNING event_id
"""


def claim(tx: Tx, events: Iterable[UUID]) -> Ahead:
    """Claim these events in id order; the rows that come back were never seen before."""
    return tx.ahead(CLAIM, [sorted(set(events))])


async def prune(pg: Any, days: int) -> None:
    """Forget claims older than `days`, which must be more than the topics' retention."""
    await pg.execute("DELETE FROM inbox WHERE at < now() - make_interval(days => %s)", [days])
