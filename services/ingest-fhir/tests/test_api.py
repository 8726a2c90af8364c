"""FHIR over HTTP, on the real application and database."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingest_fhir.api import FHIR_SEARCH, FHIR_WRITE, router
from phi_common.db import LARGEST_EVENT
from phi_common.eventing import inbox
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.runtime import Runtime
from phi_common.testing import client, emitted

JSON = {"Authorization": "Bearer interface", "Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATIENT = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:mrn", "value": "42"}]}
OBSERVATION = {
    "resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/p1"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
    "valueQuantity": {"value": 7.1, "unit": "%"},
}  # fmt: skip
CONDITION = {
    "resourceType": "Condition", "subject": {"reference": "urn:uuid:1"},
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]},
}  # fmt: skip


@pytest.fixture
async def http(runtime: Runtime) -> AsyncIterator[Any]:
    async with client("ingest-fhir", runtime) as found:
        yield found


async def post(http: Any, path: str, body: Any, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await http.post(path, content=content, headers=JSON | headers)


def code_of(response: Any) -> str:
    outcome = response.json()
    assert response.headers["content-type"] == "application/fhir+json"
    assert outcome["resourceType"] == "OperationOutcome"
    return str(outcome["issue"][0]["code"])


async def test_a_patient_and_an_observation_are_created(http: Any, runtime: Runtime):
    created = await post(http, "/fhir/Patient", PATIENT)
    assert (created.status_code, created.headers["etag"], created.content) == (201, 'W/"1"', b"")
    ours = created.headers["location"].removeprefix("/fhir/Patient/")
    for reference in ("Patient/p1", f"Patient/{ours}"):
        answer = await post(http, "/fhir/Observation", OBSERVATION | {"subject": {"reference": reference}})
        assert answer.status_code == 201
        assert answer.headers["location"].startswith("/fhir/Observation/")
    assert [str(event.patient_id) for event in await emitted(runtime)] == [ours] * 3


async def test_a_transaction_is_stored_as_a_whole(http: Any, runtime: Runtime):
    entries = [
        {"resource": CONDITION, "request": {"method": "POST", "url": "Condition"}},
        {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await post(http, "/fhir", bundle)
    assert answer.status_code == 200
    assert [each["response"]["status"] for each in answer.json()["entry"]] == ["201 Created"] * 2
    assert answer.json()["entry"][1]["response"]["location"].startswith("Patient/")
    assert len(await emitted(runtime, ConditionRecorded)) == 1

    entries[1]["resource"] = PATIENT | {"gender": "banana"}
    refused = await post(http, "/fhir", bundle)
    assert (refused.status_code, code_of(refused)) == (422, "code-invalid")
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.Patient.gender"]
    assert len(await emitted(runtime)) == 2


async def test_a_transaction_may_be_empty(http: Any, runtime: Runtime):
    answer = await post(http, "/fhir", {"resourceType": "Bundle", "type": "transaction"})
    assert (answer.status_code, answer.json()) == (200, {"resourceType": "Bundle", "type": "transaction-response"})


async def test_a_value_that_no_event_can_carry_is_refused_and_fails_alone(http: Any, runtime: Runtime):
    long = PATIENT | {"name": [{"family": "x" * LARGEST_EVENT}]}
    refused, other = await asyncio.gather(post(http, "/fhir/Patient", long), post(http, "/fhir/Patient", PATIENT))
    assert (refused.status_code, code_of(refused), other.status_code) == (413, "too-long", 201)
    assert len(await emitted(runtime)) == 1


async def test_a_single_resource_may_go_to_the_root(http: Any, runtime: Runtime):
    assert (await post(http, "/fhir", OBSERVATION)).status_code == 201
    assert len(await emitted(runtime, ObservationReceived)) == 1


async def test_a_key_makes_a_repeat_harmless(http: Any, runtime: Runtime):
    key = {"Idempotency-Key": "k1"}
    first, second = [await post(http, "/fhir/Observation", OBSERVATION, **key) for _ in range(2)]
    assert (second.status_code, second.headers["location"]) == (201, first.headers["location"])
    other = await post(http, "/fhir/Observation", OBSERVATION | {"status": "amended"}, **key)
    assert (other.status_code, code_of(other)) == (409, "duplicate")
    assert len(await emitted(runtime)) == 1


async def test_a_conditional_create_finds_what_is_there(http: Any):
    condition = {"If-None-Exist": "identifier=urn:mrn|42"}
    first, second = [await post(http, "/fhir/Patient", PATIENT, **condition) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["location"] == second.headers["location"]


async def test_what_was_found_to_exist_is_not_forgotten_with_old_answers(http: Any, runtime: Runtime):
    condition = {"If-None-Exist": "identifier=urn:order|7"}
    first = await post(http, "/fhir/Observation", OBSERVATION, **condition, **{"Idempotency-Key": "k1"})
    async with await runtime.pg() as pg:
        await pg.execute("UPDATE answers SET at = at - interval '1 year'")
        await inbox.prune(pg, inbox.REMEMBERED_DAYS)
        assert await (await pg.execute("SELECT count(*) FROM answers")).fetchone() == (1,)
    again = await post(http, "/fhir/Observation", OBSERVATION, **condition)
    assert (again.status_code, again.headers["location"]) == (200, first.headers["location"])


async def test_a_patient_is_found_by_identifier_and_the_read_is_audited(http: Any, runtime: Runtime):
    created = await post(http, "/fhir/Patient", PATIENT)
    headers = {"Authorization": "Bearer clinician"}
    for value, total in (("42", 1), ("43", 0)):
        answer = await http.post("/fhir/Patient/_search", data={"identifier": f"urn:mrn|{value}"}, headers=headers)
        assert (answer.status_code, answer.json()["total"]) == (200, total)
        if total:
            assert created.headers["location"].endswith(answer.json()["entry"][0]["resource"]["id"])
    async with runtime.transaction("test") as tx:
        query = "SELECT count(*) FROM audit WHERE action = 'fhir:search' AND actor = 'test-clinician'"
        assert await (await tx.execute(query)).fetchone() == (2,)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/fhir/Patient", PATIENT, {"Authorization": ""}, 401, "login"),
        ("/fhir/Patient", PATIENT, {"Authorization": "Bearer nobody"}, 401, "login"),
        ("/fhir/Patient", PATIENT, {"Authorization": "Bearer clinician"}, 403, "forbidden"),
        ("/fhir/SECRET", PATIENT, {}, 404, "not-supported"),
        ("/fhir/Patient", b"{SECRET", {}, 400, "structure"),
        ("/fhir/Patient", OBSERVATION, {}, 422, "value"),
        ("/fhir/Patient", PATIENT, {"Content-Type": "text/plain"}, 415, "not-supported"),
        ("/fhir/Patient", b" " * (8 * 1024 * 1024 + 1), {}, 413, "too-long"),
        ("/fhir/Patient", PATIENT, {"If-None-Exist": "name=SECRET"}, 400, "not-supported"),
        ("/fhir/Patient", PATIENT, {"Idempotency-Key": "k" * 256}, 400, "value"),
        ("/fhir/Observation", OBSERVATION | {"status": "SECRET"}, {}, 422, "code-invalid"),
        ("/fhir/Patient/_search", b"name=SECRET", FORM, 400, "not-supported"),
    ],
)  # fmt: skip
async def test_refusals(http: Any, path: str, body: Any, headers: dict[str, str], status: int, code: str):
    answer = await post(http, path, body, **headers)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert "SECRET" not in answer.text


async def test_nothing_is_taken_while_nothing_can_be_kept(http: Any, runtime: Runtime):
    runtime.troubles["vault"] = "unavailable"
    answer = await post(http, "/fhir/Patient", PATIENT)
    assert (answer.status_code, code_of(answer), answer.headers["retry-after"]) == (503, "transient", "2")


async def test_many_requests_share_a_commit(http: Any, runtime: Runtime):
    answers = await asyncio.gather(*(post(http, "/fhir/Observation", OBSERVATION | {"id": str(n)}) for n in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    async with runtime.transaction("test") as tx:
        ((versions,),) = await tx.rows("SELECT version FROM subjects")
    assert versions < 25


def test_every_route_names_its_permission():
    assert {route.endpoint.permission for route in router.routes} == {FHIR_WRITE, FHIR_SEARCH}  # type: ignore[attr-defined]
