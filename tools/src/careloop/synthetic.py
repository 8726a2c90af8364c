"""The four people of the demo and what an EHR would send of them. Names, numbers and dates are made up, and look it."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

FACILITY = "NORTH"
FHIR_SYSTEM = "http://north.example/mrn"
LOINC, ICD10 = "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"
HBA1C, DIABETES = "4548-4", "E11.9"
EHR = "TESTEHR"


@dataclass(frozen=True)
class Person:
    """Someone who does not exist. Phone numbers are from the range that is kept for fiction."""

    number: int
    given: str
    family: str
    born: date
    sex: str
    phone: str
    by_fhir: bool = False

    @property
    def label(self) -> str:
        """What the terminal shows."""
        return f"{self.family} {self.given}"

    @property
    def mrn(self) -> str:
        """The record number at the made-up facility."""
        return f"TEST-{self.number:04}"

    @property
    def token(self) -> str:
        """`system|value` by which the intake knows the person."""
        return f"{FHIR_SYSTEM}|{self.mrn}" if self.by_fhir else f"urn:hl7v2:{FACILITY}|{self.mrn}"


ONE = Person(1, "One", "Testpatient", date(1960, 1, 1), "female", "+12025550141", by_fhir=True)
TWO = Person(2, "Two", "Testpatient", date(1961, 2, 2), "male", "+12025550142")
THREE = Person(3, "Three", "Testpatient", date(1962, 3, 3), "female", "+12025550143")
FOUR = Person(4, "Four", "Testpatient", date(1963, 4, 4), "male", "+12025550144")
PEOPLE = (ONE, TWO, THREE, FOUR)


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _subject(person: Person) -> dict[str, Any]:
    return {"identifier": {"system": FHIR_SYSTEM, "value": person.mrn}}


def fhir_patient(person: Person) -> bytes:
    """A Patient resource."""
    resource = {
        "resourceType": "Patient",
        "identifier": [{"system": FHIR_SYSTEM, "value": person.mrn}],
        "name": [{"use": "official", "family": person.family, "given": [person.given]}],
        "telecom": [{"system": "phone", "use": "mobile", "value": person.phone}],
        "gender": person.sex,
        "birthDate": person.born.isoformat(),
        "managingOrganization": {"identifier": {"system": "http://north.example/org", "value": FACILITY}},
    }
    return json.dumps(resource).encode()


def fhir_diabetes(person: Person) -> bytes:
    """A Condition resource: active type 2 diabetes."""
    status = _coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active")
    resource = {
        "resourceType": "Condition",
        "identifier": [{"system": "http://north.example/problem", "value": f"{person.mrn}-D"}],
        "clinicalStatus": status,
        "code": _coded(ICD10, DIABETES),
        "subject": _subject(person),
    }
    return json.dumps(resource).encode()


def fhir_hba1c(person: Person, day: date, percent: float) -> bytes:
    """An Observation resource: a final HbA1c result of that day."""
    resource = {
        "resourceType": "Observation",
        "identifier": [{"system": "http://north.example/result", "value": f"{person.mrn}-{day:%Y%m%d}"}],
        "status": "final",
        "code": _coded(LOINC, HBA1C),
        "subject": _subject(person),
        "effectiveDateTime": day.isoformat(),
        "valueQuantity": {"value": percent, "unit": "%", "code": "%"},
    }
    return json.dumps(resource).encode()


def hl7_registration(person: Person, at: datetime) -> bytes:
    """ADT A04 with a diagnosis of type 2 diabetes."""
    dg1 = f"DG1|1||{DIABETES}^Type 2 diabetes mellitus without complications^I10C|||F"
    return _message("ADT^A04^ADT_A01", f"{person.mrn}-A", at, [_pid(person), "PV1|1|O", dg1])


def hl7_hba1c(person: Person, day: date, percent: float, at: datetime) -> bytes:
    """ORU R01: a final HbA1c result of that day."""
    obr = f"OBR|1|{person.mrn}-R|{person.mrn}-R|{HBA1C}^Hemoglobin A1c^LN|||{day:%Y%m%d}"
    obx = f"OBX|1|NM|{HBA1C}^Hemoglobin A1c^LN||{percent}|%^percent^UCUM|||||F|||{day:%Y%m%d}"
    return _message("ORU^R01^ORU_R01", f"{person.mrn}-R", at, [_pid(person), obr, obx])


def _message(kind: str, control_id: str, at: datetime, segments: list[str]) -> bytes:
    msh = f"MSH|^~\\&|{EHR}|{FACILITY}|CARELOOP||{at:%Y%m%d%H%M%S}+0000||{kind}|{control_id}|P|2.5.1"
    return "\r".join([msh, *segments, ""]).encode()


def _pid(person: Person) -> str:
    name, born, sex = f"{person.family}^{person.given}", f"{person.born:%Y%m%d}", person.sex[0].upper()
    return f"PID|1||{person.mrn}^^^{FACILITY}^MR||{name}||{born}|{sex}|||||{person.phone}^PRS^CP"
