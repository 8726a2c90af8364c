"""Sweeps: subjects for whom time alone has something to say."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from phi_common.db import Tx
from phi_common.decision import Command, TimePassed
from phi_common.eventing.consume import BATCH, Subscription

if TYPE_CHECKING:
    from phi_common.runtime import Runtime


@dataclass(frozen=True)
class Sweep:
    """Subjects whose due instant has come: `due(tx, upto, limit)` names them, `TimePassed` decides."""

    subscription: Subscription
    due: Callable[[Tx, datetime, int], Awaitable[Sequence[UUID]]]
    command: type[Command] = TimePassed
    next_due: Callable[[Tx], Awaitable[datetime | None]] | None = None
    """The earliest instant at which anything is due, for the virtual clock."""

    async def run(self, runtime: "Runtime", upto: datetime) -> int:
        """One batch as of `upto`; how many subjects it took. One who was erased since the look is left out."""
        async with runtime.db.transaction(runtime.name) as tx:
            tx.now = upto
            found = await self.due(tx, upto, BATCH)
            await tx.lock(found)
            subjects = [subject for subject in found if subject not in tx.erased]
            if subjects:
                await self.subscription.within(tx, [self.command(subject) for subject in subjects])
        return len(subjects)
