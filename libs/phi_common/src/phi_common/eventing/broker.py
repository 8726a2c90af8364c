"""The one place that makes Kafka clients. FastStream's and aiokafka's defaults lose messages; ours are set here."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from phi_common.eventing.consume import BATCH
from phi_common.logs import log
from phi_common.metrics import CONSUMER_LAG
from phi_common.topics import PARTITIONS

Offsets = dict[TopicPartition, int]
MECHANISM = "SCRAM-SHA-512"
FOREVER_MS = 24 * 3600 * 1000
COMMIT_SECONDS = 0.5
STOP_SECONDS = 5.0
BUSY = 4
SECONDS_PER_EVENT = 0.001
LONGEST_GATHER = 0.1


async def gather(last: int) -> None:
    """Wait a little for more, the longer the larger the last batch was; after a small one not at all.

    Few large batches cost the broker, PostgreSQL and ourselves far less than many small ones. Below some hundred
    events a second nothing waits; the longest wait bounds what an event can lose by it at each step.
    """
    if last >= BUSY:
        await asyncio.sleep(min(last * SECONDS_PER_EVENT, LONGEST_GATHER))


class Kafka:
    """Where Kafka is and who we are there."""

    def __init__(self, bootstrap: str, user: str, password: str, ca_file: str) -> None:
        self.bootstrap = bootstrap
        self.user = user
        self._password = password
        self.tls = ssl.create_default_context(cafile=ca_file)

    def _login(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self._password,
            "ssl_context": self.tls,
        }

    def producer(self) -> AIOKafkaProducer:
        """An idempotent producer that calls a record sent when every in-sync replica has it."""
        return AIOKafkaProducer(**self._login(), acks="all", enable_idempotence=True, max_batch_size=1 << 19,
                                max_request_size=1 << 22, request_timeout_ms=10_000)  # fmt: skip

    def admin(self) -> AIOKafkaAdminClient:
        """For reading offsets only."""
        return AIOKafkaAdminClient(**self._login())

    def broker(self) -> Any:
        """A FastStream broker that creates no topics and never acknowledges by itself."""
        from faststream.kafka import KafkaBroker
        from faststream.security import SASLScram512

        return KafkaBroker(
            self.bootstrap,
            security=SASLScram512(self.user, self._password, ssl_context=self.tls, use_ssl=True),
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
            graceful_timeout=STOP_SECONDS,
        )


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads all topics of a service in batches, and commits how far it durably got: a hint, at most a second old."""

    def __init__(self, kafka: Kafka, topics: Sequence[str], handle: Callable[[Sequence[Any]], Awaitable[None]]) -> None:
        self._kafka = kafka
        self._topics = topics
        self._handle = handle
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._revocations = 0
        self._admin: Any = None
        self._broker = kafka.broker()
        self._subscriber = self._subscribe()

    def _subscribe(self) -> Any:
        from faststream import AckPolicy

        return self._broker.subscriber(
            *self._topics,
            group_id=self._kafka.user,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            max_poll_interval_ms=FOREVER_MS,
            session_timeout_ms=10_000,
            listener=self,
        )

    async def start(self) -> None:
        """Join the group."""
        await self._broker.start()

    async def run(self) -> None:
        """Read and handle for ever. FastStream's own loop swallows what a handler raises; here it ends the process."""
        records: list[Any] = []
        while True:
            if len(records) < BATCH:
                await gather(len(records))
            try:
                found = await self._subscriber.consumer.getmany(timeout_ms=500, max_records=BATCH)
            except KafkaError as error:
                log.warning("fetch_failed", error)
                await asyncio.sleep(1)
                continue
            before = self._revocations
            if records := list(chain.from_iterable(found.values())):
                await self._handle(records)
            if before == self._revocations:  # else others read on, and may be further: ours would set them back
                self._done.update((place, some[-1].offset + 1) for place, some in found.items())

    async def commit_for_ever(self) -> None:
        """Commit in the background, so that no batch waits for it."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        consumer = self._subscriber.consumer
        news = {tp: at for tp, at in self._done.items() if self._committed.get(tp) != at}
        if consumer is None or not news:
            return
        assigned = consumer.assignment()
        news = {tp: at for tp, at in news.items() if tp in assigned}
        try:
            if news:
                await consumer.commit(news)
                self._committed.update(news)
        except (KafkaError, ConnectionError) as error:
            log.warning("offset_commit_failed", error)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Say how far we got before others go on from there."""
        self._revocations += 1
        await self._commit()
        self._done.clear()
        self._committed.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing to prepare: the inbox knows what was done."""

    async def ends(self) -> Offsets:
        """Where our topics end now."""
        places = [TopicPartition(t, p) for t in self._topics for p in range(PARTITIONS)]
        return dict(await self._subscriber.consumer.end_offsets(places))

    async def reached(self, ends: Offsets) -> bool:
        """Whether the whole group, all replicas together, has durably handled everything before `ends`."""
        if self._admin is None:
            admin = self._kafka.admin()
            await admin.start()
            self._admin = admin
        offsets = await self._admin.list_consumer_group_offsets(self._kafka.user)
        done = {place: found.offset for place, found in offsets.items()}
        self._note_lag(ends, done)
        short = [place for place, end in ends.items() if done.get(place, 0) < end]
        unread = [place for place in short if place not in done]
        if len(unread) < len(short):
            return False
        starts = await self._subscriber.consumer.beginning_offsets(unread) if unread else {}
        return all(starts[place] >= ends[place] for place in unread)

    def _note_lag(self, ends: Offsets, done: Offsets) -> None:
        for topic in self._topics:
            behind = (end - done.get(place, 0) for place, end in ends.items() if place.topic == topic)
            CONSUMER_LAG.labels(topic).set(sum(max(0, lag) for lag in behind))

    async def stop(self) -> None:
        """Finish the batch in hand, commit, leave; never longer than a dead broker deserves."""
        for end in (self._commit, self._broker.stop):
            try:
                await asyncio.wait_for(end(), STOP_SECONDS)
            except TimeoutError:
                log.warning("consumer_stop_timed_out")
        if self._admin is not None:
            await self._admin.close()
