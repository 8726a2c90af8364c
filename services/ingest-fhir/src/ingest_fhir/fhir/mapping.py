"""What Patient, Observation and Condition resources say, as the statements of `domain`."""

import hashlib
import re

from ingest_fhir.domain import Demographics, Diagnosis, Identifier, Result
from ingest_fhir.fhir.outcome import Refusal
from ingest_fhir.fhir.resources import (
    BusinessIdentifier,
    Component,
    Condition,
    Observation,
    Patient,
    Period,
    Quantity,
)
from ingest_fhir.fhir.values import (
    DATE,
    ICD10,
    LOINC,
    SNOMED,
    checked_time,
    code_of,
    identifiers_in,
    logical,
    preferred,
)
from phi_common.events.clinical import ConditionStatus, ObservationStatus
from phi_common.events.patients import Phone, Sex, Use

OBSERVED: dict[str, ObservationStatus] = {
    status.value: status for status in ObservationStatus if status is not ObservationStatus.OTHER
}
OBSERVED["unknown"] = ObservationStatus.OTHER
CLINICAL = {status.value: status for status in ConditionStatus if status is not ConditionStatus.OTHER}
SEXES = {sex.value: sex for sex in Sex}
USES = {"mobile": Use.MOBILE, "home": Use.HOME, "work": Use.WORK}
NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def people(patient: Patient, source: str) -> tuple[Identifier, ...]:
    """By which names the person is known: business identifiers first, then the source's own id."""
    named = identifiers_in(patient.identifier)
    if patient.id:
        named += (logical(source, patient.id),)
    if not named:
        raise Refusal(422, "required", "an identifier with system and value, or an id, is needed", "Patient.identifier")
    return named


def demographics(patient: Patient) -> Demographics:
    """Patient as it stands; an absent element was not said."""
    names = [name for name in patient.name if name.use != "old"]
    name = next((name for name in names if name.use == "official"), names[0] if names else None)
    address = next((each for each in patient.address if each.use != "old" and each.postal_code), None)
    phones, emails = contacts(patient)
    return Demographics(
        family=name.family if name else None,
        given=" ".join(filter(None, name.given)) or None if name else None,
        birth_date=checked_time(patient.birth_date, "Patient.birthDate", DATE),
        sex=sex(patient),
        deceased=deceased(patient),
        phones=phones,
        emails=emails,
        language=language(patient),
        postal_code=address.postal_code if address else None,
        facility=facility(patient),
    )


def sex(patient: Patient) -> Sex | None:
    """Patient.gender, which is administrative sex in FHIR too."""
    if patient.gender is not None and patient.gender not in SEXES:
        raise Refusal(422, "code-invalid", "not a code of administrative-gender", "Patient.gender")
    return SEXES.get(patient.gender) if patient.gender else None


def deceased(patient: Patient) -> bool | None:
    """A date of death is a death."""
    if checked_time(patient.deceased_date_time, "Patient.deceasedDateTime") is not None:
        return True
    return patient.deceased_boolean


def contacts(patient: Patient) -> tuple[tuple[Phone, ...] | None, tuple[str, ...] | None]:
    """Phones and e-mail addresses in use."""
    if patient.telecom is None:
        return None, None
    used = [point for point in patient.telecom if point.value and point.use != "old" and not _ended(point.period)]
    phones = [
        Phone(number=point.value, use=USES.get(point.use or "", Use.OTHER))
        for point in used
        if point.value and point.system in ("phone", "sms")
    ]
    emails = [point.value for point in used if point.value and point.system == "email"]
    return tuple(dict.fromkeys(phones)), tuple(dict.fromkeys(emails))


def _ended(period: Period | None) -> bool:
    return period is not None and period.end is not None


def language(patient: Patient) -> str | None:
    """The preferred language, else the only one."""
    spoken = patient.communication
    chosen = next((each for each in spoken if each.preferred), spoken[0] if len(spoken) == 1 else None)
    return code_of(chosen.language).lower() or None if chosen else None


def facility(patient: Patient) -> str | None:
    """The managing organisation, by identifier, id or name."""
    managing = patient.managing_organization
    if managing is None:
        return None
    if managing.identifier and managing.identifier.value:
        return managing.identifier.value
    return (managing.reference or "").rpartition("/")[2] or managing.display


def source_key(kind: str, source: str, id_: str | None, identifiers: tuple[BusinessIdentifier, ...], raw: bytes) -> str:
    """What the source calls this resource: its identifier, its id there, or else its content."""
    if named := identifiers_in(identifiers):
        return f"{kind}|{named[0]}"
    return f"{kind}|{source}|{id_}" if id_ else f"{kind}|{hashlib.sha256(raw).hexdigest()}"


def results(observation: Observation, source: str, raw: bytes) -> tuple[Result, ...]:
    """An Observation and its components, each a result of its own."""
    status = OBSERVED.get(observation.status)
    if status is None:
        raise Refusal(422, "code-invalid", "not a code of observation-status", "Observation.status")
    effective = effective_of(observation)
    key = source_key("Observation", source, observation.id, observation.identifier, raw)
    found = []
    parts: tuple[Observation | Component, ...] = (observation, *observation.component)
    for at, part in enumerate(parts):
        path = f"Observation.component[{at - 1}]" if at else "Observation"
        system, code = preferred(part.code, (LOINC,), f"{path}.code")
        value, unit = observed(part, path)
        name = f"{key}|{system}|{code}" if at else key
        found.append(Result(name, system, code, status, effective, value, unit))
    return tuple(found)


def effective_of(observation: Observation) -> str | None:
    """When the result was true; of a period its end, or its start while it has none."""
    period = observation.effective_period or Period()
    return (
        checked_time(observation.effective_date_time, "Observation.effectiveDateTime")
        or checked_time(observation.effective_instant, "Observation.effectiveInstant")
        or checked_time(period.end, "Observation.effectivePeriod.end")
        or checked_time(period.start, "Observation.effectivePeriod.start")
    )


def observed(part: Observation | Component, path: str) -> tuple[str | None, str | None]:
    """Value as text, digits as sent, and unit."""
    if part.value_quantity is not None:
        return quantity(part.value_quantity, path)
    if part.value_string is not None:
        return part.value_string, None
    if part.value_integer is not None:
        return str(part.value_integer), None
    if part.value_boolean is not None:
        return str(part.value_boolean).lower(), None
    if concept := part.value_codeable_concept:
        first = next(iter(concept.coding), None)
        return concept.text or (first.display or first.code if first else None), None
    return None, None


def quantity(found: Quantity, path: str) -> tuple[str | None, str | None]:
    """`<5.10` and `mg/dL`: the digits exactly as they were sent."""
    digits = bytes(found.value)
    if not digits:
        return None, None
    if not NUMBER.fullmatch(digits):
        raise Refusal(422, "structure", "expected a number", f"{path}.valueQuantity.value")
    return (found.comparator or "") + digits.decode(), found.code or found.unit


def diagnosis(condition: Condition, source: str, raw: bytes) -> Diagnosis:
    """A Condition; what was refuted or entered in error is so whatever its clinical status says."""
    verification = code_of(condition.verification_status)
    clinical = code_of(condition.clinical_status)
    if clinical and clinical not in CLINICAL:
        raise Refusal(422, "code-invalid", "not a code of condition-clinical", "Condition.clinicalStatus")
    status = CLINICAL[clinical] if clinical else ConditionStatus.OTHER
    if verification in ("refuted", "entered-in-error"):
        status = CLINICAL[verification]
    system, code = preferred(condition.code, (ICD10, SNOMED), "Condition.code")
    onset, abatement = condition.onset_period or Period(), condition.abatement_period or Period()
    return Diagnosis(
        key=source_key("Condition", source, condition.id, condition.identifier, raw),
        system=system,
        code=code,
        status=status,
        onset=checked_time(condition.onset_date_time, "Condition.onsetDateTime")
        or checked_time(onset.start, "Condition.onsetPeriod.start"),
        abatement=checked_time(condition.abatement_date_time, "Condition.abatementDateTime")
        or checked_time(abatement.end, "Condition.abatementPeriod.end"),
        recorded=checked_time(condition.recorded_date, "Condition.recordedDate"),
    )
