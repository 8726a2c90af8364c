"""FHIR by typed decode: what resources say, where broken ones are broken, and agreement with a full model."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from ingest_fhir.domain import OUR_ID, Demographics, Diagnosis, Identifier, Result
from ingest_fhir.fhir import Refusal, understand, understand_bundle
from phi_common.events.clinical import ConditionStatus, ObservationStatus
from phi_common.events.patients import Phone, Sex, Use

SAMPLES = Path(__file__).parents[4] / "shared" / "fhir"
HBA1C = {"coding": [{"system": "urn:local", "code": "A1C"}, {"system": "http://loinc.org", "code": "4548-4"}]}
PATIENT = {
    "resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:mrn", "value": "42"}],
    "name": [{"use": "old", "family": "Doe"}, {"family": "Roe", "given": ["Ada", "B"]}], "gender": "female",
    "birthDate": "1960-06",
    "telecom": [{"system": "phone", "value": "5550100", "use": "mobile"}, {"system": "email", "value": "a@b.org"}],
    "communication": [{"language": {"coding": [{"code": "es"}]}}], "address": [{"postalCode": "10001"}],
    "managingOrganization": {"reference": "Organization/north"}, "deceasedBoolean": False,
}  # fmt: skip
OBSERVATION = {
    "resourceType": "Observation", "id": "o1", "status": "final", "code": HBA1C, "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2026-03-01T10:15:00-05:00", "valueQuantity": {"value": 7.1, "unit": "percent", "code": "%"},
}  # fmt: skip
CONDITION = {
    "resourceType": "Condition", "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]},
    "subject": {"identifier": {"system": "urn:mrn", "value": "42"}}, "onsetDateTime": "2020",
    "clinicalStatus": {"coding": [{"code": "active"}]},
}  # fmt: skip


def raw(resource: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (resource | changes).items() if v is not None}).encode()


def said(data: bytes) -> Any:
    return understand(data, "ehr").statements[0]


def refusal(data: bytes) -> tuple[int, str, str]:
    with pytest.raises(Refusal) as caught:
        understand(data, "ehr")
    return caught.value.status, caught.value.issue.code, caught.value.issue.expression


def test_a_patient_says_who_the_person_is():
    report = understand(raw(PATIENT), "ehr")
    assert report.identifiers == (Identifier("urn:mrn", "42"), Identifier("urn:careloop:source:ehr:Patient", "p1"))
    assert report.statements == (
        Demographics(
            "Roe", "Ada B", "1960-06", Sex.FEMALE, False, (Phone(number="5550100", use=Use.MOBILE),), ("a@b.org",),
            "es", "10001", "north",
        ),
    )  # fmt: skip


def test_what_is_absent_was_not_said():
    found = said(raw({"resourceType": "Patient", "id": "p1"}))
    assert found == Demographics()


def test_nobody_else_gives_our_ids():
    report = understand(raw(PATIENT, identifier=[{"system": OUR_ID, "value": "x"}]), "ehr")
    assert [identifier.value for identifier in report.identifiers] == ["p1"]


@pytest.mark.parametrize(
    ("changes", "value", "unit"),
    [
        ({}, "7.1", "%"),
        ({"valueQuantity": {"value": 7, "comparator": "<", "unit": "percent"}}, "<7", "percent"),
        ({"valueQuantity": {"unit": "%"}}, None, None),
        ({"valueQuantity": None, "valueString": "high"}, "high", None),
        ({"valueQuantity": None, "valueInteger": 3}, "3", None),
        ({"valueQuantity": None, "valueBoolean": True}, "true", None),
        ({"valueQuantity": None, "valueCodeableConcept": {"coding": [{"code": "H", "display": "high"}]}}, "high", None),
        ({"valueQuantity": None}, None, None),
    ],
)
def test_values(changes: dict[str, Any], value: str | None, unit: str | None):
    found = said(raw(OBSERVATION, **changes))
    assert isinstance(found, Result)
    assert (found.system, found.code, found.status) == ("http://loinc.org", "4548-4", ObservationStatus.FINAL)
    assert (found.value, found.unit, found.effective) == (value, unit, "2026-03-01T10:15:00-05:00")


def test_digits_stay_as_sent():
    assert said(raw(OBSERVATION).replace(b"7.1", b"7.100")).value == "7.100"


def test_components_are_results_of_their_own():
    parts = [
        {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueInteger": 1} for code in ("a", "b")
    ]
    found = understand(raw(OBSERVATION, component=parts), "ehr").statements
    assert [part.code for part in found] == ["4548-4", "a", "b"]
    assert len({part.key for part in found}) == 3


@pytest.mark.parametrize(
    ("verification", "clinical", "status"),
    [
        (None, "active", ConditionStatus.ACTIVE), ("confirmed", "resolved", ConditionStatus.RESOLVED),
        ("refuted", "active", ConditionStatus.REFUTED), ("entered-in-error", None, ConditionStatus.ENTERED_IN_ERROR),
        (None, None, ConditionStatus.OTHER),
    ],
)  # fmt: skip
def test_conditions(verification: str | None, clinical: str | None, status: ConditionStatus):
    concept = lambda code: {"coding": [{"code": code}]} if code else None  # noqa: E731
    found = said(raw(CONDITION, verificationStatus=concept(verification), clinicalStatus=concept(clinical)))
    assert isinstance(found, Diagnosis)
    assert (found.code, found.status, found.onset) == ("E11.9", status, "2020")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"reference": "Patient/P1"}, (Identifier(OUR_ID, "p1"), Identifier("urn:careloop:source:ehr:Patient", "P1"))),
        ({"reference": "https://e.org/fhir/Patient/1/_history/2"}, (Identifier("https://e.org/fhir/Patient", "1"),)),
        ({"reference": "Patient?identifier=urn:mrn|42"}, (Identifier("urn:mrn", "42"),)),
        ({"identifier": {"system": "urn:mrn", "value": "42"}}, (Identifier("urn:mrn", "42"),)),
    ],
)
def test_subjects(subject: dict[str, Any], expected: tuple[Identifier, ...]):
    assert understand(raw(OBSERVATION, subject=subject), "ehr").identifiers == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", (400, "structure", "")),
        (b"[]", (422, "structure", "")),
        (b'{"resourceType":"Patient","id":"\xff"}', (400, "structure", "")),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, (400, "structure", "")),
        (raw({"resourceType": "Device"}), (422, "not-supported", "resourceType")),
        (raw(OBSERVATION, status=None), (422, "required", "Observation.status")),
        (raw(OBSERVATION, status="banana"), (422, "code-invalid", "Observation.status")),
        (raw(OBSERVATION, status=1), (422, "structure", "Observation.status")),
        (raw(OBSERVATION, code=None), (422, "required", "Observation.code")),
        (raw(OBSERVATION, code={"text": "x"}), (422, "required", "Observation.code.coding")),
        (raw(OBSERVATION, code={"coding": [{"code": 1}]}), (422, "structure", "Observation.code.coding[0].code")),
        (raw(OBSERVATION, subject=None), (422, "required", "Observation.subject")),
        (raw(OBSERVATION, subject={}), (422, "required", "Observation.subject")),
        (raw(OBSERVATION, subject={"reference": "urn:uuid:x"}), (422, "not-found", "Observation.subject.reference")),
        (raw(OBSERVATION, effectiveDateTime="2026-02-30"), (422, "value", "Observation.effectiveDateTime")),
        (raw(OBSERVATION, effectiveDateTime="2026-02-03T10:15"), (422, "value", "Observation.effectiveDateTime")),
        (raw(OBSERVATION, valueQuantity={"value": "7"}), (422, "structure", "Observation.valueQuantity.value")),
        (raw(CONDITION, clinicalStatus={"coding": [{"code": "x"}]}), (422, "code-invalid", "Condition.clinicalStatus")),
        (raw(PATIENT, gender="banana"), (422, "code-invalid", "Patient.gender")),
        (raw(PATIENT, birthDate="60"), (422, "value", "Patient.birthDate")),
        (raw({"resourceType": "Patient"}), (422, "required", "Patient.identifier")),
    ],
)
def test_broken_resources_are_refused_with_the_path(data: bytes, expected: tuple[int, str, str]):
    assert refusal(data) == expected


@given(st.binary(max_size=80), st.sampled_from([PATIENT, OBSERVATION, CONDITION]), st.integers(0, 400))
def test_no_bytes_raise_anything_else(noise: bytes, resource: dict[str, Any], at: int):
    data = raw(resource)
    for body in (noise, data[:at] + noise + data[at:], data[:at]):
        with suppress(Refusal):
            assert understand(body, "ehr").identifiers


def bundle(*entries: dict[str, Any], type_: str = "transaction") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": type_, "entry": entries}).encode()


def entry(resource: dict[str, Any], full_url: str = "", **request: str) -> dict[str, Any]:
    found = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], **request}}
    return found | ({"fullUrl": full_url} if full_url else {})


def test_a_bundle_resolves_its_own_references_and_keeps_every_resource_s_bytes():
    observation = OBSERVATION | {"subject": {"reference": "urn:uuid:1"}}
    reports = understand_bundle(
        bundle(entry(observation), entry(PATIENT, "urn:uuid:1", ifNoneExist="identifier=urn:mrn|42")), "ehr"
    )
    assert [report.kind for report in reports] == ["Observation", "Patient"]
    assert reports[0].identifiers == reports[1].identifiers
    assert reports[1].unless == Identifier("urn:mrn", "42")
    assert json.loads(reports[0].raw) == observation


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (bundle(type_="batch"), "Bundle.type"),
        (bundle(entry(PATIENT), entry(OBSERVATION | {"status": "x"})), "Bundle.entry[1].resource.Observation.status"),
        (bundle(entry(PATIENT, method="PUT")), "Bundle.entry[0].request.method"),
        (bundle(entry({"resourceType": "Device"})), "Bundle.entry[0].request.url"),
        (bundle(entry(PATIENT, url="Observation")), "Bundle.entry[0].resource.resourceType"),
        (bundle(*[entry(PATIENT)] * 5001), "Bundle.entry"),
        (bundle({"resource": PATIENT}), "Bundle.entry[0].request"),
    ],
)
def test_a_broken_entry_refuses_the_bundle_and_is_named(data: bytes, path: str):
    with pytest.raises(Refusal) as caught:
        understand_bundle(data, "ehr")
    assert caught.value.issue.expression == path


def sample_resources() -> list[dict[str, Any]]:
    """Patients, Observations and Conditions of the samples, at most 400 of each source."""
    found = []
    for folder in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        some: list[dict[str, Any]] = []
        for path in sorted(folder.rglob("*.json")):
            document = json.loads(path.read_bytes())
            entries = document.get("entry", []) if isinstance(document, dict) else []
            some += [each["resource"] for each in entries if "resource" in each] or [document]
        kept = [each for each in some if each.get("resourceType") in ("Patient", "Observation", "Condition")]
        found += kept[:: max(1, len(kept) // 400)]
    return found


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample resources are not beside this clone")
def test_agreement_with_the_full_model():
    """What the full model takes we take, or name our own rule; what both take says the same."""
    ours_alone = {"Observation.code.coding", "Observation.subject", "Condition.code.coding", "Condition.code"}
    taken = 0
    for resource in sample_resources():
        kind = resource["resourceType"]
        try:
            model = get_fhir_model_class(kind).model_validate(resource)
        except ValueError:
            continue
        within = lambda text: (Identifier("urn:bundle", text),) if text.startswith(("urn:", "#")) else None  # noqa: E731
        try:
            report = understand(json.dumps(resource).encode(), "ehr", within=within)
        except Refusal as refused:
            path = refused.issue.expression
            assert path in ours_alone or ".component" in path or path.endswith("subject.reference"), (
                path,
                resource.get("id"),
            )
            continue
        taken += 1
        first = report.statements[0]
        if kind == "Patient":
            assert first.sex is None or first.sex.value == model.gender
            assert first.birth_date == (str(model.birthDate) if model.birthDate else None)
        elif kind == "Observation":
            assert first.status.value == model.status
            assert first.code in {coding.code for coding in model.code.coding}
            if model.valueQuantity is not None and model.valueQuantity.value is not None:
                assert float(first.value.lstrip("<>=")) == float(model.valueQuantity.value)
        else:
            assert first.code in {coding.code for coding in model.code.coding}
    assert taken > 300
