"""PostgreSQL: one transaction per batch or request, opened and committed here and nowhere else."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from phi_common.clock import Now, new_id
from phi_common.crypto import BlindIndex, seal
from phi_common.keys import PatientKeys, TopicKeys
from phi_common.telemetry import log
from phi_common.topics import PARTITIONS
from phi_common.transaction import NO_TRACE, Ahead, Tx

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
LARGEST_EVENT = 1 << 19
"""Half of what a broker takes in one batch by default: sealed, in bytes."""

OUTBOX = """
INSERT INTO outbox (topic, partition, key, event_id, type, at, sequence, traceparent, ck, body)
SELECT topic, partition, key, event_id, type, %b, sequence, traceparent, ck, body
FROM unnest(%b::text[], %b::int4[], %b::uuid[], %b::uuid[], %b::text[], %b::int8[], %b::text[],
            %b::bytea[], %b::bytea[]) AS row (topic, partition, key, event_id, type, sequence, traceparent, ck, body)
"""
AUDIT = """
INSERT INTO audit (id, at, actor, action, patients, details, traces)
VALUES (%b, %b, %b, %b, %b::uuid[], %b::text[], %b::text[])
"""


def partition_of(patient_id: UUID) -> int:
    """The Kafka partition of a patient, from the random end of the id."""
    return patient_id.int % PARTITIONS


class TooLarge(psycopg.DataError):
    """An event larger than we hand to a Kafka broker. In the outbox it could hold up all others."""


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
        async with self.engine.connect() as sql:
            pg = (await sql.get_raw_connection()).driver_connection
            tx = Tx(sql, pg, self.now(), actor, self.keys)
            tx.traceparent = traceparent
            if self.index:
                tx.index = self.index
            try:
                yield tx
                await tx.commit(await self._writes(tx))
            except BaseException:
                await _roll_back(sql, pg)
                raise
        for known in tx.committed:
            known()
        if tx.emitted:
            self.wake()

    async def _writes(self, tx: Tx) -> list[Ahead]:
        writes = []
        if tx.emitted:
            writes.append(Ahead(OUTBOX, await self._rows(tx)))
        for (actor, action), places in tx.audited.items():
            writes.append(Ahead(AUDIT, [new_id(), tx.now, actor, action, *columns(places, 3)]))
        return writes

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
            if len(body) > LARGEST_EVENT:
                raise TooLarge
            rows.append((event.topic, partition_of(patient), patient, event_id, event.type,
                         tx.versions[patient] << 16 | index, traceparent, wrapped, body))  # fmt: skip
        return [tx.now, *columns(rows, 9)]


async def _roll_back(sql: AsyncConnection, pg: Any) -> None:
    """Give the connection back clean, or, when it cannot answer any more, give it up."""
    try:
        # not by a statement: this also forgets what is believed prepared, since an error may have cut that off
        await pg.rollback()
    except psycopg.Error as error:
        log.warning("rollback_failed", error)
    finally:  # cancelled a second time, too
        if pg.info.transaction_status != TransactionStatus.IDLE:
            await sql.invalidate()


def connection_options(ca_file: Path) -> dict[str, Any]:
    """TLS that verifies the server, and a dead peer noticed within a minute, not after the kernel's hours."""
    return {
        "sslmode": "verify-full", "sslrootcert": str(ca_file), "tcp_user_timeout": "30000",
        "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3",
    }  # fmt: skip


def engine_of(url: sa.URL, ca_file: Path) -> AsyncEngine:
    """An engine over TLS that verifies the server and never shows parameters in errors.

    Transactions begin and end by statements of our own, which share round trips with others; hence AUTOCOMMIT.
    """
    return create_async_engine(
        url.update_query_dict(connection_options(ca_file)), hide_parameters=True, pool_size=10,
        max_overflow=10, pool_timeout=5, pool_use_lifo=True, pool_reset_on_return=None, isolation_level="AUTOCOMMIT",
    )  # fmt: skip


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
