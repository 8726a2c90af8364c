"""What a running service stands on: logged in, connected, with its relay, consumer, sweepers, sealer and health."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from aiokafka.errors import KafkaError

from phi_common import audit
from phi_common.auth import Principal
from phi_common.clock import business_clock
from phi_common.crypto import BlindIndex
from phi_common.db import Database, connection_options
from phi_common.eventing import inbox
from phi_common.eventing.broker import Consumer, Kafka
from phi_common.eventing.consume import TRANSIENT, LineStopped, Subscription
from phi_common.eventing.envelope import Bad
from phi_common.eventing.outbox import Relay
from phi_common.eventing.sweep import Sweep
from phi_common.keys import PatientKeys, TopicKeys
from phi_common.logs import log
from phi_common.metrics import DEAD_LETTERS, EVENTS_HANDLED
from phi_common.problem import Problem
from phi_common.settings import CommonSettings, Shared
from phi_common.transaction import NO_TRACE, Tx
from phi_common.vault import Vault

HEALTH_SECONDS = 1.0
SWEEP_SECONDS = 0.25
LOOK_SECONDS = 1.0
"""How often a real clock's watermark moves; a virtual one waits for it, so it is looked at with each sweep."""
UNSEALED_SECONDS = 5.0
PRUNE_SECONDS = 3600.0
INDEX_KEY = -1
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
Work = Callable[[Tx], Awaitable[tuple[int, Any]]]


class Runtime:
    """One process of one service."""

    def __init__(
        self, name: str, settings: CommonSettings, shared: Shared, *, database: str = "", role: str = ""
    ) -> None:
        self.name = name
        self.settings = settings
        self.shared = shared
        self.now = business_clock(shared.clock_file)
        self.database = database or name.replace("-", "_")
        self.role = role or self.database
        self.key_owner = self.database.replace("_", "-")
        self.troubles: dict[str, str] = {}
        self.consumer: Consumer | None = None
        self.relay: Relay | None = None
        self.watermark = BEGINNING
        self.in_hand = 0
        self._pruned = -PRUNE_SECONDS

    async def connect(self) -> None:
        """Log in, fetch passwords, open the database and the keys."""
        assert self.settings.secret_id_file is not None
        shared = self.shared
        self.vault = await Vault.login(
            shared.vault, shared.ca_file, self.settings.role_id, self.settings.secret_id_file
        )
        self._password = (await self.vault.secret(f"db/{self.name}"))["password"]
        host, _, port = shared.postgres.rpartition(":")
        url = sa.URL.create("postgresql+psycopg", self.role, self._password, host, int(port), self.database)
        self.topic_keys = TopicKeys(self.vault)
        self.keys = PatientKeys(self.key_owner, self.vault)
        self.db = Database(url, shared.ca_file, self.now, self.keys, self.topic_keys)

    async def open_keys(self, *, create: bool) -> None:
        """Read (or, for the owner of the database, make) the keys at rest."""
        async with await self.pg() as pg, pg.transaction():
            await self.keys.prepare(pg, create=create)
            if create:
                self.index = self.db.index = BlindIndex(await self._index_key(pg))

    async def _index_key(self, pg: Any) -> bytes:
        transit = f"index-{self.name}"
        _, wrapped = await self.vault.data_key(transit)
        await pg.execute("INSERT INTO bucket_keys VALUES (%s, %s) ON CONFLICT DO NOTHING", [INDEX_KEY, wrapped])
        row = await (await pg.execute("SELECT wrapped FROM bucket_keys WHERE bucket = %s", [INDEX_KEY])).fetchone()
        return await self.vault.unwrap(transit, bytes(row[0]))

    async def pg(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own, outside the pool, for the relay and the like."""
        host, _, port = self.shared.postgres.rpartition(":")
        return await psycopg.AsyncConnection.connect(
            host=host, port=int(port), dbname=self.database, user=self.role, password=self._password,
            autocommit=True, **connection_options(self.shared.ca_file),
        )  # fmt: skip

    async def kafka(self) -> Kafka:
        """Kafka under this service's own principal."""
        password = (await self.vault.secret(f"kafka/{self.name}"))["password"]
        return Kafka(self.shared.kafka, self.name, password, str(self.shared.ca_file))

    # -- what services use

    def transaction(self, actor: str, traceparent: str = NO_TRACE) -> Any:
        """A writing transaction; see `Database.transaction`."""
        return self.db.transaction(actor, traceparent)

    @asynccontextmanager
    async def reading(self, principal: Principal, action: str, patients: Sequence[UUID]) -> AsyncIterator[Tx]:
        """Read these patients' data: the audit row is durable before the caller goes on to answer. 404 if unknown."""
        for patient in patients:
            principal.require_patient(patient)
        async with self.db.transaction(principal.subject) as tx:
            await tx.load_keys(patients)
            for patient in patients:
                if not tx.knows(patient):
                    raise Problem(404, "Unknown patient")
                tx.audit(action, patient)
            yield tx

    async def idempotent(self, principal: Principal, key: str, body: bytes, work: Work) -> tuple[int, Any]:
        """Run a command once per key: the answer is stored with its effect; the same key with another body is 409."""
        scope = f"{principal.subject}:{key}"
        wanted = hashlib.sha256(body).digest()
        async with self.db.transaction(principal.subject) as tx:
            await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [scope])
            query = "SELECT request_hash, status, body FROM answers WHERE key = %s"
            stored = await (await tx.execute(query, [scope])).fetchone()
            if stored:
                if stored[0] != wanted:
                    raise Problem(409, "Idempotency-Key was used with another request")
                return stored[1], json.loads(stored[2])
            status, answer = await work(tx)
            await tx.execute(
                "INSERT INTO answers (key, request_hash, status, body) VALUES (%s, %s, %s, %s)",
                [scope, wanted, status, json.dumps(answer).encode()],
            )
        return status, answer

    @property
    def accepting(self) -> bool:
        """Whether new work may be taken: keys and database answer, and what waits to be published is within bounds."""
        waiting = self.relay is not None and (
            self.relay.rows > self.settings.outbox_rows or self.relay.oldest_seconds > self.settings.outbox_seconds
        )
        return not waiting and not {"vault", "line"} & self.troubles.keys()

    def stumble(self, where: str, error: BaseException) -> None:
        """Something outside is in the way; readiness says so until `recovered`."""
        self.troubles[where] = type(error).__name__
        log.warning("retrying", error, task=where)

    def recovered(self, where: str) -> None:
        """It works again."""
        self.troubles.pop(where, None)

    def count(self, topic: str, good: int, bad: Sequence[Bad]) -> None:
        """Metrics of one handled batch."""
        EVENTS_HANDLED.labels(topic, "applied").inc(good)
        if bad:
            EVENTS_HANDLED.labels(topic, "dead-letter").inc(len(bad))
            DEAD_LETTERS.labels(topic).inc(len(bad))
            for one in bad:
                log.error("dead_letter", topic=topic, event_type=one.type, reason_code=one.reason)

    # -- what runs beside

    async def start_eventing(self, subscriptions: Sequence[Subscription]) -> None:
        """Make the relay and the consumer."""
        self._subscriptions = {subscription.topic: subscription for subscription in subscriptions}
        kafka = await self.kafka()
        if self.settings.relay:
            self.relay = Relay(self.pg, kafka, f"/careloop/{self.name}")
            self.db.wake = self.relay.wake
        if subscriptions and self.settings.consume:
            self.consumer = Consumer(kafka, list(self._subscriptions), self._handle)
            await self.consumer.start()

    async def _handle(self, records: Sequence[Any]) -> None:
        by_topic: dict[str, list[Any]] = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append(record)
        self.in_hand += len(records)
        try:
            for topic, some in by_topic.items():
                await self._subscriptions[topic].handle(self, some)
        except LineStopped as error:
            self.stumble("line", error)
            await asyncio.Event().wait()
        finally:
            self.in_hand -= len(records)

    async def watch_lag(self) -> None:
        """Move the watermark: an instant is passed once everything that was on our topics then has been handled."""
        while True:
            try:
                asked = self.now()
                if self.consumer:
                    ends = await self.consumer.ends()
                    while not await self.consumer.reached(ends):  # noqa: ASYNC110 (it is Kafka that is awaited)
                        await asyncio.sleep(SWEEP_SECONDS)
                self.watermark = asked
                self.recovered("lag")
            except (KafkaError, ConnectionError) as error:
                self.stumble("lag", error)
            await asyncio.sleep(SWEEP_SECONDS if self.shared.clock_file else LOOK_SECONDS)

    async def sweep_for_ever(self, sweeps: Sequence[Sweep]) -> None:
        """Take what is due as of min(now, watermark)."""
        while True:
            try:
                upto = min(self.now(), self.watermark)
                for sweep in sweeps:
                    while await sweep.run(self, upto):  # noqa: ASYNC110 (not a wait: one batch after the other)
                        await asyncio.sleep(0)
                self.recovered("sweep")
            except TRANSIENT as error:
                self.stumble("sweep", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def check_for_ever(self) -> None:
        """Seal the audit trail and look after health, each second."""
        while True:
            try:
                async with await self.pg() as pg:
                    self.recovered("database")
                    while True:
                        await self._check(pg)
                        await asyncio.sleep(HEALTH_SECONDS)
            except (psycopg.Error, ConnectionError, TimeoutError, OSError) as error:
                self.stumble("database", error)
                await asyncio.sleep(HEALTH_SECONDS)

    async def _check(self, pg: Any) -> None:
        if await self.vault.healthy():
            self.recovered("vault")
        else:
            self.troubles["vault"] = "unavailable"
        if self.relay:
            await self.relay.measure(pg)
        await audit.seal(pg, self.name, self.shared.anchor_dir)
        if time.monotonic() - self._pruned > PRUNE_SECONDS and not await inbox.prune(pg, inbox.REMEMBERED_DAYS):
            self._pruned = time.monotonic()
        if await audit.unsealed_seconds(pg) > UNSEALED_SECONDS:
            self.troubles["audit"] = "unsealed"
        else:
            self.recovered("audit")
