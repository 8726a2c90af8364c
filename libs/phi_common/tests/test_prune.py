"""What the inbox and stored answers remember, and for how long."""

from typing import Any
from uuid import uuid4

import pytest

from phi_common.auth import Principal
from phi_common.eventing import inbox
from phi_common.topics import RETENTION_DAYS

WHO = Principal("somebody", frozenset(), frozenset())


async def answered(runtime: Any, key: str) -> int:
    """Which answer the key gives: its number, counted by the work that was really done."""
    done: list[int] = []

    async def work(tx: Any) -> tuple[int, int]:
        done.append(1)
        return 200, 1

    await runtime.idempotent(WHO, key, b"body", work)
    return len(done)


def aged(pg: Any, table: str, days: float) -> None:
    pg.execute(f"UPDATE {table} SET at = now() - make_interval(secs => %s)", [days * 86400])


@pytest.fixture
async def connection(runtime: Any) -> Any:
    """The one that the health check uses."""
    async with await runtime.pg() as found:
        yield found


def test_a_repeat_is_known_longer_than_a_topic_can_bring_it():
    assert inbox.REMEMBERED_DAYS > RETENTION_DAYS


async def test_an_answer_is_repeated_until_its_age_and_not_after(runtime, connection, pg):
    assert await answered(runtime, "k") == 1
    aged(pg, "answers", inbox.REMEMBERED_DAYS - 0.1)
    await runtime._check(connection)
    assert await answered(runtime, "k") == 0
    aged(pg, "answers", inbox.REMEMBERED_DAYS + 0.1)
    runtime._pruned = -1e9
    await runtime._check(connection)
    assert pg.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    assert await answered(runtime, "k") == 1


async def test_an_old_claim_goes_with_it(runtime, connection, pg):
    async with runtime.transaction("test") as tx:
        inbox.claim(tx, [uuid4()])
    aged(pg, "inbox", inbox.REMEMBERED_DAYS + 0.1)
    await runtime._check(connection)
    assert pg.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


async def test_that_a_record_exists_is_never_forgotten(runtime, connection, pg):
    pg.execute("INSERT INTO answers (key, request_hash, status, body) VALUES ('exists:1', '', 201, '')")
    aged(pg, "answers", 10_000)
    await runtime._check(connection)
    assert pg.execute("SELECT key FROM answers").fetchall() == [("exists:1",)]


async def test_a_great_many_go_in_rounds(runtime, connection, pg):
    pg.execute("INSERT INTO inbox (event_id) SELECT gen_random_uuid() FROM generate_series(1, 25)")
    aged(pg, "inbox", inbox.REMEMBERED_DAYS + 0.1)
    left = [await inbox.prune(connection, inbox.REMEMBERED_DAYS, most=10) for _ in range(3)]
    assert left == [True, True, False]
    assert pg.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
