"""The gate under its own database role, against consent and a provider on real sockets."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from outreach import consumers
from outreach.domain.state import message_id
from outreach.gate import permits as permit_client
from outreach.gate.fence import TooLate
from phi_common.clock import new_id, system_now
from phi_common.eventing.consume import TRANSIENT
from phi_common.events.consent import Channel, OptOutConfirmationDue, Permission, PreferenceChanged
from phi_common.events.outreach import (
    MessageFailed,
    MessageSent,
    OptOutConfirmationSent,
    OutreachScheduled,
    OutreachSuppressed,
)
from phi_common.testing import emitted


@pytest_asyncio.fixture
async def due(runtime, tell, sweep, story):
    """One text that is due."""
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    await sweep()
    return patient, gap


async def states(runtime):
    async with runtime.transaction("test") as tx:
        return await tx.rows("SELECT state, reason FROM deliveries ORDER BY attempt")


async def kinds(runtime):
    return [type(event) for event in await emitted(runtime)]


async def test_one_permit_one_call(runtime, gate, outside, due, sweep):
    patient, gap = due
    await gate.turn()
    await gate.turn()
    assert [text["tag"] for text in outside.texts] == [str(message_id(gap, 1))]
    assert outside.texts[0]["to"] == outside.asked[0]["address"] == "+12025550111"
    assert outside.asked[0]["patient_ids"] == [str(patient)]
    assert outside.authorization == {"Bearer service-token"}
    assert outside.closed == ["sent"]
    await sweep()
    assert await kinds(runtime) == [OutreachScheduled, MessageSent]


async def test_a_refusal_sends_nothing(runtime, gate, outside, due, sweep):
    outside.refuse = "opted-out"
    await gate.turn()
    await sweep()
    assert outside.texts == []
    assert (await emitted(runtime, OutreachSuppressed))[0].reason.value == "opted-out"


async def test_while_the_key_service_is_away_nothing_is_claimed(runtime, gate, outside, due):
    async def no_answer() -> bool:
        return False

    with pytest.raises(TRANSIENT):
        await replace(gate, keys_answer=no_answer).turn()
    assert await states(runtime) == [("ready", None)]
    assert (outside.asked, outside.texts) == ([], [])
    await gate.turn()
    assert len(outside.texts) == 1


async def test_a_gate_may_start_before_its_database_has_keys(runtime, gate, outside, due):
    gate.db.keys._wrapped.clear()
    gate.db.keys._buckets.clear()
    await gate.turn()
    assert len(outside.texts) == 1


async def test_without_consent_the_message_waits_and_then_expires(runtime, gate, outside, due, clock, sweep):
    outside.consent_status = 503
    assert await gate.turn() > 0
    assert await states(runtime) == [("ready", None)]
    clock.advance(hours=12)
    outside.consent_status = 201
    await gate.turn()
    assert await states(runtime) == [("failed", "expired")]
    assert outside.texts == []
    await sweep()
    assert await kinds(runtime) == [OutreachScheduled, MessageFailed]


async def test_a_permit_whose_answer_was_lost_is_given_back(runtime, gate, outside, due):
    outside.held.append(str(new_id()))
    assert await gate.turn() > 0
    assert (outside.texts, outside.closed) == ([], ["not-sent"])
    await gate.turn()
    assert (len(outside.texts), outside.closed) == (1, ["not-sent", "sent"])


async def test_a_permit_that_ran_out_is_not_used(runtime, gate, outside, due):
    outside.life_ms = 300
    await gate.turn()
    assert outside.texts == []
    assert outside.closed == ["not-sent"]
    assert await states(runtime) == [("ready", None)]


async def test_an_opt_out_before_the_claim_calls_the_message_back(runtime, gate, outside, due, tell):
    patient, _ = due
    await tell(
        PreferenceChanged(
            patient_id=patient, channel=Channel.SMS, permission=Permission.BLOCKED, version=2, since="2026-03-02T15:00Z"
        )
    )
    await gate.turn()
    assert outside.asked == []
    assert await states(runtime) == [("cancelled", None)]


@pytest.mark.parametrize(("status", "state"), [(400, "failed"), (500, "unknown")])
async def test_the_providers_refusal_and_its_failure(runtime, gate, outside, due, status, state):
    outside.provider_status = status
    (message,) = await claimed(gate)
    await gate.deliver(message)
    assert (await states(runtime))[0][0] == state


async def claimed(gate):
    from outreach.gate import deliveries

    async with gate.db.transaction("test") as tx:
        return await deliveries.claim(tx, 10)


@pytest.mark.parametrize("taken", [True, False], ids=["the provider has it", "the provider never had it"])
async def test_a_lost_answer_is_resolved_by_asking_never_by_sending(
    runtime, gate, outside, due, sweep, taken, monkeypatch
):
    monkeypatch.setattr("outreach.gate.providers.TIMEOUT", 0.3)
    outside.answer_lost, outside.provider_status = taken, 201 if taken else 500
    (message,) = await claimed(gate)
    await gate.deliver(message)
    assert await states(runtime) == [("unknown", None)]
    assert outside.closed == ["unknown"]
    outside.answer_lost, outside.provider_status = False, 201
    await gate.turn()
    await sweep()
    assert await states(runtime) == [("sent" if taken else "ready", None)]
    await gate.turn()
    await sweep()
    assert await states(runtime) == [("sent", None)]
    assert len(outside.texts) == 1
    assert len(outside.asked) == (1 if taken else 2), "another call takes another permit"
    assert await kinds(runtime) == [OutreachScheduled, MessageSent]


@pytest.mark.parametrize("taken", [True, False], ids=["the provider has it", "the provider never had it"])
async def test_a_gate_that_died_in_the_act_never_repeats(runtime, gate, outside, due, sweep, taken):
    """It may not be dead but stopped, and may hold a permit still: what the provider lacks now is no proof."""
    (message,) = await claimed(gate)
    if taken:
        outside.texts.append({"tag": str(message.message_id)})
    async with gate.db.transaction("test") as tx:
        await tx.execute("UPDATE deliveries SET permit_id = %s", [new_id()])
    await gate.turn()
    assert await states(runtime) == [("sent", None) if taken else ("failed", "rejected")]
    assert outside.asked == []


async def test_what_the_provider_got_too_late_is_tried_again_under_a_new_permit(runtime, gate, outside, due):
    outside.provider_status = 410
    assert await gate.turn() > 0
    assert (outside.closed, await states(runtime)) == (["not-sent"], [("ready", None)])
    outside.provider_status = 201
    await gate.turn()
    assert len(outside.texts) == 1


async def test_the_provider_is_told_how_long_the_permit_lives(runtime, gate, outside, due):
    before = system_now()
    await gate.turn()
    left = datetime.fromisoformat(outside.texts[0]["expire_at"]) - before
    assert timedelta(seconds=4.5) < left < timedelta(seconds=6)


async def test_a_portal_message_is_not_committed_after_the_permit_has_run_out(
    runtime, gate, outside, tell, sweep, story, monkeypatch
):
    def too_late(permit):
        raise TooLate

    monkeypatch.setattr("outreach.gate.egress.look", too_late)
    await tell(*story(new_id(), new_id(), Channel.PORTAL))
    await sweep()
    await gate.turn()
    async with runtime.transaction("test") as tx:
        assert await tx.rows("SELECT count(*) FROM portal_messages") == [(0,)]
    assert (outside.closed, await states(runtime)) == (["not-sent"], [("ready", None)])


async def test_the_answer_to_a_stop_takes_the_same_way_with_a_purpose_of_its_own(
    runtime, gate, outside, tell, sweep, story
):
    patient, optout = new_id(), new_id()
    await tell(story(patient, new_id())[0])
    due = OptOutConfirmationDue(patient_id=patient, optout_id=optout, channel=Channel.SMS, address="+12025550111")
    await tell(due, due)
    await gate.turn()
    await gate.turn()
    await sweep()
    assert [(asked["purpose"], asked["optout_id"]) for asked in outside.asked] == [("optout-confirm", str(optout))]
    assert [(text["to"], "opted out" in text["body"]) for text in outside.texts] == [("+12025550111", True)]
    assert await kinds(runtime) == [OptOutConfirmationSent]


async def test_an_answer_to_a_stop_that_waited_too_long_is_not_sent(runtime, gate, outside, tell, sweep, clock):
    patient, optout = new_id(), new_id()
    await tell(OptOutConfirmationDue(patient_id=patient, optout_id=optout, channel=Channel.SMS, address="+12025550111"))
    outside.consent_status = 503
    await gate.turn()
    clock.advance(minutes=5)
    outside.consent_status = 201
    await gate.turn()
    await sweep()
    assert (outside.texts, await states(runtime), await kinds(runtime)) == ([], [("failed", "expired")], [])


async def test_the_guard_looks_once_more(runtime, gate, outside, due, tell):
    patient, _ = due
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        text = b'{"address": "+12025550111", "text": "Your diabetes visit"}'
        await tx.execute("UPDATE deliveries SET sealed = %s", [tx.seal(patient, "deliveries.sealed", text)])
    await gate.turn()
    assert outside.asked == []
    assert await states(runtime) == [("refused", "content")]


async def test_the_portal_gets_clinical_words_and_no_provider(runtime, gate, outside, tell, sweep, story):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap, Channel.PORTAL))
    await sweep()
    await gate.turn()
    assert outside.texts == []
    assert (outside.asked[0]["channel"], outside.asked[0]["address"]) == ("portal", None)
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        ((sealed,),) = await tx.rows("SELECT sealed FROM portal_messages")
        assert b"HbA1c" in tx.open(patient, "portal_messages.sealed", sealed)


async def test_two_gates_share_the_work(runtime, gate, outside, tell, sweep, story):
    people = [(new_id(), new_id()) for _ in range(12)]
    for n, (patient, gap) in enumerate(people):
        await tell(*story(patient, gap, number=f"+1202555{n:04}"))
    await sweep()
    one, other = replace(gate, lost_after=15.0), replace(gate, lost_after=15.0)
    await asyncio.gather(one.turn(), other.turn())
    assert len({text["tag"] for text in outside.texts}) == len(outside.texts) == 12


async def test_the_gate_sees_no_conversation(gate):
    with pytest.raises(Exception, match="permission denied"):
        async with gate.db.transaction("test") as tx:
            await tx.execute("SELECT * FROM conversations")


def test_the_stopwatch_runs_while_the_machine_sleeps():
    assert permit_client.CLOCK_BOOTTIME == 7


async def test_a_sweep_of_an_earlier_instant_does_not_know_the_outcome_yet(runtime, gate, outside, due, sweep, clock):
    before = clock.now()
    clock.advance(minutes=1)
    await gate.turn()
    assert await consumers.SWEEPS[0].run(runtime, before) == 0
    await sweep()
    assert await kinds(runtime) == [OutreachScheduled, MessageSent]
