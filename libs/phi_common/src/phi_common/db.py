"""PostgreSQL: one transaction per batch or request, opened and committed here and nowhere else."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from phi_common.clock import Now, new_id
from phi_common.crypto import BlindIndex, Undecryptable, seal, unseal
from phi_common.events import Event
from phi_common.keys import PatientKeys, TopicKeys
from phi_common.topics import PARTITIONS

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
NO_TRACE = ""
ERASED = "careloop_erased"
"""PostgreSQL notifies on it, with the patient's id, when an erasure commits."""

LOCK = """
INSERT INTO subjects (id, version) SELECT id, 1 FROM unnest(%b::uuid[]) AS id
ON CONFLICT (id) DO UPDATE SET version = subjects.version + 1
RETURNING id, version, erased_at IS NOT NULL
"""
OUTBOX = """
INSERT INTO outbox (topic, partition, key, event_id, type, at, sequence, traceparent, ck, body)
SELECT * FROM unnest(%b::text[], %b::int4[], %b::uuid[], %b::uuid[], %b::text[], %b::timestamptz[], %b::int8[],
                     %b::text[], %b::bytea[], %b::bytea[])
"""
AUDIT = """
INSERT INTO audit (id, at, actor, action, patient_id, trace, detail)
SELECT * FROM unnest(%b::uuid[], %b::timestamptz[], %b::text[], %b::text[], %b::uuid[], %b::text[], %b::text[])
"""


class Erased(Exception):
    """The patient's key is destroyed; nothing may be stored about them any more."""


def partition_of(patient_id: UUID) -> int:
    """The Kafka partition of a patient, from the random end of the id."""
    return patient_id.int % PARTITIONS


class Tx:
    """One transaction: its connections, the business time, and what will be written with it at commit."""

    index: BlindIndex
    """For look-ups by values that are not stored; only in the service that owns the database."""

    def __init__(self, sql: AsyncConnection, pg: Any, now: datetime, actor: str, keys: PatientKeys) -> None:
        self.sql = sql
        self.pg = pg
        self.now = now
        self.actor = actor
        self.traceparent = NO_TRACE
        self.emitted: list[tuple[Event, str]] = []
        self.audited: list[tuple[UUID, datetime, str, str, UUID | None, str, str]] = []
        self.deferred: list[tuple[str, list[Any]]] = []
        self.versions: dict[UUID, int] = {}
        self.erased: set[UUID] = set()
        self._keys = keys
        self._at_hand: dict[UUID, AESGCM] = {}

    async def lock(self, patients: Iterable[UUID]) -> None:
        """Create and lock these subjects in id order, bump their versions, and have their keys at hand."""
        ids = sorted(set(patients) - self.versions.keys())
        if not ids:
            return
        for patient, version, erased in await (await self.pg.execute(LOCK, [ids])).fetchall():
            self.versions[patient] = version
            if erased:
                self.erased.add(patient)
        self._at_hand |= await self._keys.load(self.pg, [p for p in ids if p not in self.erased], create=True)

    async def load_keys(self, patients: Iterable[UUID]) -> None:
        """Have the keys of these patients at hand for reading."""
        others = [patient for patient in patients if patient not in self._at_hand]
        self._at_hand |= await self._keys.load(self.pg, others, create=False)

    def knows(self, patient_id: UUID) -> bool:
        """Whether there is a key for this loaded patient: one who was never seen, or is erased, has none."""
        return patient_id in self._at_hand

    def _context(self, patient_id: UUID, column: str) -> bytes:
        return b"%s|%s|%s" % (self._keys.service.encode(), column.encode(), patient_id.bytes)

    def seal(self, patient_id: UUID, column: str, plain: bytes) -> bytes:
        """Seal a field under its patient's key, bound to service, column and patient. `Erased` without a key."""
        try:
            return seal(self._at_hand[patient_id], plain, self._context(patient_id, column))
        except KeyError:
            raise Erased from None

    def open(self, patient_id: UUID, column: str, sealed: bytes) -> bytes:
        """Open a field; `Undecryptable` when the key is gone or the bytes are another cell's."""
        try:
            return unseal(self._at_hand[patient_id], bytes(sealed), self._context(patient_id, column))
        except KeyError:
            raise Undecryptable from None

    async def seal_unowned(self, column: str, plain: bytes) -> bytes:
        """Seal bytes that belong to no known patient."""
        return seal(await self._keys.unowned(), plain, column.encode())

    async def open_unowned(self, column: str, sealed: bytes) -> bytes:
        """Open what `seal_unowned` sealed."""
        return unseal(await self._keys.unowned(), bytes(sealed), column.encode())

    def later(self, statement: str, parameters: list[Any]) -> None:
        """A write whose answer nobody needs: sent at commit, together with all others, in one round trip."""
        self.deferred.append((statement, parameters))

    def emit(self, event: Event, traceparent: str | None = None) -> None:
        """Publish with this transaction: an outbox row in its subject's order. The subject must be locked."""
        if event.patient_id not in self.versions:
            raise RuntimeError("emit needs the subject's lock")
        self.emitted.append((event, self.traceparent if traceparent is None else traceparent))

    def audit(self, action: str, patient_id: UUID | None, detail: str = "", traceparent: str | None = None) -> None:
        """Record who did what to whose data; commits with it. `detail` carries codes only."""
        trace = self.traceparent if traceparent is None else traceparent
        self.audited.append((new_id(), self.now, self.actor, action, patient_id, trace, detail))

    async def shred(self, patient_id: UUID) -> None:
        """Destroy a patient's key in this database: whatever was sealed for them can never be read again.

        Every process of this database hears of it at commit. Services call `erasure.erase`, which clears the rest too.
        """
        await self.lock([patient_id])
        await self.pg.execute("DELETE FROM patient_keys WHERE patient_id = %s", [patient_id])
        await self.pg.execute("DELETE FROM dead_letters WHERE patient_id = %s", [patient_id])
        await self.pg.execute("UPDATE subjects SET erased_at = coalesce(erased_at, now()) WHERE id = %s", [patient_id])
        await self.pg.execute("SELECT pg_notify(%s, %s)", [ERASED, str(patient_id)])
        self._at_hand.pop(patient_id, None)
        self.erased.add(patient_id)
        self.audit("patient:erase", patient_id)


class Database:
    """The engine and its transactions; `wake` is called after each commit that wrote outbox rows."""

    def __init__(self, url: sa.URL, ca_file: Path, now: Now, keys: PatientKeys, topic_keys: TopicKeys) -> None:
        self.engine = engine_of(url, ca_file)
        self.now = now
        self.keys = keys
        self.index: BlindIndex | None = None
        self.topic_keys = topic_keys
        self.wake: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def transaction(self, actor: str, traceparent: str = NO_TRACE) -> AsyncIterator[Tx]:
        """One transaction. Leaving it writes outbox and audit rows and commits; an exception rolls all of it back."""
        async with self.engine.begin() as sql:  # psycopg's statements do not tell SQLAlchemy that they began
            pg = (await sql.get_raw_connection()).driver_connection
            tx = Tx(sql, pg, self.now(), actor, self.keys)
            tx.traceparent = traceparent
            if self.index:
                tx.index = self.index
            yield tx
            await self._write(tx)
        if tx.emitted:
            self.wake()

    async def _write(self, tx: Tx) -> None:
        if tx.emitted:
            tx.later(OUTBOX, await self._rows(tx))
        if tx.audited:
            tx.later(AUDIT, columns(tx.audited, 7))
        if len(tx.deferred) == 1:
            await tx.pg.execute(*tx.deferred[0])
        elif tx.deferred:
            async with tx.pg.pipeline():
                for statement, parameters in tx.deferred:
                    await tx.pg.execute(statement, parameters)

    async def _rows(self, tx: Tx) -> list[Any]:
        counts: dict[UUID, int] = {}
        rows = []
        for event, traceparent in tx.emitted:
            key, wrapped = await self.topic_keys.sending(event.topic)
            patient, event_id = event.patient_id, new_id()
            counts[patient] = index = counts.get(patient, -1) + 1
            body = seal(
                key,
                event.__pydantic_serializer__.to_json(event),
                f"{event_id}|{event.type}|{patient}".encode(),
            )
            rows.append((event.topic, partition_of(patient), patient, event_id, event.type, tx.now,
                         tx.versions[patient] << 16 | index, traceparent, wrapped, body))  # fmt: skip
        return columns(rows, 10)


def engine_of(url: sa.URL, ca_file: Path) -> AsyncEngine:
    """An engine over TLS that verifies the server and never shows parameters in errors."""
    query = {"sslmode": "verify-full", "sslrootcert": str(ca_file)}
    return create_async_engine(
        url.update_query_dict(query), hide_parameters=True, pool_size=10, max_overflow=10, pool_timeout=5
    )


def run_migrations(metadata: sa.MetaData) -> None:
    """What each service's `migrations/env.py` calls: bring the database of the configured connection up to date."""
    from alembic import context

    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
        context.run_migrations()


def grant(op: Any, role: str, tables: dict[str, str] | None = None) -> None:
    """Let `role` work with `tables` (name to privileges), by default with all; the audit trail stays append-only."""
    append_only = ("audit", "audit_blocks")
    if tables is None:
        names = sa.inspect(op.get_bind()).get_table_names()
        tables = {
            name: "SELECT, INSERT" if name in append_only else "SELECT, INSERT, UPDATE, DELETE"
            for name in names
            if name != "alembic_version"
        }
    for name, privileges in tables.items():
        op.execute(f'GRANT {privileges} ON "{name}" TO "{role}"')


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned into parameter lists for `unnest`; `width` lists also when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
