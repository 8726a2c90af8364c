"""Sweeps: what is due as of the instant given, by the same deciders and locks as events."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from phi_common.decision import Decision, TimePassed
from phi_common.eventing.consume import Subscription
from phi_common.eventing.sweep import Sweep
from phi_common.transaction import Erased

from .conftest import Tally


@pytest.fixture
def timed(ordered: Subscription) -> Subscription:
    """The toy, which notes at what instant it was asked."""

    def passed(state: Tally, command: TimePassed, now: Any) -> Decision[Tally]:
        return Decision(replace(state, rules=(*state.rules, now.isoformat())))

    return replace(ordered, decide={**ordered.decide, TimePassed: passed})


def sweep(timed: Subscription, *subjects: UUID) -> Sweep:
    async def due(tx: Any, upto: Any, limit: int) -> list[UUID]:
        return list(subjects)

    return Sweep(timed, due)


async def test_a_sweep_decides_as_of_its_instant_and_is_on_record(runtime, clock, timed, tally, pg):
    patient, upto = uuid4(), clock.now()
    clock.advance(days=1)
    assert await sweep(timed, patient).run(runtime, upto) == 1
    assert await tally(runtime, patient) == (upto.isoformat(),)
    audited = "SELECT patients, at FROM audit WHERE action = 'command:TimePassed'"
    assert pg.execute(audited).fetchall() == [([patient], upto)]


async def test_one_who_was_erased_since_the_look_is_left_out(runtime, clock, timed, tally, pg):
    erased, other = uuid4(), uuid4()
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(erased)
    assert await sweep(timed, erased, other).run(runtime, clock.now()) == 1
    assert await sweep(timed, erased).run(runtime, clock.now()) == 0
    assert pg.execute("SELECT patient_id FROM tallies").fetchall() == [(other,)]


async def test_one_whose_step_fails_holds_up_nobody_and_is_tried_again_later(runtime, clock, timed, tally, monkeypatch):
    bad, others = uuid4(), [uuid4(), uuid4()]

    def passed(state: Tally, command: TimePassed, now: Any) -> Decision[Tally]:
        if command.patient_id == bad:
            raise ZeroDivisionError
        return Decision(replace(state, rules=("done",)))

    failing = sweep(replace(timed, decide={TimePassed: passed}), others[0], bad, others[1])
    assert await failing.run(runtime, clock.now()) == 2
    assert [await tally(runtime, patient) for patient in (*others, bad)] == [("done",), ("done",), ()]
    assert failing.paused.keys() == {bad}
    assert await sweep_of_one(failing, bad).run(runtime, clock.now()) == 0, "left alone meanwhile"
    later = failing.paused[bad] + 1
    monkeypatch.setattr("phi_common.eventing.sweep.time.monotonic", lambda: later)
    assert await sweep_of_one(replace(failing, subscription=timed), bad).run(runtime, clock.now()) == 1
    assert failing.paused == {}


def sweep_of_one(like: Sweep, subject: UUID) -> Sweep:
    async def due(tx: Any, upto: Any, limit: int) -> list[UUID]:
        return [subject]

    return replace(like, due=due)


async def test_a_cell_that_cannot_be_read_holds_up_one_patient_only(runtime, clock, timed, tally, pg):
    bad, other = uuid4(), uuid4()
    assert await sweep(timed, bad).run(runtime, clock.now()) == 1
    pg.execute("UPDATE tallies SET sealed = 'x'")
    assert await sweep(timed, bad, other).run(runtime, clock.now()) == 1
    assert len(await tally(runtime, other)) == 1


async def test_a_command_about_somebody_erased_is_refused(runtime, timed, pg):
    patient = uuid4()
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)
    idle = replace(timed, decide={TimePassed: lambda state, command, now: Decision(state)})
    with pytest.raises(Erased):
        await idle.act(runtime, [TimePassed(patient)], "somebody")
    assert pg.execute("SELECT count(*) FROM audit WHERE action LIKE 'command:%'").fetchone() == (0,)
