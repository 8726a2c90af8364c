"""The subscriptions called as functions with lists of records, and the sweep, on a real database."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from care_gap_engine import storage
from care_gap_engine.consumers import facts, profiles, sweep
from care_gap_engine.domain.chart import Chart
from phi_common.events.care_gap import ClosedBy, GapClosed, GapDueSoon, GapOpened, GapState
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.events.patients import PatientErased, ProfileChanged
from phi_common.runtime import Runtime
from phi_common.testing import Clock, emitted, record
from phi_common.transaction import Tx

RULE = "hba1c-diabetes"


def diabetes(patient: UUID) -> ConditionRecorded:
    return ConditionRecorded(
        patient_id=patient, source="ehr", source_id=f"dx-{patient}", source_message=uuid4(),
        system="http://hl7.org/fhir/sid/icd-10-cm", code="E11.9", status="active",
    )  # fmt: skip


def result(patient: UUID, on: str, source_id: str = "one", **more: str) -> ObservationReceived:
    return ObservationReceived(
        patient_id=patient, source="ehr", source_id=source_id, source_message=uuid4(), system="http://loinc.org",
        code="4548-4", effective=on, value="7.1", unit="%", **({"status": "final"} | more),
    )  # fmt: skip


async def chart_of(runtime: Runtime, patient: UUID) -> Chart:
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        return (await storage.load_charts(tx, [patient]))[patient]


async def rows(runtime: Runtime, query: str, *parameters: object) -> list[tuple[object, ...]]:
    async with runtime.transaction("test") as tx:
        return await tx.rows(query, parameters)


async def test_a_batch_opens_one_gap_each_and_a_repeat_changes_nothing(runtime: Runtime) -> None:
    patients = [uuid4() for _ in range(20)]
    batch = [record(event) for patient in patients for event in (diabetes(patient), result(patient, "2025-01-26"))]
    await facts.handle(runtime, batch)
    await facts.handle(runtime, batch)
    opened = await emitted(runtime)
    assert {type(one) for one in opened} == {GapOpened}
    assert sorted(one.patient_id for one in opened) == sorted(patients)
    assert await rows(runtime, "SELECT count(*) FROM facts") == [(40,)]
    assert await rows(runtime, "SELECT count(*), state FROM gaps GROUP BY state") == [(20, "overdue")]


async def test_the_history_keeps_what_was_corrected(runtime: Runtime) -> None:
    patient = uuid4()
    events = [
        diabetes(patient), result(patient, "2025-01-26", "old"), result(patient, "2026-02-20"),
        result(patient, "2026-02-20", status="entered-in-error"),
    ]  # fmt: skip
    await facts.handle(runtime, [record(event) for event in events])
    assert [type(one) for one in await emitted(runtime)] == [GapOpened, GapClosed, GapOpened]
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        history = await storage.history_of(tx, patient)
    assert [fact.status for fact in history] == ["active", "final", "final", "entered-in-error"]
    stored = await rows(runtime, "SELECT state, closed IS NULL FROM gaps ORDER BY closed NULLS LAST")
    assert stored == [("closed", False), ("overdue", True)]


async def test_facts_before_the_profile_are_judged_again_when_it_comes(runtime: Runtime) -> None:
    patient = uuid4()
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2025-01-26"))])
    await profiles.handle(runtime, [record(ProfileChanged(patient_id=patient, deceased=True))])
    assert [getattr(one, "by", None) for one in await emitted(runtime)] == [None, ClosedBy.NOT_APPLICABLE]


async def test_time_alone_opens(runtime: Runtime, clock: Clock) -> None:
    patient = uuid4()
    await profiles.handle(runtime, [record(ProfileChanged(patient_id=patient, zone="America/New_York"))])
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2026-03-01"))])
    told = []
    for due in (datetime(2026, 7, 3, 4, tzinfo=UTC), datetime(2026, 9, 1, 4, tzinfo=UTC)):
        async with runtime.transaction("test") as tx:
            assert await storage.next_due(tx) == due
        assert await sweep.run(runtime, clock.now()) == 0
        clock.instant = due
        assert await sweep.run(runtime, due) == 1
        told = [type(one) for one in await emitted(runtime)]
    assert told == [GapDueSoon, GapOpened]


async def test_an_unreadable_fact_leaves_the_state_unknown_until_redriven(runtime: Runtime) -> None:
    patient = uuid4()
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2025-01-26"))])
    await facts.handle(runtime, [record(result(patient, "2026-02-01", "two"), body=b"{}")])
    assert (await chart_of(runtime, patient)).gap(RULE).state is GapState.UNKNOWN
    await facts.handle(runtime, [record(result(patient, "2026-02-02", "three"))])
    assert (await chart_of(runtime, patient)).gap(RULE).state is GapState.UNKNOWN
    await rows(runtime, "DELETE FROM dead_letters RETURNING id")
    await facts.handle(runtime, [record(result(patient, "2026-02-03", "four"))])
    assert (await chart_of(runtime, patient)).gap(RULE).state is GapState.CLOSED


async def test_an_erased_patient_is_never_swept(runtime: Runtime, clock: Clock) -> None:
    later, overdue, other = uuid4(), uuid4(), uuid4()
    for one, on in ((later, "2026-03-01"), (overdue, "2025-01-26"), (other, "2026-03-01")):
        await facts.handle(runtime, [record(diabetes(one)), record(result(one, on))])
    told = len(await emitted(runtime))
    await profiles.handle(runtime, [record(PatientErased(patient_id=one)) for one in (later, overdue)])
    for table, left in (("charts", [(other,)]), ("gaps", []), ("patient_keys", [(other,)])):
        assert await rows(runtime, f"SELECT patient_id FROM {table}") == left
    clock.advance(days=400)
    assert await sweep.run(runtime, clock.now()) == 1
    assert {one.patient_id for one in (await emitted(runtime))[told:]} == {other}


async def test_an_erasure_between_look_and_lock_of_a_sweep_is_no_accident(runtime: Runtime, clock: Clock) -> None:
    patient = uuid4()
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2026-03-01"))])

    async def due(tx: Tx, upto: datetime, limit: int) -> list[UUID]:
        found = await storage.due_charts(tx, upto, limit)
        await profiles.handle(runtime, [record(PatientErased(patient_id=patient))])
        return found

    clock.advance(days=400)
    assert await replace(sweep, due=due).run(runtime, clock.now()) == 0
    assert await emitted(runtime, GapOpened) == []


async def test_an_erasure_is_final_whatever_comes_with_it_or_after(runtime: Runtime) -> None:
    patient = uuid4()
    born = ProfileChanged(patient_id=patient, zone="America/Chicago")
    await profiles.handle(runtime, [record(born, body=b"{}"), record(born)])
    erased = record(PatientErased(patient_id=patient))
    await profiles.handle(runtime, [record(born), erased, record(born)])
    await profiles.handle(runtime, [erased, record(born), record(PatientErased(patient_id=patient))])
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2025-01-26"))])
    for table in ("charts", "facts", "gaps", "patient_keys", "dead_letters", "outbox"):
        assert await rows(runtime, f"SELECT 1 FROM {table}") == [], table
    audited = await rows(runtime, "SELECT count(*) FROM audit WHERE action = 'apply:PatientErased.v1'")
    assert audited == [(2,)]


async def test_nothing_clinical_is_stored_in_clear(runtime: Runtime) -> None:
    patient = uuid4()
    await facts.handle(runtime, [record(diabetes(patient)), record(result(patient, "2025-01-26"))])
    for table in ("charts", "facts"):
        for (sealed,) in await rows(runtime, f"SELECT sealed FROM {table}"):
            assert b"E11" not in sealed
            assert b"4548-4" not in sealed
