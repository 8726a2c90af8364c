"""The inbox: each event takes effect once, however often it is delivered."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from phi_common.db import Tx

CLAIM = """
INSERT INTO inbox (event_id) SELECT id FROM unnest(%b::uuid[]) AS id
ON CONFLICT DO NOTHING RETURNING event_id
"""


async def claim(tx: Tx, events: Iterable[UUID]) -> set[UUID]:
    """Claim these events in id order; what comes back was never seen before."""
    cursor = await tx.pg.execute(CLAIM, [sorted(set(events))])
    return {event_id for (event_id,) in await cursor.fetchall()}


async def prune(pg: Any, days: int) -> None:
    """Forget claims older than `days`, which must be more than the topics' retention."""
    await pg.execute("DELETE FROM inbox WHERE at < now() - make_interval(days => %s)", [days])
