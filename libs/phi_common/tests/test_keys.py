"""Keys at rest: what a process remembers never outlives what its database says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from phi_common.crypto import Undecryptable
from phi_common.keys import PatientKeys
from phi_common.runtime import Runtime


async def sealed(runtime: Runtime, patient: UUID) -> bytes:
    async with runtime.transaction("test") as tx:
        await tx.lock([patient])
        return tx.seal(patient, "x", b"plain")


async def opened(runtime: Runtime, patient: UUID, cell: bytes) -> bytes:
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        return tx.open(patient, "x", cell)


async def shredded(runtime: Runtime, patient: UUID) -> None:
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)


async def rolled_back(runtime: Runtime, work: Any) -> None:
    with suppress(ZeroDivisionError):
        async with runtime.transaction("test") as tx:
            await work(tx)
            raise ZeroDivisionError


async def until(check: Any) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 (what is awaited comes from another task)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(runtime: Runtime) -> AsyncIterator[None]:
    runtime.stumble("erasures", ConnectionError())
    task = asyncio.create_task(runtime.forget_erased())
    await until(lambda: "erasures" not in runtime.troubles)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def other(runtime):
    """A second process of the same database, so far as memory goes."""
    found = PatientKeys(runtime.keys.service, runtime.vault)
    async with await runtime.pg() as pg:
        await found.prepare(pg, create=False)
    return found


async def test_a_key_of_a_transaction_that_was_rolled_back_is_made_again(runtime, pg):
    patient = uuid4()
    await rolled_back(runtime, lambda tx: tx.lock([patient]))
    cell = await sealed(runtime, patient)
    assert pg.execute("SELECT count(*) FROM patient_keys").fetchone() == (1,)
    runtime.keys.forget_all()
    assert await opened(runtime, patient, cell) == b"plain"


async def test_a_reader_with_the_key_in_memory_opens_nothing_after_an_erasure(runtime, other):
    patient = uuid4()
    cell = await sealed(runtime, patient)
    mine, runtime.db.keys = runtime.db.keys, other
    assert await opened(runtime, patient, cell) == b"plain"
    runtime.db.keys = mine
    await shredded(runtime, patient)
    runtime.db.keys = other
    assert patient in other._patients
    with pytest.raises(Undecryptable):
        await opened(runtime, patient, cell)


async def test_every_process_that_listens_empties_its_memory(runtime, other):
    patient = uuid4()
    await opened(runtime, patient, await sealed(runtime, patient))
    async with await runtime.pg() as pg:
        await other.load(pg, [patient], create=False)
    runtime.memories.append(other)
    async with listening(runtime):
        async with await runtime.pg() as pg:
            for keys in (runtime.keys, other):
                await keys.load(pg, [patient], create=False)
                assert patient in keys._patients
        await shredded(runtime, patient)
        await until(lambda: not {patient} & (runtime.keys._patients.keys() | other._patients.keys()))


async def test_a_look_that_began_before_an_erasure_brings_nothing_back(runtime, other):
    patient = uuid4()
    await sealed(runtime, patient)
    async with await runtime.pg() as pg:
        other._bucket = erasing(other, patient, other._bucket)
        found = await other.load(pg, [patient], create=False)
    assert patient in found
    assert patient not in other._patients


def erasing(keys: PatientKeys, patient: UUID, bucket: Any) -> Any:
    """The erasure is told while the key service is being asked."""

    async def ask(number: int) -> Any:
        keys.forget(patient)
        return await bucket(number)

    return ask


async def test_who_did_not_listen_begins_anew(runtime):
    patient = uuid4()
    await opened(runtime, patient, await sealed(runtime, patient))
    assert patient in runtime.keys._patients
    async with listening(runtime):
        assert runtime.keys._patients == {}


async def test_an_erasure_that_is_rolled_back_erases_nothing(runtime):
    patient = uuid4()
    cell = await sealed(runtime, patient)
    async with listening(runtime):
        await rolled_back(runtime, lambda tx: tx.shred(patient))
        assert await opened(runtime, patient, cell) == b"plain"
