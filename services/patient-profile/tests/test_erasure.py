"""Erasing a patient: who may, what is left here, and what the others are told."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from patient_profile.consumers import reports
from phi_common.events.patients import Basis, PatientErased, PatientReported
from phi_common.runtime import Runtime
from phi_common.testing import client, emitted, record

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask(runtime: Runtime) -> Ask:
    """Ask for an erasure."""

    async def ask(patient: UUID, *, role: str = "privacy-officer", key: str = "", basis: str = "request") -> Any:
        headers = {"Authorization": f"Bearer {role}", "Idempotency-Key": key or str(uuid4())}
        async with client("patient-profile", runtime) as http:
            return await http.post(f"/patients/{patient}/erasure", json={"basis": basis}, headers=headers)

    return ask


@pytest.fixture
async def patient(runtime: Runtime) -> UUID:
    patient = uuid4()
    await reports.handle(runtime, [record(PatientReported(patient_id=patient, source="ehr", family="Rivera"))])
    return patient


async def rows(runtime: Runtime, query: str) -> list[Any]:
    async with runtime.transaction("test") as tx:
        return list(await tx.rows(query))


async def test_an_erasure_removes_the_record_and_tells_the_others(runtime: Runtime, ask: Ask, patient: UUID) -> None:
    answer = await ask(patient)
    assert (answer.status_code, answer.json()) == (202, {"patient_id": str(patient), "state": "erased"})
    assert (await emitted(runtime))[-1] == PatientErased(patient_id=patient, basis=Basis.REQUEST)
    for table in ("profiles", "patient_keys"):
        assert await rows(runtime, f"SELECT * FROM {table}") == []
    async with client("patient-profile", runtime) as http:
        seen = await http.get(f"/patients/{patient}", headers={"Authorization": "Bearer privacy-officer"})
    assert seen.status_code == 404
    audited = await rows(runtime, "SELECT actor, action, patients, details FROM audit WHERE action LIKE '%erase'")
    assert sorted(audited) == [
        ("test-privacy-officer", "patient:erase", [patient], [""]),
        ("test-privacy-officer", "patients:erase", [patient], ["request"]),
    ]


async def test_a_report_that_was_still_on_its_way_brings_nothing_back(
    runtime: Runtime, ask: Ask, patient: UUID
) -> None:
    await ask(patient)
    told = await emitted(runtime)
    late = PatientReported(patient_id=patient, source="ehr", family="Rivera")
    await reports.handle(runtime, [record(late), record(late, body=b"{}")])
    assert await emitted(runtime) == told
    for table in ("profiles", "patient_keys", "dead_letters"):
        assert await rows(runtime, f"SELECT * FROM {table}") == []


async def test_letters_of_an_erased_patient_go_too(runtime: Runtime, ask: Ask, patient: UUID) -> None:
    await reports.handle(runtime, [record(PatientReported(patient_id=patient, source="ehr"), body=b"{}")])
    assert len(await rows(runtime, "SELECT * FROM dead_letters")) == 1
    await ask(patient)
    assert await rows(runtime, "SELECT * FROM dead_letters") == []


async def test_a_repeat_is_one_erasure_and_a_new_request_tells_it_again(
    runtime: Runtime, ask: Ask, patient: UUID
) -> None:
    for _ in range(2):
        assert (await ask(patient, key="k")).status_code == 202
    ((first,),) = await rows(runtime, "SELECT erased_at FROM subjects")
    assert len(await emitted(runtime, PatientErased)) == 1
    assert (await ask(patient, key="k", basis="wrong-person")).status_code == 409
    assert (await ask(patient)).status_code == 202
    assert len(await emitted(runtime, PatientErased)) == 2
    assert await rows(runtime, "SELECT erased_at FROM subjects") == [(first,)]


async def test_an_unknown_patient_is_404_and_leaves_no_trace(runtime: Runtime, ask: Ask) -> None:
    assert (await ask(uuid4())).status_code == 404
    for table in ("subjects", "answers", "outbox"):
        assert await rows(runtime, f"SELECT * FROM {table}") == []


@pytest.mark.parametrize("role", ["front-desk", "clinician", "admin", "interface"])
async def test_only_the_privacy_officer_erases(ask: Ask, patient: UUID, role: str) -> None:
    assert (await ask(patient, role=role)).status_code == 403


async def test_a_ground_is_a_code(ask: Ask, patient: UUID) -> None:
    assert (await ask(patient, basis="has moved to Ohio")).status_code == 422
