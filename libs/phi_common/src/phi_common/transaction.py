"""One transaction: what it asks, locks, seals, emits and audits. `phi_common.db` opens and commits it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.pq import TransactionStatus
from sqlalchemy.ext.asyncio import AsyncConnection

from phi_common.crypto import BlindIndex, Undecryptable, seal, unseal
from phi_common.events import Event
from phi_common.keys import PatientKeys
from phi_common.telemetry import new_traceparent

NO_TRACE = ""
BEGIN = "BEGIN"
LOCK = """
INSERT INTO subjects (id, version) SELECT id, 1 FROM unnest(%b::uuid[]) AS id
ON CONFLICT (id) DO UPDATE SET version = subjects.version + 1
RETURNING id, version, erased_at IS NOT NULL
"""
KEYS = "SELECT patient_id, wrapped FROM patient_keys WHERE patient_id = ANY(%b)"
ADD_KEYS = "INSERT INTO patient_keys (patient_id, wrapped) SELECT * FROM unnest(%b::uuid[], %b::bytea[])"
SHRED = (
    "DELETE FROM patient_keys WHERE patient_id = %b",
    "DELETE FROM dead_letters WHERE patient_id = %b",
    "UPDATE subjects SET erased_at = coalesce(erased_at, now()) WHERE id = %b",
)


class Erased(Exception):
    """The patient's key is destroyed; nothing may be stored about them any more."""


class NotCommitted(psycopg.OperationalError):
    """An error in the transaction was swallowed: PostgreSQL would answer COMMIT with a rollback, and not complain."""


class Ahead:
    """A statement that goes to the database with the next one that is waited for, in the same round trip."""

    cursor: Any

    def __init__(self, statement: str, parameters: Any) -> None:
        self.statement = statement
        self.parameters = parameters

    async def rows(self) -> list[Any]:
        """Its answer, once the transaction has been to the database."""
        found: list[Any] = await self.cursor.fetchall()
        return found


class Tx:
    """One transaction: its connections, the business time, and what will be written with it at commit."""

    index: BlindIndex
    """For look-ups by values that are not stored; only in the service that owns the database."""

    def __init__(self, sql: AsyncConnection, pg: Any, now: datetime, actor: str, keys: PatientKeys) -> None:
        self._sql = sql
        self._pg = pg
        self.now = now
        self.actor = actor
        self.traceparent = NO_TRACE
        self.emitted: list[tuple[Event, str]] = []
        self.audited: dict[tuple[str, str], list[tuple[UUID | None, str, str]]] = {}
        self.committed: list[Callable[[], None]] = []
        """What to do once it is durable, such as remembering what was written."""
        self.versions: dict[UUID, int] = {}
        self.erased: set[UUID] = set()
        self._asked = [Ahead(BEGIN, None)]
        self._deferred: list[Ahead] = []
        self._locks: list[tuple[list[UUID], Ahead]] = []
        self._keyrows: list[Ahead] = []
        self._keys = keys
        self._at_hand: dict[UUID, AESGCM] = {}

    # -- to the database and back: what is asked ahead costs no round trip of its own

    def ahead(self, statement: str, parameters: Any = None) -> Ahead:
        """Ask without waiting; the answer is there after the next `rows`, `execute`, `lock` or `arrive`."""
        asked = Ahead(statement, parameters)
        self._asked.append(asked)
        return asked

    async def rows(self, statement: str, parameters: Any = None) -> list[Any]:
        """The rows of a statement, together with all that was asked ahead."""
        asked = self.ahead(statement, parameters)
        await self.arrive()
        return await asked.rows()

    async def execute(self, statement: str, parameters: Any = None) -> Any:
        """The psycopg cursor of a statement, for its row count or a single row."""
        asked = self.ahead(statement, parameters)
        await self.arrive()
        return asked.cursor

    async def core(self) -> AsyncConnection:
        """The SQLAlchemy connection of this transaction."""
        await self.arrive()
        return self._sql

    def later(self, statement: str, parameters: Sequence[Any]) -> None:
        """A write whose answer nobody needs: sent at commit, in the same round trip."""
        self._deferred.append(Ahead(statement, parameters))

    async def arrive(self) -> None:
        """Send what was asked ahead, and take over locks and keys."""
        asked, self._asked = self._asked, []
        await self._send(asked)
        locks, self._locks = self._locks, []
        keyrows, self._keyrows = self._keyrows, []
        for _, locked in locks:
            for patient, version, erased in await locked.rows():
                self.versions[patient] = version
                if erased:
                    self.erased.add(patient)
        for found in keyrows:
            self._at_hand |= await self._keys.opened(self._pg, await found.rows())
        for patient in self.erased:  # a key read before its patient was erased seals nothing any more
            self._at_hand.pop(patient, None)
        await self._make_keys([patient for ids, _ in locks for patient in ids])

    async def _send(self, asked: Sequence[Ahead]) -> None:
        if len(asked) == 1:
            asked[0].cursor = await self._pg.execute(asked[0].statement, asked[0].parameters, binary=True)
        elif asked:
            async with self._pg.pipeline():
                for one in asked:
                    one.cursor = await self._pg.execute(one.statement, one.parameters, binary=True)

    async def commit(self, writes: Sequence[Ahead]) -> None:
        """Send what is left, then these, then commit. The database's and nobody else's to call."""
        if self._locks or self._keyrows:
            await self.arrive()
        if self._pg.info.transaction_status == TransactionStatus.INERROR:
            raise NotCommitted
        left = [*self._asked, *self._deferred, *writes]
        if [one.statement for one in left] == [BEGIN]:
            return  # nothing was ever asked of the database
        await self._send([*left, Ahead("COMMIT", None)])

    # -- subjects and their keys

    def lock_ahead(self, patients: Iterable[UUID]) -> None:
        """Create and lock these subjects in id order, bump their versions, and have their keys at hand: by then."""
        waiting = {patient for ids, _ in self._locks for patient in ids}
        ids = sorted(set(patients) - self.versions.keys() - waiting)
        if ids:
            self._locks.append((ids, self.ahead(LOCK, [ids])))
            self._keyrows.append(self.ahead(KEYS, [ids]))

    async def lock(self, patients: Iterable[UUID]) -> None:
        """Lock now, see `lock_ahead`."""
        self.lock_ahead(patients)
        await self.arrive()

    async def load_keys(self, patients: Iterable[UUID]) -> None:
        """Have the keys of these patients at hand for reading."""
        self._keyrows.append(self.ahead(KEYS, [list(patients)]))
        await self.arrive()

    async def _make_keys(self, patients: Sequence[UUID]) -> None:
        made = await self._keys.made([p for p in patients if p not in self._at_hand and p not in self.erased])
        if made:
            self.later(ADD_KEYS, [list(made), [wrapped for wrapped, _ in made.values()]])
            self._at_hand |= {patient: key for patient, (_, key) in made.items()}

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
            return unseal(self._at_hand[patient_id], sealed, self._context(patient_id, column))
        except KeyError:
            raise Undecryptable from None

    async def seal_unowned(self, column: str, plain: bytes) -> bytes:
        """Seal bytes that belong to no known patient."""
        return seal(await self._keys.unowned(), plain, column.encode())

    async def open_unowned(self, column: str, sealed: bytes) -> bytes:
        """Open what `seal_unowned` sealed."""
        return unseal(await self._keys.unowned(), sealed, column.encode())

    async def shred(self, patient_id: UUID) -> None:
        """Destroy a patient's key in this database: whatever was sealed for them can never be read again.

        Services call `erasure.erase`, which clears the rest too.
        """
        await self.lock([patient_id])
        for statement in SHRED:
            self.later(statement, [patient_id])
        self._at_hand.pop(patient_id, None)
        self.erased.add(patient_id)
        self.audit("patient:erase", patient_id)

    # -- what commits with it

    def emit(self, event: Event, traceparent: str | None = None) -> None:
        """Publish with this transaction: an outbox row in its subject's order. The subject must be locked.

        It belongs to the given trace, else to the transaction's; what has none begins one.
        """
        if event.patient_id not in self.versions:
            raise RuntimeError("emit needs the subject's lock")
        self.emitted.append((event, traceparent or self.traceparent or new_traceparent()))

    def audit(self, action: str, patient_id: UUID | None, detail: str = "", traceparent: str | None = None) -> None:
        """Record who did what to whose data; commits with it. `detail` carries codes only.

        What one actor did of one kind in one transaction is one row, with a place for each patient: a batch of
        events costs the trail, and the sealer, one row and not hundreds.
        """
        trace = self.traceparent if traceparent is None else traceparent
        self.audited.setdefault((self.actor, action), []).append((patient_id, detail, trace))
