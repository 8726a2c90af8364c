"""Opt-outs become effective: when no permit granted before them can be used any more."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from consent.storage import permits
from phi_common.runtime import Runtime

EFFECTIVE_SECONDS = 2.0
"""How long a caller who blocks waits for "effective" before the answer is "pending"."""
POLL_SECONDS = 0.25
POLL_SECONDS_WAITED_FOR = 0.02


@asynccontextmanager
async def draining(runtime: Runtime) -> AsyncIterator[None]:
    """Settle opt-outs as long as the service runs, also those that a former process left behind."""
    task = asyncio.create_task(_drain(runtime))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _drain(runtime: Runtime) -> None:
    while True:
        try:
            async with runtime.transaction(runtime.name) as tx:
                await permits.settle(tx)
            runtime.recovered("drain")
        except Exception as error:  # opt-outs must go on becoming effective whatever happened; readiness tells
            runtime.stumble("drain", error)
        await asyncio.sleep(POLL_SECONDS)


async def effective_within(runtime: Runtime, optout_id: UUID, seconds: float) -> bool:
    """Wait until this opt-out is effective, but not for longer. Each look is a transaction of its own."""
    deadline = time.monotonic() + seconds
    while True:
        async with runtime.transaction(runtime.name) as tx:
            await permits.settle(tx)
            if await permits.is_effective(tx, optout_id):
                return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS_WAITED_FOR)


async def pending(runtime: Runtime) -> int:
    """Opt-outs that are not effective yet; business time waits for them."""
    async with runtime.transaction(runtime.name) as tx:
        return await permits.pending(tx)
