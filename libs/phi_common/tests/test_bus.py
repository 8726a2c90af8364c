"""Relay, Kafka and consumer together: all there, once, in order per key; also when the relay is cut short."""

import asyncio
from datetime import date
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaError

from phi_common.eventing import broker
from phi_common.eventing.broker import Consumer
from phi_common.eventing.outbox import Relay
from phi_common.events.care_gap import GapOpened


@pytest.fixture
async def writer(start_toy, clock, tmp_path):
    found = await start_toy("care-gap-engine", "toy_writer", clock, tmp_path, local_keys=False)
    yield found
    await found.db.engine.dispose()
    found.vault.close()


@pytest.fixture
async def reader(start_toy, clock, tmp_path):
    found = await start_toy("outreach", "toy_reader", clock, tmp_path, local_keys=False)
    yield found
    await found.db.engine.dispose()
    found.vault.close()


async def write(writer, patients, rounds):
    for i in range(rounds):
        async with writer.transaction("test") as tx:
            await tx.lock(patients)
            for patient in patients:
                tx.emit(
                    GapOpened(
                        patient_id=patient,
                        gap_id=uuid4(),
                        rule=str(i),
                        rule_version="1",
                        due=date(2026, 1, 1),
                    )
                )


async def until(check, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 (what is awaited lives in a database)
            await asyncio.sleep(0.1)


async def test_everything_arrives_once_and_in_order_though_the_relay_is_cut_short(writer, reader, ordered, tally):
    patients = [uuid4() for _ in range(40)]
    relay = Relay(writer.pg, await writer.kafka(), "/careloop/toy")
    await write(writer, patients, 5)
    plain = relay._send

    async def sends_but_never_deletes(producer, rows):
        await plain(producer, rows)
        raise ConnectionError("cut between acknowledgement and delete")

    relay._send = sends_but_never_deletes
    first = asyncio.create_task(relay.run())
    await asyncio.sleep(2)
    relay._send = plain
    await write(writer, patients, 5)

    consumer = Consumer(await reader.kafka(), [ordered.topic], lambda records: ordered.handle(reader, records))
    await consumer.start()
    tasks = [first, asyncio.create_task(consumer.run()), asyncio.create_task(consumer.commit_for_ever())]
    expected = tuple(str(i) for i in range(5)) * 2

    async def all_there():
        for task in tasks:
            if task.done():
                task.result()
        return all([await tally(reader, p) == expected for p in patients])

    async def committed():
        return await consumer.reached(await consumer.ends())

    try:
        await until(all_there, 60)
        await until(committed)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await consumer.stop()
    async with reader.transaction("test") as tx:
        assert (await (await tx.execute("SELECT count(*) FROM dead_letters")).fetchone())[0] == 0


async def test_a_batch_that_outlives_its_partitions_sets_nobody_back(writer, reader, ordered):
    """By then another replica may have read on; an offset of ours would make the watermark wait for ever."""
    in_hand, release = asyncio.Event(), asyncio.Event()

    async def handle(records):
        in_hand.set()
        await release.wait()

    await write(writer, [uuid4()], 1)
    relay = Relay(writer.pg, await writer.kafka(), "/careloop/toy")
    consumer = Consumer(await reader.kafka(), [ordered.topic], handle)
    await consumer.start()
    tasks = [asyncio.create_task(relay.run()), asyncio.create_task(consumer.run())]
    try:
        await asyncio.wait_for(in_hand.wait(), 30)
        assert consumer._done == {}, "nothing counts as done while it is in hand"
        await consumer.on_partitions_revoked(consumer._subscriber.consumer.assignment())
        release.set()
        await asyncio.sleep(0.2)
        assert consumer._done == {}
        await write(writer, [uuid4()], 1)
        await until(lambda: asyncio.sleep(0, bool(consumer._done)))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await consumer.stop()


async def test_how_far_the_group_is_can_be_asked_once_kafka_is_there(reader, ordered):
    kafka = await reader.kafka()
    there, kafka.bootstrap = kafka.bootstrap, "localhost:1"
    consumer = Consumer(kafka, [ordered.topic], None)
    for _ in range(2):
        with pytest.raises(KafkaError):
            await consumer.reached({})
    kafka.bootstrap = there
    assert await consumer.reached({})
    await consumer.stop()


async def test_stopping_does_not_wait_for_a_commit_that_never_ends(reader, ordered, monkeypatch):
    monkeypatch.setattr(broker, "STOP_SECONDS", 0.1)
    consumer = Consumer(await reader.kafka(), [ordered.topic], None)
    consumer._commit = asyncio.Event().wait
    async with asyncio.timeout(5):
        await consumer.stop()
