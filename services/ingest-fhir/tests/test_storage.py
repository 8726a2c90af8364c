"""What is kept, for whom, and what a repeat gets; on a real database."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import pytest

from ingest_fhir.desk import Desk
from ingest_fhir.domain import (
    OUR_ID,
    Answer,
    Demographics,
    Filed,
    Identifier,
    KeyReused,
    Rejected,
    Report,
    Result,
    Submission,
)
from phi_common.events.clinical import ObservationReceived, ObservationStatus
from phi_common.events.patients import PatientReported
from phi_common.runtime import Runtime
from phi_common.testing import emitted
from phi_common.transaction import Erased

MRN, SSN = Identifier("urn:mrn", "42"), Identifier("urn:ssn", "7")


def patient(*identifiers: Identifier, raw: bytes = b"patient", unless: Identifier | None = None) -> Report:
    return Report("Patient", "ehr", identifiers or (MRN,), (Demographics(family="Roe"),), raw, unless)


def result(*identifiers: Identifier, key: str = "o1", raw: bytes = b"result") -> Report:
    found = Result(key, "http://loinc.org", "4548-4", ObservationStatus.FINAL, "2026-03-01", "7.1", "%")
    return Report("Observation", "ehr", identifiers or (MRN,), (found,), raw)


def submission(*reports: Report, key: str = "", body: bytes = b"") -> Submission:
    def answer(filed: list[Filed]) -> Answer:
        text = " ".join(f"{each.patient_id}/{each.id}/{each.existed:d}" for each in filed)
        return Answer(201, text.encode(), location=filed[0].location)

    return Submission(reports, "test", "fhir:write", answer, hashlib.sha256(body).digest(), key)


def filed(answer: Answer) -> list[tuple[UUID, UUID, bool]]:
    parts = (text.split("/") for text in answer.body.decode().split())
    return [(UUID(patient), UUID(id_), existed == "1") for patient, id_, existed in parts]


def whose(answer: Answer) -> UUID:
    return filed(answer)[0][0]


async def rows(runtime: Runtime, query: str) -> list[Any]:
    async with runtime.transaction("test") as tx:
        return list(await tx.rows(query))


@pytest.fixture
def desk(runtime: Runtime) -> Desk:
    return Desk(runtime)


async def test_a_report_is_kept_sealed_and_told(desk: Desk, runtime: Runtime):
    answer = await desk.submit(submission(patient(), result()))
    (owner, _, _), (_, message_id, _) = filed(answer)
    who, what = await emitted(runtime)
    assert isinstance(who, PatientReported)
    assert (who.patient_id, who.family, who.source) == (owner, "Roe", "ehr")
    assert isinstance(what, ObservationReceived)
    assert (what.patient_id, what.source_message, what.value) == (owner, message_id, "7.1")
    assert len(what.source_id) == 32
    async with runtime.transaction("test") as tx:
        kept = await tx.rows("SELECT sha256, sealed FROM raw_messages ORDER BY kind DESC")
        await tx.load_keys([owner])
        assert [tx.open(owner, "raw_messages.sealed", sealed) for _, sealed in kept] == [b"patient", b"result"]
    assert kept[0][0] == hashlib.sha256(b"patient").digest()
    assert b"result" not in kept[1][1]
    assert await rows(runtime, "SELECT actor, action, patients FROM audit") == [("test", "fhir:write", [owner])]


async def test_identifiers_lead_to_one_person(desk: Desk):
    first = whose(await desk.submit(submission(patient(MRN))))
    second = whose(await desk.submit(submission(patient(SSN, MRN))))
    by_new_name = whose(await desk.submit(submission(result(SSN))))
    by_our_id = whose(await desk.submit(submission(result(Identifier(OUR_ID, str(first)), Identifier("urn:x", "1")))))
    assert first == second == by_new_name == by_our_id


async def test_the_first_known_identifier_wins_and_the_other_stays(desk: Desk):
    first = whose(await desk.submit(submission(patient(MRN))))
    other = whose(await desk.submit(submission(patient(SSN))))
    assert first != other
    assert whose(await desk.submit(submission(patient(SSN, MRN)))) == other
    assert whose(await desk.submit(submission(patient(MRN)))) == first


async def test_what_comes_together_finds_one_person(desk: Desk, runtime: Runtime):
    answers = await asyncio.gather(*(desk.submit(submission(result(MRN, key=str(n)))) for n in range(40)))
    assert len({whose(answer) for answer in answers}) == 1
    assert len(await emitted(runtime)) == 40
    assert await rows(runtime, "SELECT count(*) FROM identifiers") == [(2,)]


async def test_two_processes_make_one_person(runtime: Runtime):
    desks = [Desk(runtime) for _ in range(6)]
    answers = await asyncio.gather(*(desk.submit(submission(patient(MRN))) for desk in desks))
    assert len({whose(answer) for answer in answers}) == 1


async def test_a_repeat_gets_the_first_answer(desk: Desk, runtime: Runtime):
    first = await desk.submit(submission(patient(), key="k", body=b"1"))
    assert await desk.submit(submission(patient(), key="k", body=b"1")) == first
    with pytest.raises(KeyReused):
        await desk.submit(submission(patient(), key="k", body=b"2"))
    assert len(await emitted(runtime)) == 1


async def test_repeats_at_the_same_time_are_one(runtime: Runtime):
    desks = [Desk(runtime) for _ in range(4)]
    answers = await asyncio.gather(*(desk.submit(submission(patient(), key="k")) for desk in desks for _ in range(5)))
    assert len(set(answers)) == 1
    assert len(await emitted(runtime)) == 1


async def test_a_conditional_create_finds_what_is_there(desk: Desk, runtime: Runtime):
    owner = whose(await desk.submit(submission(patient(MRN))))
    assert filed(await desk.submit(submission(patient(MRN, unless=MRN)))) == [(owner, owner, True)]
    again = patient(SSN, unless=SSN)
    (first,), (second,) = [filed(await desk.submit(submission(again))) for _ in range(2)]
    assert (first[1], first[2], second[2]) == (second[1], False, True)
    assert len(await emitted(runtime)) == 2


async def test_the_same_fact_has_the_same_source_identity(desk: Desk, runtime: Runtime):
    await desk.submit(submission(result(key="a")))
    await desk.submit(submission(result(key="a"), result(key="b")))
    first, second, third = (event.source_id for event in await emitted(runtime, ObservationReceived))
    assert first == second != third


async def test_nothing_more_is_stored_about_an_erased_patient(desk: Desk, runtime: Runtime):
    owner = whose(await desk.submit(submission(patient())))
    async with runtime.transaction("test") as tx:
        await tx.shred(owner)
    told = len(await emitted(runtime))
    erased, other = await asyncio.gather(
        desk.submit(submission(result())), desk.submit(submission(result(SSN))), return_exceptions=True
    )
    assert isinstance(erased, Erased)
    assert isinstance(other, Answer)
    assert len(await emitted(runtime)) == told + 1


async def test_a_reject_is_kept_sealed_with_its_reason(desk: Desk, runtime: Runtime):
    await desk.keep(Rejected("hl7v2", "ehr", b"MSH|secret", "100 PID: segment is missing"))
    async with runtime.transaction("test") as tx:
        ((owner, problem, sealed),) = await (
            await tx.execute("SELECT patient_id, problem, sealed FROM raw_messages")
        ).fetchall()
        assert (owner, problem) == (None, "100 PID: segment is missing")
        assert await tx.open_unowned("raw_messages.sealed", sealed) == b"MSH|secret"


async def test_no_identifier_is_stored_in_clear(desk: Desk, runtime: Runtime):
    secret = Identifier("urn:mrn", "MRN-SECRET-1")
    await desk.submit(submission(patient(secret, unless=secret), key=desk.intake.key("fhir", "MRN-SECRET-1")))
    for table in ("identifiers", "raw_messages", "answers", "audit", "outbox"):
        assert "SECRET" not in str(await rows(runtime, f"SELECT t::text FROM {table} t"))
