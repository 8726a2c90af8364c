"""Sweeps: subjects for whom time alone has something to say."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from phi_common.decision import Command, TimePassed
from phi_common.eventing.consume import BATCH, TRANSIENT, Subscription
from phi_common.logs import log
from phi_common.metrics import SWEEP_FAILURES
from phi_common.transaction import Tx

if TYPE_CHECKING:
    from phi_common.runtime import Runtime

PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Sweep:
    """Subjects whose due instant has come: `due(tx, upto, limit)` names them, `TimePassed` decides."""

    subscription: Subscription
    due: Callable[[Tx, datetime, int], Awaitable[Sequence[UUID]]]
    command: type[Command] = TimePassed
    next_due: Callable[[Tx], Awaitable[datetime | None]] | None = None
    """The earliest instant at which anything is due, for the virtual clock."""
    paused: dict[UUID, float] = field(default_factory=dict, compare=False)
    """Whose step failed, until when (monotonic) it is left alone."""

    async def run(self, runtime: "Runtime", upto: datetime) -> int:
        """One batch as of `upto`; how many subjects it took. One who was erased since the look is left out.

        One for whom the step fails stays due, is tried again after `PAUSE_SECONDS`, and holds up nobody else.
        """
        async with runtime.db.transaction(runtime.name) as tx:
            found = [subject for subject in await self.due(tx, upto, BATCH) if not self._paused(subject)]
        if not found:
            return 0
        try:
            return await self._take(runtime, upto, found)
        except TRANSIENT:
            raise
        except Exception:  # somebody's step is at fault: one by one it is known whose
            return sum([await self._alone(runtime, upto, subject) for subject in found])

    async def _take(self, runtime: "Runtime", upto: datetime, found: Sequence[UUID]) -> int:
        async with runtime.db.transaction(runtime.name) as tx:
            tx.now = upto
            await tx.lock(found)
            subjects = [subject for subject in found if subject not in tx.erased]
            if subjects:
                await self.subscription.within(tx, [self.command(subject) for subject in subjects])
        return len(subjects)

    async def _alone(self, runtime: "Runtime", upto: datetime, subject: UUID) -> int:
        try:
            return await self._take(runtime, upto, [subject])
        except TRANSIENT:
            raise
        except Exception as error:
            self.paused[subject] = time.monotonic() + PAUSE_SECONDS
            SWEEP_FAILURES.labels(self.subscription.topic).inc()
            log.error("sweep_failed", error, topic=self.subscription.topic)
            return 0

    def _paused(self, subject: UUID) -> bool:
        if self.paused.get(subject, 0.0) > time.monotonic():
            return True
        self.paused.pop(subject, None)
        return False
