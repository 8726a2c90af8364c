"""The relay alone, with a Kafka that acknowledges when the test says so: nothing is lost, whatever it answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaError

from phi_common.eventing import outbox
from phi_common.eventing.outbox import Relay

from .test_consume import opened

ROOM = 3


class Batch:
    """Has room for a few records, and says so as aiokafka's does."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def append(self, *, key: bytes, value: bytes, timestamp: None, headers: list[tuple[str, bytes]]) -> object:
        if len(self.ids) == ROOM:
            return None
        self.ids.append(dict(headers)["ce_id"].decode())
        return self


class Wire:
    """Kafka, and its producer, as the relay sees them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.answer: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    def producer(self) -> "Wire":
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        self.sent += batch.ids
        return asyncio.ensure_future(self._ack())

    async def _ack(self) -> None:
        await self.answers.wait()
        if self.answer:
            raise self.answer


@asynccontextmanager
async def relaying(runtime: Any, wire: Wire) -> AsyncIterator[Relay]:
    relay = Relay(runtime.pg, wire, "/careloop/toy")  # type: ignore[arg-type]
    task = asyncio.create_task(relay.run())
    try:
        yield relay
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def write(runtime: Any, patients: list[UUID]) -> None:
    async with runtime.transaction("writer") as tx:
        await tx.lock(patients)
        for patient in patients:
            tx.emit(opened(patient))


def waiting(pg: Any) -> list[str]:
    return [str(event_id) for (event_id,) in pg.execute("SELECT event_id FROM outbox ORDER BY id").fetchall()]


async def until(check: Any) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 (what is awaited lives in a database)
            await asyncio.sleep(0.01)


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def test_rows_go_in_order_in_as_many_batches_as_it_takes(runtime, pg, wire):
    patient = uuid4()
    await write(runtime, [patient] * 10)
    written = waiting(pg)
    async with relaying(runtime, wire):
        await until(lambda: not waiting(pg))
    assert wire.sent == written


async def test_rows_of_all_partitions_go(runtime, pg, wire):
    await write(runtime, [UUID(int=n) for n in range(50)])
    written = waiting(pg)
    async with relaying(runtime, wire):
        await until(lambda: not waiting(pg))
    assert sorted(wire.sent) == sorted(written)


async def test_a_row_stays_until_its_acknowledgement(runtime, pg, wire):
    await write(runtime, [uuid4()])
    written = waiting(pg)
    wire.answers.clear()
    async with relaying(runtime, wire):
        await until(lambda: wire.sent == written)
        await asyncio.sleep(0.1)
        assert waiting(pg) == written
        wire.answers.set()
        await until(lambda: not waiting(pg))


async def test_what_kafka_refused_is_sent_again(runtime, pg, wire):
    await write(runtime, [uuid4()])
    written = waiting(pg)
    wire.answer = KafkaError()
    async with relaying(runtime, wire):
        await until(lambda: len(wire.sent) >= 2)
        assert waiting(pg) == written
        wire.answer = None
        await until(lambda: not waiting(pg))


async def test_what_commits_is_sent_at_once(runtime, pg, wire, monkeypatch):
    monkeypatch.setattr(outbox, "POLL_SECONDS", 30)
    async with relaying(runtime, wire) as relay:
        runtime.db.wake = relay.wake
        await asyncio.sleep(0.2)
        await write(runtime, [uuid4()])
        await until(lambda: not waiting(pg))


async def test_one_relay_at_a_time_owns_the_order_and_another_goes_on(runtime, pg, wire):
    second = Wire()
    async with relaying(runtime, wire):
        await write(runtime, [uuid4()])
        await until(lambda: not waiting(pg))
        async with relaying(runtime, second):
            for _ in range(5):
                await write(runtime, [uuid4()])
                await until(lambda: not waiting(pg))
        assert (len(wire.sent), second.sent) == (6, [])
    async with relaying(runtime, second):
        await write(runtime, [uuid4()])
        await until(lambda: not waiting(pg))
    assert len(second.sent) == 1


async def test_how_much_waits_and_for_how_long(runtime, pg, wire):
    await write(runtime, [uuid4(), uuid4()])
    pg.execute("UPDATE outbox SET stored = stored - make_interval(secs => 60) WHERE id = (SELECT max(id) FROM outbox)")
    relay = Relay(runtime.pg, wire, "/careloop/toy")  # type: ignore[arg-type]
    async with await runtime.pg() as own:
        await relay.measure(own)
        assert (relay.rows, 60 <= relay.oldest_seconds < 70) == (2, True)
        pg.execute("DELETE FROM outbox")
        await relay.measure(own)
    assert (relay.rows, relay.oldest_seconds) == (0, 0)
