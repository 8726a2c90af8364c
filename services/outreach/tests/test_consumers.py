"""Events in, deliveries and events out, on the real database."""

from phi_common.clock import new_id
from phi_common.events.consent import Channel
from phi_common.events.outreach import CoordinatorReviewRequested, OutreachScheduled, OutreachSuppressed
from phi_common.testing import emitted


async def rows(runtime, query="SELECT state, channel, attempt FROM deliveries ORDER BY attempt"):
    async with runtime.transaction("test") as tx:
        return await tx.rows(query)


async def test_a_gap_becomes_one_delivery_whatever_is_repeated(runtime, tell, sweep, story):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap), *story(patient, gap))
    await sweep()
    await sweep()
    assert await rows(runtime) == [("ready", "sms", 1)]
    assert [e.gap_id for e in await emitted(runtime)] == [gap]


async def test_the_order_of_topics_does_not_matter(runtime, tell, sweep, story):
    patient, gap = new_id(), new_id()
    contact, preference, opened = story(patient, gap)
    await tell(opened, preference)
    await sweep()
    assert await rows(runtime) == []
    await tell(contact)
    await sweep()
    assert await rows(runtime) == [("ready", "sms", 1)]


async def test_address_and_words_are_sealed(runtime, tell, sweep, story):
    await tell(*story(new_id(), new_id()))
    await sweep()
    for (sealed,) in await rows(runtime, "SELECT sealed FROM deliveries UNION ALL SELECT sealed FROM conversations"):
        assert b"12025550111" not in sealed
        assert b"hba1c" not in sealed


async def test_closing_cancels_what_is_ready_and_tells_it(runtime, tell, sweep, story, closed):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    await sweep()
    await tell(closed(patient, gap))
    assert await rows(runtime) == [("cancelled", "sms", 1)]
    await sweep()
    assert [type(e) for e in await emitted(runtime)] == [OutreachScheduled, OutreachSuppressed]


async def test_the_whole_sequence_ends_in_a_review_that_the_result_closes(runtime, clock, tell, sweep, story, closed):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    for days in (0, 14, 14):
        clock.advance(days=days)
        await sweep()
    assert await rows(runtime) == [("ready", "sms", 1), ("ready", "sms", 2)]
    assert len(await emitted(runtime, CoordinatorReviewRequested)) == 1
    assert await rows(runtime, "SELECT reason, closed_at IS NULL FROM reviews") == [("no-response", True)]
    await tell(closed(patient, gap))
    assert await rows(runtime, "SELECT closed_at IS NULL FROM reviews") == [(False,)]


async def test_a_batch_of_many_patients(runtime, tell, sweep, story):
    people = [(new_id(), new_id()) for _ in range(25)]
    for patient, gap in people:
        await tell(*story(patient, gap, Channel.PORTAL))
    await sweep()
    assert {e.gap_id for e in await emitted(runtime, OutreachScheduled)} == {gap for _, gap in people}
