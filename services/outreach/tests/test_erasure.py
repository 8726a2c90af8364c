"""An erased patient is not swept, not written to and not listed, wherever the outreach stood."""

import pytest
import sqlalchemy as sa

from outreach import storage
from outreach.gate import deliveries
from phi_common.clock import new_id
from phi_common.events import Event
from phi_common.events.consent import Channel
from phi_common.events.patients import PatientErased, ProfileChanged
from phi_common.testing import emitted


async def left(runtime) -> dict[str, int]:
    """How many rows name anybody, by table."""
    async with runtime.transaction("test") as tx:
        counts = {}
        for table in (*storage.PERSONAL, storage.metadata.tables["patient_keys"]):
            counts[table.name] = (
                await (await tx.core()).execute(sa.select(sa.func.count()).select_from(table))
            ).scalar()
    return {name: count for name, count in counts.items() if count}


async def resting(runtime, clock) -> bool:
    """Nothing is due, now or ever."""
    async with runtime.transaction("test") as tx:
        due = await storage.due_conversations(tx, clock.now(), 10)
        return not due and await storage.next_due(tx) is None and await storage.work_in_hand(tx) == 0


@pytest.mark.parametrize("days", [None, (0,), (0, 14), (0, 14, 14)], ids=["told", "handed", "twice", "in review"])
async def test_wherever_it_stood(runtime, clock, tell, sweep, story, days):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    for more in days or ():
        clock.advance(days=more)
        await sweep()
    told = await emitted(runtime)
    assert await left(runtime)
    await tell(PatientErased(patient_id=patient))
    assert await left(runtime) == {}
    clock.advance(days=400)
    await sweep()
    assert await resting(runtime, clock)
    assert await emitted(runtime) == told


async def test_events_on_their_way_start_nothing_again(runtime, clock, tell, sweep, story, closed):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap), PatientErased(patient_id=patient))
    late: list[Event] = [*story(patient, new_id()), closed(patient, gap), ProfileChanged(patient_id=patient)]
    await tell(*late)
    await sweep()
    assert await left(runtime) == {}
    assert await emitted(runtime) == []


async def test_others_go_on(runtime, tell, sweep, story):
    patient, other = new_id(), new_id()
    await tell(*story(patient, new_id()), *story(other, new_id()), PatientErased(patient_id=patient))
    await sweep()
    assert await left(runtime) == {"conversations": 1, "deliveries": 1, "patient_keys": 1}


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.PORTAL])
async def test_what_the_gate_has_in_hand_does_not_leave(runtime, gate, outside, tell, sweep, story, channel):
    patient = new_id()
    await tell(*story(patient, new_id(), channel))
    await sweep()
    async with gate.db.transaction("test") as tx:
        (message,) = await deliveries.claim(tx, 10)
    await tell(PatientErased(patient_id=patient))
    assert await gate.deliver(message)
    assert (outside.texts, outside.closed) == ([], ["not-sent"])
    await gate.turn()
    await sweep()
    assert await left(runtime) == {}


async def test_what_went_out_leaves_nothing_but_its_audit(runtime, gate, outside, tell, sweep, story):
    patient = new_id()
    await tell(*story(patient, new_id(), Channel.PORTAL))
    await sweep()
    await gate.turn()
    await tell(PatientErased(patient_id=patient))
    assert await left(runtime) == {}
    async with runtime.transaction("test") as tx:
        query = "SELECT count(*) FROM audit WHERE action = 'egress:sent' AND %s = ANY(patients)"
        assert await (await tx.execute(query, [patient])).fetchone() == (1,)
