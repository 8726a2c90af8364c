"""Group commit: each item gets its own outcome, whoever shares its transaction."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from phi_common.eventing.accept import GroupCommit, Unavailable

ADD = "INSERT INTO inbox SELECT * FROM unnest(%b::uuid[])"


class Desk:
    """Stores ids; has its own opinion of some."""

    def __init__(self, runtime: Any, most: int = 500) -> None:
        self.raises: dict[UUID, Exception] = {}
        self.answers: dict[UUID, Exception] = {}
        self.batches: list[int] = []
        self.group: GroupCommit[UUID, UUID] = GroupCommit(runtime, self.accept, "desk", most)

    async def accept(self, tx: Any, items: Any) -> list[Any]:
        self.batches.append(len(items))
        for item in items:
            if item in self.raises:
                raise self.raises[item]
        await tx.rows(ADD + " RETURNING 1", [list(items)])
        return [self.answers.get(item, item) for item in items]

    async def submit(self, items: list[UUID]) -> list[Any]:
        async with asyncio.timeout(10):
            return await asyncio.gather(*map(self.group.submit, items), return_exceptions=True)


@pytest.fixture
def desk(runtime: Any) -> Desk:
    return Desk(runtime)


def stored(pg: Any) -> set[UUID]:
    return {item for (item,) in pg.execute("SELECT event_id FROM inbox").fetchall()}


async def test_what_comes_together_is_stored_together_and_answered_each(desk, pg):
    items = [uuid4() for _ in range(50)]
    desk.answers[items[7]] = LookupError()
    outcomes = await desk.submit(items)
    assert desk.batches == [50]
    assert outcomes == [*items[:7], desk.answers[items[7]], *items[8:]]
    assert stored(pg) == set(items)


async def test_an_exception_of_its_own_is_raised_to_who_waits(desk):
    item = uuid4()
    desk.answers[item] = LookupError()
    with pytest.raises(LookupError):
        await desk.group.submit(item)


async def test_an_item_that_cannot_be_taken_fails_alone(desk, pg):
    """Whatever is wrong with it, here or in the database: what came with it is not its fault."""
    items = [uuid4() for _ in range(9)]
    pg.execute("INSERT INTO inbox VALUES (%s)", [items[2]])
    desk.raises[items[5]] = UnicodeError("planted")
    outcomes = await desk.submit(items)
    failed = {at: type(outcome).__name__ for at, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    assert failed == {2: "UniqueViolation", 5: "UnicodeError"}
    assert stored(pg) == set(items) - {items[5]}


async def test_when_the_database_is_gone_nothing_is_stored_and_all_may_come_again(desk, runtime, pg):
    items = [uuid4() for _ in range(4)]
    desk.raises[items[3]] = ConnectionError()
    assert [type(outcome) for outcome in await desk.submit(items)] == [Unavailable] * 4
    assert desk.batches == [4], "not tried again in parts"
    assert (runtime.troubles, stored(pg)) == ({"accept": "ConnectionError"}, set())
    desk.raises.clear()
    assert await desk.submit(items) == items
    assert runtime.troubles == {}


async def test_nothing_is_taken_while_nothing_may_be(desk, runtime, pg):
    runtime.troubles["vault"] = "unavailable"
    assert [type(outcome) for outcome in await desk.submit([uuid4()])] == [Unavailable]
    assert stored(pg) == set()


async def test_a_batch_has_a_most_and_the_rest_comes_next(runtime, pg):
    desk = Desk(runtime, most=3)
    items = [uuid4() for _ in range(7)]
    assert await desk.submit(items) == items
    assert desk.batches == [3, 3, 1]


async def test_one_who_no_longer_waits_does_not_disturb_the_others(desk, pg):
    items = [uuid4() for _ in range(3)]
    waiting = [asyncio.create_task(desk.group.submit(item)) for item in items]
    await asyncio.sleep(0)
    waiting[1].cancel()
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [items[0], items[2]]
    assert stored(pg) == set(items)
