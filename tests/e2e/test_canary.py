"""A canary in each identifier class goes through the whole path, then every file that the system wrote is searched.

Protected health information is nowhere in the clear but with the provider. A leak planted in each place is found.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from careloop.story import START, mllp
from careloop.system import System

pytestmark = pytest.mark.system

CANARIES = {
    "family name": "Zqcanaryfamily",
    "given name": "Zqcanarygiven",
    "record number": "ZQCANARYMRN77",
    "birth date": "1931-07-19",
    "birth date in HL7": "19310719",
    "phone": "2025550177",
    "e-mail": "zqcanary@mail.example",
    "street": "Zqcanarystreet",
    "diagnosis": "E11.3299",
    "result": "7.7731",
}
PROVIDER = ("simulator.jsonl", "simulator.log")
OFFSETS_ONLY = (".index", ".timeindex")
"""Kafka's look-up files: large, empty and without records."""


def spellings(value: str) -> list[bytes]:
    """The value as it could stand in a file."""
    plain = value.encode()
    shifted = [base64.b64encode(b"x" * lead + plain)[4 if lead else 0 : -4] for lead in range(3)]
    return [plain, value.encode("utf-16-le"), plain.hex().encode(), *(part for part in shifted if len(part) > 7)]


def places(system: System) -> Iterator[Path]:
    """Every file of the run: databases and WAL, Kafka segments, OpenBao's storage and audit, logs, spans, anchors."""
    for root in (system.servers.run.data, system.servers.run.folder):
        yield from (path for path in root.rglob("*") if is_searched(path))


def is_searched(path: Path) -> bool:
    """Whether records or texts could be in a file that is ours to keep clean."""
    return path.is_file() and path.name not in PROVIDER and path.suffix not in OFFSETS_ONLY


def hits(paths: Iterator[Path]) -> set[tuple[str, str]]:
    """Which canary was seen in which file."""
    found = set()
    for path in paths:
        content = path.read_bytes()
        for name, value in CANARIES.items():
            if any(spelling in content for spelling in spellings(value)):
                found.add((name, path.name))
    return found


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System.start(START, kind="e2e", trace_ratio=1.0) as started:
        send(started)
        started.settle()
        for name in [program.name for program in started.running]:
            assert started.client(name).get("/metrics").status_code in (200, 404)
        yield started


def send(system: System) -> None:
    """One person by FHIR, one message by HL7 v2, and what must be refused."""
    c = CANARIES
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": "http://canary.example/mrn", "value": c["record number"]}],
        "name": [{"family": c["family name"], "given": [c["given name"]]}],
        "birthDate": c["birth date"],
        "telecom": [
            {"system": "phone", "use": "mobile", "value": "+1" + c["phone"]},
            {"system": "email", "value": c["e-mail"]},
        ],
        "address": [{"line": [c["street"]], "postalCode": "20001"}],
    }
    me = {"identifier": {"system": "http://canary.example/mrn", "value": c["record number"]}}
    coding = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": c["diagnosis"]}]}
    condition = {"resourceType": "Condition", "code": coding, "subject": me}
    value = {"value": float(c["result"]), "unit": "%"}
    observation = {
        "resourceType": "Observation", "status": "final", "subject": me, "effectiveDateTime": "2025-01-20",
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}, "valueQuantity": value,
    }  # fmt: skip
    headers = {"Content-Type": "application/fhir+json"}
    with system.client("ingest-fhir", "interface") as http:
        for resource in (patient, condition, observation):
            assert http.post("/fhir", content=json.dumps(resource), headers=headers).status_code == 201
        broken = json.dumps(patient | {"birthDate": c["family name"]})
        answer = http.post("/fhir", content=broken, headers=headers)
        assert answer.status_code == 422
        assert c["family name"] not in answer.text
    host, _, port = system.urls["mllp"].rpartition("/")[2].partition(":")
    message = (
        f"MSH|^~\\&|CANARY|NORTH|X|X|20260302100000||ADT^A04|canary-1|P|2.5.1\r"
        f"PID|1||{c['record number']}B^^^NORTH^MR||{c['family name']}^{c['given name']}||{c['birth date in HL7']}|F"
        f"|||{c['street']}^^X^DC^20001||{c['phone']}\rDG1|1||{c['diagnosis']}^X^I10\r"
    )
    assert b"MSA|AA|" in mllp((host, int(port)), system.ca_file, message.encode())
    assert b"MSA|A" in mllp((host, int(port)), system.ca_file, message.replace("PID|", "ZID|").encode())


def test_no_canary_is_in_the_clear(system):
    assert hits(places(system)) == set()


@pytest.mark.parametrize("where", ["postgres", "kafka", "openbao", "logs", "spans"])
def test_a_leak_planted_in_each_place_is_found(system, where):
    folder = next(path.parent for path in places(system) if where in path.parts)
    leak = folder / "planted"
    leak.write_bytes(b"\0\1" + base64.b64encode(b"ab" + CANARIES["family name"].encode()) + b"\2")
    try:
        searched = [path for path in places(system) if path == leak]
        assert hits(iter(searched)) == {("family name", "planted")}
    finally:
        leak.unlink()
