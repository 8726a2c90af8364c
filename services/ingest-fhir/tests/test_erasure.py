"""After an erasure: raw messages, names and answers are gone, and what a feed goes on saying is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from ingest_fhir.consumers import erasures
from ingest_fhir.desk import desk_of
from ingest_fhir.domain import OUR_ID, Rejected
from phi_common.events.patients import PatientErased
from phi_common.runtime import Runtime
from phi_common.testing import client, emitted, record

JSON = {"Authorization": "Bearer interface", "Content-Type": "application/fhir+json"}
Name = tuple[str, str]
MRN, SSN, NEW = ("urn:mrn", "42"), ("urn:ssn", "7"), ("urn:card", "9")


@pytest.fixture
async def http(runtime: Runtime) -> AsyncIterator[Any]:
    async with client("ingest-fhir", runtime) as found:
        yield found


async def report(http: Any, *names: Name, kind: str = "Patient", unless: tuple[str, str] | None = None) -> Any:
    """A Patient with these identifiers, or a result about the patient of the first one."""
    said: dict[str, Any] = {"resourceType": kind}
    if kind == "Patient":
        said["identifier"] = [{"system": system, "value": value} for system, value in names]
    else:
        coding = {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}
        said |= {"status": "final", "code": coding, "valueQuantity": {"value": 7.1, "unit": "%"}}
        system, value = names[0]
        theirs = {"identifier": {"system": system, "value": value}}
        said["subject"] = {"reference": f"Patient/{value}"} if system == OUR_ID else theirs
    headers = JSON | ({"If-None-Exist": f"identifier={unless[0]}|{unless[1]}"} if unless else {})
    return await http.post(f"/fhir/{kind}", content=json.dumps(said).encode(), headers=headers)


async def found(http: Any, name: Name) -> int:
    """How many patients a search shows."""
    form = {"Authorization": JSON["Authorization"], "Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post("/fhir/Patient/_search", content=f"identifier={name[0]}|{name[1]}", headers=form)
    return int(answer.json()["total"])


async def created(http: Any, *names: Name, **how: Any) -> UUID:
    answer = await report(http, *names, **how)
    assert answer.status_code == 201, answer.text
    return UUID(answer.headers["location"].rpartition("/")[2])


async def erase(runtime: Runtime, *patients: UUID) -> None:
    await erasures.handle(runtime, [record(PatientErased(patient_id=patient)) for patient in patients])


async def rows(runtime: Runtime, query: str) -> list[Any]:
    async with runtime.transaction("test") as tx:
        return list(await tx.rows(query))


async def test_nothing_that_was_kept_is_left(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN, unless=SSN)
    assert (await report(http, MRN, kind="Observation")).status_code == 201
    other = await created(http, NEW, unless=NEW)
    await desk_of(runtime).keep(Rejected("hl7v2", "ehr", b"PID|||42", "100 MSH"))
    await erase(runtime, patient)
    assert await rows(runtime, "SELECT patient_id FROM raw_messages") == [(other,)]
    assert await rows(runtime, "SELECT patient_id FROM patient_keys") == [(other,)]
    assert await rows(runtime, f"SELECT 1 FROM identifiers WHERE patient_id = '{patient}'") == []
    remembered = await rows(runtime, "SELECT convert_from(body, 'UTF8') FROM answers")
    assert [text.endswith(str(other)) for (text,) in remembered] == [True]


async def test_what_the_feed_goes_on_saying_is_refused_and_not_kept(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN, SSN)
    await erase(runtime, patient)
    before = [await rows(runtime, f"SELECT count(*) FROM {table}") for table in ("identifiers", "raw_messages")]
    told = await emitted(runtime)
    for names in ((MRN,), (SSN, NEW)):
        assert (await report(http, *names)).status_code == 410
    for name in (MRN, (OUR_ID, str(patient))):
        assert (await report(http, name, kind="Observation")).status_code == 410
    after = [await rows(runtime, f"SELECT count(*) FROM {table}") for table in ("identifiers", "raw_messages")]
    assert (after, await emitted(runtime)) == (before, told)
    assert (await report(http, NEW)).status_code == 201, "a name that came with an erased one names nobody yet"


async def test_a_search_finds_nobody_even_from_memory(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN)
    assert await found(http, MRN) == 1
    await erase(runtime, patient)
    assert patient in desk_of(runtime).intake.identities._cache.values()
    assert await found(http, MRN) == 0
    assert [await found(http, name) for name in (MRN, (OUR_ID, str(patient)), (OUR_ID, str(UUID(int=0))))] == [0, 0, 0]


async def test_another_process_that_remembers_the_name_adds_none_to_it(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN)
    assert (await report(http, MRN)).status_code == 201
    await erase(runtime, patient)
    assert (await report(http, MRN, NEW)).status_code == 410
    assert await rows(runtime, "SELECT DISTINCT patient_id FROM identifiers") == [(UUID(int=0),)]
    assert (await report(http, NEW)).status_code == 201


async def test_a_condition_does_not_find_the_erased(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN, unless=MRN)
    await erase(runtime, patient)
    assert (await report(http, MRN, unless=MRN)).status_code == 410
    living = await created(http, NEW)
    assert await created(http, NEW, MRN, unless=MRN) == living


async def test_others_of_the_same_batch_are_taken(http: Any, runtime: Runtime) -> None:
    await erase(runtime, await created(http, MRN))
    answers = await asyncio.gather(*(report(http, name) for name in (MRN, NEW, MRN, SSN)))
    assert [answer.status_code for answer in answers] == [410, 201, 410, 201]


async def test_repeats_that_come_together_about_somebody_erased_harm_no_other(http: Any, runtime: Runtime) -> None:
    patient = await created(http, MRN)
    await erase(runtime, patient)

    async def result(name: Name, key: str) -> int:
        theirs = {"identifier": {"system": name[0], "value": name[1]}}
        coding = {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}
        said = {"resourceType": "Observation", "status": "final", "code": coding, "subject": theirs}
        headers = JSON | {"Idempotency-Key": key}
        return int(
            (await http.post("/fhir/Observation", content=json.dumps(said).encode(), headers=headers)).status_code
        )

    answers = await asyncio.gather(result(MRN, "k"), result(MRN, "k"), result(NEW, "other"))
    assert answers == [410, 503, 201]
    assert await result(MRN, "k") == 410
