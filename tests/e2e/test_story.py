"""The story on a whole system: the same summary every time, also when a program stands still in the middle of it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
from typer.testing import CliRunner

from careloop import cli, state
from careloop import trace as traces
from careloop.processes import wait_until
from careloop.story import START, Line, play
from careloop.synthetic import ONE
from careloop.system import System

pytestmark = pytest.mark.system

STANDSTILL = 10.0
WAY = [
    ("ingest-fhir", "accept"),
    ("care-gap-engine", "apply ObservationReceived.v1"),
    ("outreach", "apply GapOpened.v1"),
    ("outreach-gate", "permit"),
    ("consent", "grant"),
    ("outreach-gate", "send"),
]
"""From a result to the text that came of it, two deciders and a day later."""
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
    assert len(set(summary.trace_ids)) == 6  # four results opened a gap, one closed it; a text said STOP
    assert [line.at for line in lines] == sorted(line.at for line in lines)


def way(result: str) -> list[tuple[str, str]]:
    """The spans of a trace in the order in which they began, as `./careloop trace` finds them."""
    found = [span for run in state.runs() for span in traces.spans(run.spans) if span["trace_id"] == result]
    return [(span["service"], span["name"]) for span in sorted(found, key=lambda span: int(span["start"]))]


def test_one_trace_shows_the_way_from_a_result_to_the_texts_and_the_hand_over(system: System) -> None:
    lines: list[Line] = []
    play(system, lines.append)
    result = next(line.trace for line in lines if line.who == ONE.label and "had the last" in line.what)
    told = [line.what for line in lines if line.trace == result]
    assert [what.partition(":")[0] for what in told[1:]] == [
        "gap opens", "attempt 1 goes out by SMS", "attempt 2 goes out by SMS", "a care coordinator takes over",
    ]  # fmt: skip
    assert wait_until(lambda: way(result).count(("outreach-gate", "send")) == 2, 10)
    chosen = [step for step in way(result) if step in WAY]
    assert chosen == [*WAY, *WAY[-3:]], "the second attempt belongs to it"
    drawn = CliRunner().invoke(cli.app, ["trace", result])
    assert all(name in drawn.output for pair in WAY for name in pair), drawn.output


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
