"""The last instants before a message leaves: one more look at the permit, and an alarm for a gate that is stopped then.

A look and the write behind it are two steps, and a process can be stopped between them for any time. The kernel's timer
runs on meanwhile. Its signal has no handler, so it ends the process, and a stopped process takes its signals before it
takes another step: a gate that was held up for longer than its permit lives does not wake up to send.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

from outreach.gate.permits import Permit

SOONEST = 0.001
"""A timer of 0 would be none."""
BEFORE_THE_WRITE = "http11.send_request_headers.started"
AFTER_THE_WRITE = "http11.send_request_body.complete"


def arm_this_process() -> None:
    """Make sure that the alarm can end this process, before anything else of it starts.

    It must neither be ignored nor blocked, as a parent may leave it. And the kernel spares process 1 of a container:
    there the gate goes on as a child, and process 1 only waits for it.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    if os.getpid() == 1:
        become_a_child()


def become_a_child() -> None:
    """Return in a child; the parent passes on what it is told, and ends as the child ended."""
    if not (child := os.fork()):
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.kill(child, received))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


class TooLate(Exception):
    """The permit has run out; nothing has left."""


class Alarm:
    """The process's one timer, set to the earliest of several deadlines."""

    def __init__(self) -> None:
        self._deadlines: dict[object, float] = {}

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Who is still inside at `deadline` (CLOCK_BOOTTIME) takes the whole process down: SIGALRM, not handled."""
        key = object()
        self._deadlines[key] = deadline
        self._set()
        try:
            yield
        finally:
            del self._deadlines[key]
            self._set()

    def _set(self) -> None:
        left = min(self._deadlines.values(), default=None)
        seconds = 0.0 if left is None else max(left - clock_gettime(CLOCK_BOOTTIME), SOONEST)
        signal.setitimer(signal.ITIMER_REAL, seconds)


ALARM = Alarm()


def look(permit: Permit) -> None:
    """Refuse with `TooLate` once the permit has run out."""
    if permit.rest() <= 0:
        raise TooLate


@dataclass
class Fence:
    """What one HTTP call has to pass when the connection stands and the first byte is about to go."""

    permit: Permit
    armed: ExitStack
    passed: bool = False
    """Until then nothing has left, whatever went wrong."""

    async def trace(self, event: str, _: dict[str, Any]) -> None:
        """For the client's `trace` extension. Armed until one turn after the write: a loop may write at its end."""
        if event == BEFORE_THE_WRITE:
            self.armed.enter_context(ALARM.until(self.permit.deadline))
            look(self.permit)
            self.passed = True
        elif event == AFTER_THE_WRITE:
            await asyncio.sleep(0)
            self.armed.close()
