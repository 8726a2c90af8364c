"""The relay: from outbox rows to Kafka, in order per key, at least once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import psycopg
from aiokafka.errors import KafkaError
from psycopg.rows import namedtuple_row

from phi_common.eventing.broker import Kafka, gather
from phi_common.eventing.envelope import headers_of
from phi_common.logs import log
from phi_common.metrics import OUTBOX_OLDEST, OUTBOX_ROWS
from phi_common.telemetry import sampled, span
from phi_common.topics import PARTITIONS

LOCK_CLASS = 0x0B0E
POLL_SECONDS = 0.25
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
ROWS = 2000
TAKE_LOCKS = "SELECT p FROM generate_series(0, %s) p WHERE pg_try_advisory_lock(%s, p)"
NEXT = """
SELECT id, topic, partition, key, event_id, type, at, sequence, traceparent, ck, body
FROM outbox WHERE partition = ANY(%b) ORDER BY id LIMIT %b
"""
DELETE = "DELETE FROM outbox WHERE id = ANY(%b)"


class Relay:
    """Sends what commits. One advisory lock per Kafka partition makes one relay at a time own its order."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], kafka: Kafka, source: str) -> None:
        self._connect = connect
        self._kafka = kafka
        self._source = source
        self._news = asyncio.Event()
        self._wait = FIRST_WAIT
        self.rows = 0
        self.oldest_seconds = 0.0

    def wake(self) -> None:
        """Rows were committed by this process."""
        self._news.set()

    async def run(self) -> None:
        """Relay for ever; a lost connection or a broken producer is rebuilt, rows stay until acknowledged."""
        while True:
            try:
                await self._relay()
            except (psycopg.Error, KafkaError, ConnectionError, TimeoutError) as error:
                log.warning("relay_restarts", error)
                await asyncio.sleep(self._wait)
                self._wait = min(2 * self._wait, LONGEST_WAIT)

    async def _relay(self) -> None:
        async with await self._connect() as pg:
            await pg.set_autocommit(True)
            await pg.execute("SET synchronous_commit = off")  # a repeated send is harmless, a lost delete too
            producer = self._kafka.producer()
            await producer.start()
            try:
                await self._send_for_ever(pg, producer)
            finally:
                await asyncio.wait_for(producer.stop(), 5.0)

    async def _send_for_ever(self, pg: Any, producer: Any) -> None:
        held: list[int] = []
        rows: Sequence[Any] = ()
        while True:
            await gather(len(rows))
            if len(held) < PARTITIONS:
                held += [p for (p,) in await (await pg.execute(TAKE_LOCKS, [PARTITIONS - 1, LOCK_CLASS])).fetchall()]
                held = sorted(set(held))
            self._news.clear()
            rows = await self._next(pg, rows, held)
            if rows:
                with span("publish", links=[row.traceparent for row in rows if sampled(row.traceparent)]):
                    await self._send(producer, rows)
                self._wait = FIRST_WAIT
            else:
                await self._rest()

    async def _next(self, pg: Any, sent: Sequence[Any], held: Sequence[int]) -> Sequence[Any]:
        """Forget what Kafka has acknowledged, and read what follows, in one round trip."""
        cursor = pg.cursor(row_factory=namedtuple_row, binary=True)
        async with pg.pipeline():
            if sent:
                await pg.execute(DELETE, [[row.id for row in sent]], prepare=True)
            await cursor.execute(NEXT, [held, ROWS], prepare=True)
        found: Sequence[Any] = await cursor.fetchall()
        return found

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    async def _send(self, producer: Any, rows: Sequence[Any]) -> None:
        place = attrgetter("topic", "partition")
        acks = []
        for (topic, partition), group in groupby(sorted(rows, key=place), key=place):
            for batch in self._batches(producer, group):
                acks.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acks)

    def _batches(self, producer: Any, rows: Any) -> list[Any]:
        """Full batches. `append` answers None when a batch has no room: an unchecked one would lose the row."""
        batches = [producer.create_batch()]
        for row in rows:
            record = {
                "key": str(row.key).encode(),
                "value": row.body,
                "timestamp": None,
                "headers": headers_of(row, self._source),
            }
            if batches[-1].append(**record) is None:
                batches.append(producer.create_batch())
                if batches[-1].append(**record) is None:
                    raise ValueError("an event is larger than a batch")
        return batches

    async def measure(self, pg: Any) -> None:
        """How much waits, and for how long."""
        query = "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(stored)), 0) FROM outbox"
        rows, oldest = await (await pg.execute(query)).fetchone()
        self.rows, self.oldest_seconds = int(rows), float(oldest)
        OUTBOX_ROWS.set(self.rows)
        OUTBOX_OLDEST.set(self.oldest_seconds)
