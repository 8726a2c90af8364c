"""The story on a whole system: the same summary every time, also when a program stands still in the middle of it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from careloop.story import START, Line, play
from careloop.system import System

pytestmark = pytest.mark.system

STANDSTILL = 10.0
EXPECTED = {
    "messages_in": 10,
    "gaps_opened": 4,
    "gaps_closed": 1,
    "sent": {"sms": 3, "portal": 2},
    "confirmations": 1,
    "suppressed": {"no-consent": 1, "opted-out": 1},
    "reviews": 3,
}
"""Reviews: the fourth person on day 14, since a text went out and no more may; the first and the second on day 28."""


@pytest.fixture
def system() -> Iterator[System]:
    with System.start(START, kind="e2e") as started:
        yield started


def counted(found: Any) -> dict[str, Any]:
    """The summary without what differs from run to run."""
    return {name: value for name, value in asdict(found).items() if name not in ("trace_ids", "seconds")}


def standstill(system: System, name: str, on: str) -> Callable[[Line], None]:
    """Stops a program for ten seconds at the first line that says `on`."""
    moments = [on]

    def tell(line: Line) -> None:
        if moments and moments[0] in line.what:
            moments.clear()
            pid = system.servers.supervisor.children[name].identity.pid
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(STANDSTILL, os.kill, (pid, signal.SIGCONT)).start()

    return tell


def test_everybody_is_reached_as_they_allow(system: System) -> None:
    lines: list[Line] = []
    summary = play(system, lines.append)
    assert counted(summary) == EXPECTED
    assert len(set(summary.trace_ids)) == 5  # four results opened a gap, one closed it
    assert [line.at for line in lines] == sorted(line.at for line in lines)


@pytest.mark.parametrize(
    "moments",
    [
        {"had the last": "consent"},  # a permit's answer is lost
        {"had the last": "outreach-gate"},  # a permit runs out
        {"is registered": "patient-profile", "had the last": "simulator"},  # nobody is known; a call is not answered
    ],
    ids=lambda moments: "+".join(moments.values()),
)
def test_a_program_that_stands_still_changes_nothing(system: System, moments: dict[str, str]) -> None:
    stills = [standstill(system, name, on) for on, name in moments.items()]
    assert counted(play(system, lambda line: [still(line) for still in stills])) == EXPECTED
