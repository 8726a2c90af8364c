"""Transactions: what leaves one behind for the next, whatever ends it; and what none may begin with."""

import asyncio
import gc
import random
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from phi_common.crypto import Undecryptable
from phi_common.db import LARGEST_EVENT, TooLarge
from phi_common.testing import record
from phi_common.transaction import Erased

from .test_consume import opened

REFUSED = "INSERT INTO tallies VALUES (gen_random_uuid(), 100, '')"


async def refused_ahead(tx: Any) -> None:
    tx.ahead(REFUSED)
    tx.ahead("SELECT 'never reached'")
    await tx.arrive()


async def refused_at_commit(tx: Any) -> None:
    tx.later(REFUSED, [])
    tx.audit("never reached", None)


async def swallowed(tx: Any) -> None:
    with suppress(psycopg.IntegrityError):
        await refused_ahead(tx)


@pytest.mark.parametrize("fails", [refused_ahead, refused_at_commit, swallowed])
async def test_a_connection_serves_on_after_refusals(runtime, fails):
    """The driver prepares what it sees often, and an error cuts off the preparation of all that stands behind it."""
    for _ in range(8):
        with suppress(psycopg.IntegrityError, psycopg.OperationalError):
            async with runtime.transaction("writer") as tx:
                await fails(tx)
        async with runtime.transaction("writer") as tx:
            tx.ahead("SELECT 'never reached'")
            await tx.lock([uuid4()])
            tx.audit("never reached", None)


async def write(runtime: Any) -> None:
    async with runtime.transaction("writer") as tx:
        patients = [uuid4() for _ in range(50)]
        await tx.lock(patients)
        for patient in patients:
            tx.emit(opened(patient, "x" * 2000))
            tx.audit("written", patient)


async def cut_short(runtime: Any, chance: random.Random) -> None:
    tasks = [asyncio.create_task(write(runtime)) for _ in range(3)]
    for _ in range(chance.choice([1, 1, 2])):  # the second time while it rolls back
        await asyncio.sleep(chance.random() * 0.02)
        for task in tasks:
            task.cancel()
    await asyncio.wait(tasks)


async def test_cut_short_anywhere_it_is_whole_or_nothing_and_the_connection_clean(runtime, pg):
    chance = random.Random(7)
    for _ in range(60):
        await cut_short(runtime, chance)
    gc.collect()  # ends connections that were cut short while they were made
    held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    await asyncio.sleep(0.1)
    assert pg.execute(held).fetchone() == (0,)
    for _ in range(20):
        await write(runtime)
    (subjects,) = pg.execute("SELECT count(*) FROM subjects").fetchone()
    (events,) = pg.execute("SELECT count(*) FROM outbox").fetchone()
    (audited,) = pg.execute("SELECT sum(cardinality(patients)) FROM audit").fetchone()
    assert subjects == events == audited >= 1000


async def test_a_key_read_before_an_erasure_seals_nothing_after_it(runtime):
    patient = uuid4()
    async with runtime.transaction("writer") as tx:
        await tx.lock([patient])
    async with runtime.transaction("writer") as tx:
        await tx.load_keys([patient])
        async with runtime.transaction("privacy-officer") as other:
            await other.shred(patient)
        await tx.lock([patient])
        with pytest.raises(Erased):
            tx.seal(patient, "column", b"plain")


async def test_an_event_that_no_broker_takes_is_refused_where_it_arises(runtime, pg):
    patient = uuid4()

    async def emit(size: int) -> None:
        async with runtime.transaction("writer") as tx:
            await tx.lock([patient])
            tx.emit(opened(patient, "x" * size))

    await emit(LARGEST_EVENT - 1000)
    with pytest.raises(TooLarge):
        await emit(LARGEST_EVENT)
    assert pg.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


async def test_subjects_are_locked_in_the_order_of_their_ids_once_each(runtime, pg):
    patients = [uuid4() for _ in range(30)]
    async with runtime.transaction("writer") as tx:
        tx.lock_ahead(patients)
        tx.lock_ahead(patients)
        await tx.lock(patients)
    found = pg.execute("SELECT id, version FROM subjects ORDER BY ctid").fetchall()
    assert found == [(patient, 1) for patient in sorted(patients)]


async def test_what_was_only_asked_ahead_is_done_too(runtime, pg):
    async with runtime.transaction("writer") as tx:
        tx.lock_ahead([uuid4()])
    async with runtime.transaction("writer") as tx:
        tx.ahead("INSERT INTO inbox (event_id) VALUES (gen_random_uuid())")
    for table in ("subjects", "patient_keys", "inbox"):
        assert pg.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


async def test_what_is_remembered_is_durable(runtime, pg):
    remembered: list[tuple[int]] = []

    async def note(refused: bool) -> None:
        async with runtime.transaction("writer") as tx:
            await tx.lock([uuid4()])
            tx.committed.append(lambda: remembered.append(pg.execute("SELECT count(*) FROM subjects").fetchone()))
            if refused:
                await refused_at_commit(tx)

    with suppress(psycopg.IntegrityError):
        await note(refused=True)
    assert remembered == []
    await note(refused=False)
    assert remembered == [(1,)]


async def test_a_cell_opens_in_its_own_place_only(runtime):
    mine, theirs = uuid4(), uuid4()
    async with runtime.transaction("writer") as tx:
        await tx.lock([mine, theirs])
        cell = tx.seal(mine, "column", b"plain")
        assert tx.open(mine, "column", cell) == b"plain"
        for patient, column in ((mine, "other"), (theirs, "column")):
            with pytest.raises(Undecryptable):
                tx.open(patient, column, cell)


async def test_nothing_is_told_of_a_subject_without_its_lock(runtime):
    async with runtime.transaction("writer") as tx:
        with pytest.raises(RuntimeError):
            tx.emit(opened(uuid4()))


async def test_a_shredded_patient_leaves_no_letter_and_an_audit_row(runtime, ordered, pg):
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, "raise"))])
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)
    assert pg.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)
    audited = "SELECT actor, patients FROM audit WHERE action = 'patient:erase'"
    assert pg.execute(audited).fetchall() == [("privacy-officer", [patient])]
