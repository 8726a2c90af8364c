"""The bare calls of one hop, without anything of ours: what this machine gives in this run.

`getmany`, one `unnest` insert of binary parameters with its commit (fsync on), `send_batch`, all acknowledged: same
broker, TLS, database and record size as the pipeline's. No sealing, no inbox, no rule, no audit, no other process.
"""

import time
from typing import Any
from uuid import uuid4

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic

from careloop.kafka import Kafka
from careloop.postgres import Postgres
from phi_common.topics import PARTITIONS

SOURCE, TARGET = "bench.raw.in", "bench.raw.out"
TOGETHER = 500
BODY = bytes(600)
TABLE = "CREATE TABLE bench_raw (id uuid PRIMARY KEY, patient_id uuid NOT NULL, body bytea NOT NULL)"
INSERT = "INSERT INTO bench_raw SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::bytea[])"


async def measure(broker: Kafka, server: Postgres, count: int) -> float:
    """Events per second over one bare hop."""
    async with broker.admin() as admin:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (SOURCE, TARGET)])
    settings = broker.aio_settings()
    producer = AIOKafkaProducer(**settings, acks="all", enable_idempotence=True, max_batch_size=1 << 19)
    consumer = AIOKafkaConsumer(SOURCE, **settings, auto_offset_reset="earliest")
    await producer.start()
    try:
        await _fill(producer, count)
        await consumer.start()
        with server.connect() as pg:
            pg.execute(TABLE)
            started = time.perf_counter()
            await _hop(consumer, producer, pg, count)
            return count / (time.perf_counter() - started)
    finally:
        await consumer.stop()
        await producer.stop()


async def _fill(producer: AIOKafkaProducer, count: int) -> None:
    for start in range(0, count, TOGETHER):
        values = [BODY] * min(TOGETHER, count - start)
        await _send(producer, SOURCE, (start // TOGETHER) % PARTITIONS, values)


async def _hop(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, pg: psycopg.Connection[Any], count: int) -> None:
    done = 0
    while done < count:
        found = await consumer.getmany(timeout_ms=500, max_records=TOGETHER)
        for place, records in found.items():
            values = [record.value for record in records]
            with pg.transaction():
                pg.execute(INSERT, [[uuid4() for _ in values], [uuid4() for _ in values], values])
            await _send(producer, TARGET, place.partition, values)
            done += len(values)


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, values: list[bytes]) -> None:
    acks, batch = [], producer.create_batch()
    for value in values:
        if batch.append(key=b"", value=value, timestamp=None) is None:
            acks.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=b"", value=value, timestamp=None)
    acks.append(await producer.send_batch(batch, topic, partition=partition))
    for ack in acks:
        await ack
