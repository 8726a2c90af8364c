"""What must be refused: what is wrong with it, the bytes, what the answer has to say. Canaries are in wrong places."""

import json
from dataclasses import dataclass
from typing import Any

from canaries import CANARIES as C

SYSTEM = "http://canary.example/mrn"
SUBJECT = {"identifier": {"system": SYSTEM, "value": C["record number"]}}
OBSERVATION = {
    "resourceType": "Observation", "status": "final", "subject": SUBJECT, "effectiveDateTime": "2025-01-20",
    "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
    "valueQuantity": {"value": float(C["result"]), "unit": "%"},
}  # fmt: skip
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": SYSTEM, "value": C["record number"]}],
    "name": [{"family": C["family name"], "given": [C["given name"]]}],
    "birthDate": C["birth date"],
    "telecom": [
        {"system": "phone", "use": "mobile", "value": "+1" + C["phone"]},
        {"system": "email", "value": C["e-mail"]},
    ],
    "address": [{"line": [C["street"]], "postalCode": "20001"}],
}
BODY = 8 * 1024 * 1024
FRAME = 16 * 1024 * 1024


@dataclass(frozen=True)
class BadBody:
    """A request to the FHIR door, and status, issue code and element of the OperationOutcome."""

    wrong: str
    body: bytes
    status: int
    code: str
    element: str = ""
    path: str = "/fhir"
    headers: tuple[tuple[str, str], ...] = ()


def _raw(resource: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(resource | changes).encode()


def _bundle(resource: dict[str, Any]) -> bytes:
    entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()


BODIES = [
    BadBody("no JSON", b'{"resourceType": "Patient", "name": ' + C["family name"].encode(), 400, "structure"),
    BadBody("not UTF-8", _raw(PATIENT).replace(b"Zqcanarygiven", b"Zqcanarygiven\xff"), 400, "structure"),
    BadBody("nested too deeply", b'{"x":' * 9000 + b'"' + C["street"].encode() + b'"' + b"}" * 9000, 400, "structure"),
    BadBody("too long", b" " * BODY + _raw(PATIENT), 413, "too-long"),
    BadBody("another type", _raw({"resourceType": C["family name"]}), 422, "not-supported", "resourceType"),
    BadBody("type of no door", _raw(PATIENT), 404, "not-supported", path="/fhir/" + C["family name"]),
    BadBody("wrong element type", _raw(OBSERVATION, status=[C["given name"]]), 422, "structure", "Observation.status"),
    BadBody(
        "text for a number", _raw(OBSERVATION, valueQuantity={"value": C["result"]}), 422, "structure",
        "Observation.valueQuantity.value",
    ),
    BadBody("code not known", _raw(PATIENT, gender=C["given name"]), 422, "code-invalid", "Patient.gender"),
    BadBody("no date", _raw(PATIENT, birthDate=C["family name"]), 422, "value", "Patient.birthDate"),
    BadBody("nobody's result", _raw(OBSERVATION, subject={}), 422, "required", "Observation.subject"),
    BadBody(
        "in a Bundle", _bundle(PATIENT | {"gender": C["street"]}), 422, "code-invalid",
        "Bundle.entry[0].resource.Patient.gender",
    ),
    BadBody(
        "condition", _raw(PATIENT), 400, "not-supported", "If-None-Exist",
        headers=(("If-None-Exist", "name=" + C["family name"]),),
    ),
    BadBody("media type", _raw(PATIENT), 415, "not-supported", headers=(("Content-Type", "text/" + C["given name"]),)),
    BadBody("no token", _raw(PATIENT), 401, "login", headers=(("Authorization", "Bearer " + C["family name"]),)),
]  # fmt: skip


@dataclass(frozen=True)
class BadMessage:
    """A message to the MLLP door, and the beginning of MSA and ERR. All but what was not read to its end are kept."""

    wrong: str
    message: bytes
    msa: str
    err: str
    kept: bool = True


def _message(name: str, *segments: str, kind: str = "ADT^A04", version: str = "2.5.1") -> bytes:
    msh = f"MSH|^~\\&|CANARY|NORTH|X|X|20260302100000||{kind}|{name}|P|{version}"
    return "\r".join([msh, *segments, ""]).encode()


PID = f"PID|1||{C['record number']}C^^^NORTH^MR||{C['family name']}^{C['given name']}||{C['birth date in HL7']}|F"
MESSAGES = [
    BadMessage("no message", f"{C['family name']}, please call".encode(), "MSA|AR|", "ERR||MSH^1|100^"),
    BadMessage("unknown type", _message("b1", PID, kind="ZZZ^Z01"), "MSA|AR|b1", "ERR||MSH^1^9|200^"),
    BadMessage("unknown event", _message("b2", PID, kind="ADT^A99"), "MSA|AR|b2", "ERR||MSH^1^9|201^"),
    BadMessage("unknown version", _message("b3", PID, version="3.0"), "MSA|AR|b3", "ERR||MSH^1^12|203^"),
    BadMessage("no PID", _message("b4", PID.replace("PID", "ZID")), "MSA|AE|b4", "ERR||PID^1|100^"),
    BadMessage("two PID", _message("b5", PID, PID), "MSA|AE|b5", "ERR||PID^2|207^"),
    BadMessage("PID without id", _message("b6", f"PID|1||||{C['family name']}"), "MSA|AE|b6", "ERR||PID^1^3|101^"),
    BadMessage(
        "no date", _message("b7", PID.replace(C["birth date in HL7"], C["street"])), "MSA|AE|b7", "ERR||PID^1^7|102^"
    ),
    BadMessage(
        "other bytes than declared", _message("b8", PID).replace(b"Zqcanarygiven", b"Zqcanarygiven\xff\xfe"),
        "MSA|AE|b8", "ERR||MSH^1^18|102^",
    ),
    BadMessage(
        "batch cut short", b"BHS|^~\\&|CANARY|||||||b9\r" + _message("b9", PID) + b"BTS|2\r",
        "MSA|AE|", "ERR||BTS^1^1|100^",
    ),
    BadMessage("too long", _message("b10", PID) + b"x" * 2 * FRAME, "MSA|AR|b10", "ERR|||207^", kept=False),
]  # fmt: skip
