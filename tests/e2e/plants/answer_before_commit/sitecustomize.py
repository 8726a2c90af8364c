"""A planted fault, for a process with this folder on its path: the intake answers before its commit, and dawdles."""

import asyncio

from phi_common.eventing import accept


async def _commit(self, batch):
    async with self._runtime.db.transaction(self._actor) as tx:
        outcomes = await self._accept(tx, [item for item, _ in batch])
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            accept._settle(future, outcome)
        await asyncio.sleep(0.2)


accept.GroupCommit._commit = _commit
