"""Keys at rest: read with each transaction, so that no process knows more than its database."""

from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from phi_common.crypto import Undecryptable
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


async def test_a_key_of_a_transaction_that_was_rolled_back_is_made_again(runtime, pg):
    patient = uuid4()
    await rolled_back(runtime, lambda tx: tx.lock([patient]))
    cell = await sealed(runtime, patient)
    assert pg.execute("SELECT count(*) FROM patient_keys").fetchone() == (1,)
    assert await opened(runtime, patient, cell) == b"plain"


async def test_a_key_deleted_by_another_process_is_gone_at_once(runtime, pg):
    patient = uuid4()
    cell = await sealed(runtime, patient)
    assert await opened(runtime, patient, cell) == b"plain"
    pg.execute("DELETE FROM patient_keys")
    with pytest.raises(Undecryptable):
        await opened(runtime, patient, cell)


async def test_an_erasure_that_is_rolled_back_erases_nothing(runtime):
    patient = uuid4()
    cell = await sealed(runtime, patient)
    await rolled_back(runtime, lambda tx: tx.shred(patient))
    assert await opened(runtime, patient, cell) == b"plain"
