"""Group commit: what arrives together is made durable together, and only then answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from phi_common.eventing.consume import TRANSIENT
from phi_common.transaction import Tx

if TYPE_CHECKING:
    from phi_common.runtime import Runtime

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
BUSY = 4
TICKS, TICK_SECONDS = 6, 0.001
"""When the last batch was shared, the next waits until as many are there again, at most so long."""


class Unavailable(Exception):
    """Nothing was stored: key service or database are gone, or too much waits to be published. Try again later."""


class GroupCommit(Generic[Item, Outcome]):
    """Collects items and runs `accept(tx, items)` once for all that came meanwhile; no window while it is quiet."""

    def __init__(
        self,
        runtime: "Runtime",
        accept: Callable[[Tx, Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]],
        actor: str,
        most: int = 500,
    ) -> None:
        self._runtime = runtime
        self._accept = accept
        self._actor = actor
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._running = False
        self._last = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Outcome:
        """The item's outcome after its durable commit; raises its own exception, or `Unavailable`."""
        if not self._runtime.accepting:
            raise Unavailable
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._running:
            self._start()
        return await future

    def _start(self) -> None:
        self._running = True
        task = asyncio.create_task(self._drain())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._last = len(batch)
                await self._commit(batch)
        finally:
            self._running = False

    async def _gather(self) -> None:
        await asyncio.sleep(0)
        for _ in range(TICKS if self._last >= BUSY else 0):
            if len(self._waiting) >= self._last:
                return
            await asyncio.sleep(TICK_SECONDS)

    async def _commit(self, batch: Sequence[tuple[Item, "asyncio.Future[Outcome]"]]) -> None:
        try:
            async with self._runtime.db.transaction(self._actor) as tx:
                outcomes: Sequence[Any] = await self._accept(tx, [item for item, _ in batch])
        except TRANSIENT as error:
            self._runtime.stumble("accept", error)
            _fail(batch, Unavailable())
        except Exception as error:  # one item's fault, which the others must not pay for
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        else:
            self._runtime.recovered("accept")
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _settle(future, outcome)


def _settle(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _fail(batch: Sequence[tuple[Any, "asyncio.Future[Any]"]], error: Exception) -> None:
    for _, future in batch:
        _settle(future, error)
