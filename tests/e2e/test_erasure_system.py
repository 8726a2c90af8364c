"""An erasure on a whole system: by the route, over Kafka, into every service."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from careloop import synthetic
from careloop.story import START
from careloop.synthetic import ONE
from careloop.system import System
from phi_common.clock import new_id

pytestmark = pytest.mark.system

FHIR = {"Content-Type": "application/fhir+json"}
READS = {
    "patient-profile": ("/patients/{}", "privacy-officer"),
    "care-gap-engine": ("/patients/{}/gaps", "clinician"),
    "consent": ("/patients/{}/preferences", "privacy-officer"),
}


@pytest.fixture
def system() -> Iterator[System]:
    with System.start(START, kind="e2e") as started:
        yield started


def send(system: System, body: bytes) -> int:
    with system.client("ingest-fhir", "interface") as http:
        return http.post("/fhir", content=body, headers=FHIR).status_code


def found(system: System) -> list[str]:
    """The ids that a search for the person gives."""
    with system.client("ingest-fhir", "interface") as http:
        answer = http.post("/fhir/Patient/_search", data={"identifier": ONE.token}).json()
    return [entry["resource"]["id"] for entry in answer.get("entry", ())]


def command(system: System, name: str, role: str, method: str, path: str, body: dict[str, str]) -> int:
    with system.client(name, role) as http:
        return http.request(method, path, json=body, headers={"Idempotency-Key": str(new_id())}).status_code


def shown(system: System, patient: UUID | str) -> dict[str, int]:
    """What each service answers about the patient."""
    answers = {}
    for name, (path, role) in READS.items():
        with system.client(name, role) as http:
            answers[name] = http.get(path.format(patient)).status_code
    token = system.token("patient", patient_id=str(patient))
    with system.client("outreach") as http:
        inbox = http.get(f"/patients/{patient}/inbox", headers={"Authorization": f"Bearer {token}"})
    return answers | {"outreach": inbox.status_code}


def test_an_erased_patient_is_unknown_everywhere_and_stays_so(system: System) -> None:
    overdue = (START - timedelta(days=400)).date()
    everything = (
        synthetic.fhir_patient(ONE), synthetic.fhir_diabetes(ONE), synthetic.fhir_hba1c(ONE, overdue, 7.1),
    )  # fmt: skip
    assert send(system, everything[0]) == 201
    (patient,) = found(system)
    allowed = {"permission": "allowed", "wording": "portal-1"}
    assert command(system, "consent", "front-desk", "PUT", f"/patients/{patient}/preferences/portal", allowed) == 200
    assert [send(system, body) for body in everything[1:]] == [201, 201]
    system.settle()
    assert shown(system, patient) == dict.fromkeys([*READS, "outreach"], 200)

    why = {"basis": "request"}
    path = f"/patients/{patient}/erasure"
    assert command(system, "patient-profile", "privacy-officer", "POST", path, why) == 202
    system.settle()
    assert shown(system, patient) == dict.fromkeys([*READS, "outreach"], 404)
    assert found(system) == []
    assert [send(system, body) for body in everything] == [410, 410, 410]

    system.advance(START + timedelta(days=400))
    assert shown(system, patient) == dict.fromkeys([*READS, "outreach"], 404)
    assert command(system, "patient-profile", "privacy-officer", "POST", path, why) == 202
    system.settle()
