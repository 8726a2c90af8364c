"""Data keys: one per topic and hour on the bus, one per patient at rest; wrapped by Transit, cached in memory only."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from phi_common.crypto import seal, unseal
from phi_common.entropy import random_bytes
from phi_common.topics import TOPICS
from phi_common.vault import Vault

BUCKETS = 16
PRODUCER_KEY_AGE = 3600.0
CACHE_AGE = 900.0


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

    async def opened(self, pg: Any, rows: Sequence[tuple[UUID, bytes]]) -> dict[UUID, AESGCM]:
        """The keys behind these rows of `patient_keys`.

        They are read with each transaction and cached nowhere: once its row is gone, no process can use a key.
        """
        if rows and not self._wrapped:  # we started before the database's owner first did
            await self.prepare(pg, create=False)
        return {
            patient: AESGCM(unseal(await self._bucket(patient.int % BUCKETS), wrapped, patient.bytes))
            for patient, wrapped in rows
        }

    async def made(self, patients: Iterable[UUID]) -> dict[UUID, tuple[bytes, AESGCM]]:
        """New keys, wrapped and ready for use; the caller holds the locks of these patients and stores them."""
        new = {}
        for patient in patients:
            key = random_bytes(32)
            wrapped = seal(await self._bucket(patient.int % BUCKETS), key, patient.bytes)
            new[patient] = (wrapped, AESGCM(key))
        return new

    async def unowned(self) -> AESGCM:
        """A key for bytes that belong to no known patient, such as a message that nobody could read."""
        return await self._bucket(0)
