"""What time alone brings about belongs to the trace of the message that opened the gap, up to the call that sends."""

import json
from dataclasses import replace

import pytest

from outreach import consumers
from phi_common import telemetry
from phi_common.clock import new_id
from phi_common.events.consent import Channel, OptOutConfirmationDue, Permission, PreferenceChanged
from phi_common.events.outreach import OptOutConfirmationSent
from phi_common.testing import emitted, record

OPENED = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
OTHER = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"


async def told_under(runtime, trace, event):
    """An event that comes with this trace."""
    found = record(event)
    headers = tuple((name, trace.encode() if name == "traceparent" else value) for name, value in found.headers)
    subscription = next(one for one in consumers.SUBSCRIPTIONS if one.topic == event.topic)
    await subscription.handle(runtime, [replace(found, headers=headers)])


async def traces(runtime):
    return [(type(event).__name__, event.trace) for event in await emitted(runtime)]


@pytest.fixture
def spans(tmp_path):
    telemetry.configure_tracing("test", 0.0, tmp_path / "spans")

    def read(trace):
        telemetry.flush_tracing()
        lines = [json.loads(line) for file in (tmp_path / "spans").iterdir() for line in file.open()]
        return [line["name"] for line in lines if line["trace_id"] == trace[3:35]]

    yield read
    telemetry.configure_tracing("test")


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.PORTAL])
async def test_a_sequence_is_one_trace_from_the_gap_to_the_review(
    runtime, clock, gate, spans, tell, sweep, story, channel
):
    *before, gap = story(new_id(), new_id(), channel)
    await tell(*before)
    await told_under(runtime, OPENED, gap)
    for days in (0, 14, 14):
        clock.advance(days=days)
        await sweep()
        await gate.turn()
        await sweep()
    attempt = [("OutreachScheduled", OPENED), ("MessageSent", OPENED)]
    assert await traces(runtime) == [*attempt, *attempt, ("CoordinatorReviewRequested", OPENED)]
    assert spans(OPENED) == ["apply GapOpened.v1", "permit", "send", "permit", "send"]


async def test_two_gaps_of_one_person_are_two_traces(runtime, clock, tell, sweep, story):
    patient = new_id()
    *before, one = story(patient, new_id())
    await tell(*before)
    await told_under(runtime, OPENED, one)
    await told_under(runtime, OTHER, story(patient, new_id())[-1])
    await sweep()
    assert {trace for _, trace in await traces(runtime)} == {OPENED, OTHER}


async def test_what_follows_from_another_message_at_once_belongs_to_that_one(runtime, clock, tell, sweep, story):
    patient, gap = new_id(), new_id()
    *before, opened = story(patient, gap)
    await tell(*before)
    await told_under(runtime, OPENED, opened)
    await sweep()
    blocked = PreferenceChanged(
        patient_id=patient, channel=Channel.SMS, permission=Permission.BLOCKED, version=2, since="2026-03-02T00:00Z"
    )
    await told_under(runtime, OTHER, blocked)
    await sweep()
    assert await traces(runtime) == [("OutreachScheduled", OPENED), ("OutreachSuppressed", OPENED)]


async def test_the_answer_to_a_stop_belongs_to_the_trace_of_the_text(runtime, gate, spans, tell, sweep, story):
    patient = new_id()
    await tell(story(patient, new_id())[0])
    due = OptOutConfirmationDue(patient_id=patient, optout_id=new_id(), channel=Channel.SMS, address="+12025550111")
    await told_under(runtime, OPENED, due)
    await gate.turn()
    await sweep()
    assert await traces(runtime) == [(OptOutConfirmationSent.__name__, OPENED)]
    assert spans(OPENED) == ["apply OptOutConfirmationDue.v1", "permit", "send"]
