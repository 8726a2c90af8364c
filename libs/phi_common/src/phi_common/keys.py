"""Data keys: one per topic and hour on the bus, one per patient at rest; wrapped by Transit, cached in memory only."""

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from phi_common.crypto import seal, unseal
from phi_common.topics import TOPICS
from phi_common.vault import Vault

BUCKETS = 16
PRODUCER_KEY_AGE = 3600.0
CACHE_AGE = 900.0
CACHED_PATIENTS = 100_000


class TopicKeys:
    """Keys of sealed payloads. A producer takes a new one each hour; a consumer caches by the wrapped key's hash."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._sending: dict[str, tuple[AESGCM, bytes, float]] = {}
        self._opening: OrderedDict[bytes, AESGCM] = OrderedDict()

    async def sending(self, topic: str) -> tuple[AESGCM, bytes]:
        """A key to seal with, and its wrapped form for the `ck` header."""
        found = self._sending.get(topic)
        if found is None or time.monotonic() - found[2] > PRODUCER_KEY_AGE:
            plain, wrapped = await self._vault.data_key(TOPICS[topic].key)
            found = self._sending[topic] = (AESGCM(plain), wrapped, time.monotonic())
        return found[0], found[1]

    async def opening(self, topic: str, wrapped: bytes) -> AESGCM:
        """The key behind a `ck` header; Transit refuses topics that this service may not read."""
        name = hashlib.sha256(topic.encode() + wrapped).digest()
        found = self._opening.get(name)
        if found is None:
            found = AESGCM(await self._vault.unwrap(TOPICS[topic].key, wrapped))
            self._opening[name] = found
            if len(self._opening) > 1000:
                self._opening.popitem(last=False)
        return found


class PatientKeys:
    """Keys at rest: Transit key, bucket keys, one data key per patient. Deleting a patient's row shreds the patient."""

    def __init__(self, service: str, vault: Vault) -> None:
        self.service = service
        self._transit = f"bucket-{service}"
        self._vault = vault
        self._wrapped: dict[int, bytes] = {}
        self._buckets: dict[int, tuple[AESGCM, float]] = {}
        self._patients: OrderedDict[UUID, tuple[AESGCM, float]] = OrderedDict()
        self._erased: set[UUID] = set()

    async def prepare(self, pg: Any, *, create: bool) -> None:
        """Read the bucket keys of this database, making the missing ones when `create`."""
        for bucket in range(BUCKETS) if create else ():
            if await (await pg.execute("SELECT 1 FROM bucket_keys WHERE bucket = %s", [bucket])).fetchone() is None:
                _, wrapped = await self._vault.data_key(self._transit)
                await pg.execute("INSERT INTO bucket_keys VALUES (%s, %s) ON CONFLICT DO NOTHING", [bucket, wrapped])
        rows = await (await pg.execute("SELECT bucket, wrapped FROM bucket_keys")).fetchall()
        self._wrapped = {bucket: bytes(wrapped) for bucket, wrapped in rows}

    async def _bucket(self, bucket: int) -> AESGCM:
        found = self._buckets.get(bucket)
        if found is None or time.monotonic() - found[1] > CACHE_AGE:
            key = AESGCM(await self._vault.unwrap(self._transit, self._wrapped[bucket]))
            found = self._buckets[bucket] = (key, time.monotonic())
        return found[0]

    async def load(self, pg: Any, patients: Iterable[UUID], *, create: bool) -> dict[UUID, AESGCM]:
        """The keys of these patients; those without one are left out. The caller holds what it got.

        With `create` the caller has locked their subjects and none is erased, so what is in memory still holds. A
        reader has no lock: the database says whose key is still there, whatever this process remembers.
        """
        old = time.monotonic() - CACHE_AGE
        known = {patient: self._patients.get(patient) for patient in patients}
        keys = {patient: entry[0] for patient, entry in known.items() if entry and entry[1] >= old}
        asked = [patient for patient in known if patient not in keys] if create else list(known)
        if not asked:
            return keys
        cursor = await pg.execute("SELECT patient_id, wrapped FROM patient_keys WHERE patient_id = ANY(%b)", [asked])
        rows = {patient: bytes(wrapped) for patient, wrapped in await cursor.fetchall()}
        missing = [patient for patient in asked if patient not in rows]
        for patient in missing:
            keys.pop(patient, None)
            self._patients.pop(patient, None)
        for patient in rows.keys() - keys.keys():
            bucket = await self._bucket(patient.int % BUCKETS)
            keys[patient] = self._remember(patient, unseal(bucket, rows[patient], patient.bytes))
        if create and missing:
            keys |= await self._create(pg, missing)
        return keys

    async def _create(self, pg: Any, patients: Sequence[UUID]) -> dict[UUID, AESGCM]:
        """New keys. They are remembered only once they are read back: this transaction may still be rolled back."""
        keys, wrapped = {}, []
        for patient in patients:
            plain = os.urandom(32)
            wrapped.append(seal(await self._bucket(patient.int % BUCKETS), plain, patient.bytes))
            keys[patient] = AESGCM(plain)
        await pg.execute(
            "INSERT INTO patient_keys (patient_id, wrapped) SELECT * FROM unnest(%b::uuid[], %b::bytea[])",
            [list(keys), wrapped],
        )
        return keys

    def _remember(self, patient: UUID, key: bytes) -> AESGCM:
        made = AESGCM(key)
        if patient in self._erased:
            return made
        self._patients[patient] = (made, time.monotonic())
        if len(self._patients) > CACHED_PATIENTS:
            self._patients.popitem(last=False)
        return made

    def forget(self, patient: UUID) -> None:
        """A patient was erased: nothing of them stays in memory, nor comes back with a look that began before."""
        self._erased.add(patient)
        self._patients.pop(patient, None)

    def forget_all(self) -> None:
        """Erasures may have been missed: begin anew."""
        self._patients.clear()

    async def unowned(self) -> AESGCM:
        """A key for bytes that belong to no known patient, such as a message that nobody could read."""
        return await self._bucket(0)
