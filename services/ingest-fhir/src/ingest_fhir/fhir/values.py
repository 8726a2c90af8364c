"""Dates, codings, references and identifiers of FHIR as this service's values."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from ingest_fhir.domain import OUR_ID, Identifier
from ingest_fhir.fhir.outcome import Refusal
from ingest_fhir.fhir.resources import BusinessIdentifier, CodeableConcept, Reference

LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"
CONDITIONAL = "Patient?identifier="

DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
DATE_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII)
FRACTION = re.compile(r"\.\d+")

Within = Callable[[str], tuple[Identifier, ...] | None]


def checked_time(text: str | None, expression: str, pattern: re.Pattern[str] = DATE_TIME) -> str | None:
    """The text when it is a real FHIR date(Time), as sent."""
    if text is None:
        return None
    if not pattern.fullmatch(text) or not _exists(text):
        raise Refusal(422, "value", "not a FHIR date or dateTime", expression)
    return text


def _exists(text: str) -> bool:
    whole = FRACTION.sub("", text) if len(text) >= 10 else (text + "-01-01")[:10] if len(text) == 4 else text + "-01"
    try:
        datetime.fromisoformat(whole)
    except ValueError:
        return False
    return True


def preferred(concept: CodeableConcept, systems: Sequence[str], expression: str) -> tuple[str, str]:
    """System and code: of the first of `systems` that is there, else of the first complete coding."""
    found = {coding.system: coding.code for coding in reversed(concept.coding) if coding.system and coding.code}
    for system in systems:
        if system in found:
            return system, found[system]
    if not found:
        raise Refusal(422, "required", "a coding with system and code is needed", f"{expression}.coding")
    return next(reversed(found.items()))


def code_of(concept: CodeableConcept | None) -> str:
    """The first code of a concept with one coding system, as a status is."""
    return next((coding.code for coding in concept.coding if coding.code), "") if concept else ""


def identifiers_in(found: Sequence[BusinessIdentifier]) -> tuple[Identifier, ...]:
    """Complete identifiers; ours cannot be given by others."""
    return tuple(
        Identifier(each.system, each.value) for each in found if each.system and each.value and each.system != OUR_ID
    )


def subject_of(subject: Reference, source: str, within: Within, expression: str) -> tuple[Identifier, ...]:
    """Whom a reference means: a Bundle entry, our own id, the source's id, or a business identifier."""
    text = subject.reference or ""
    if text and (entry := within(text)):
        return entry
    if text.startswith(CONDITIONAL):
        return (token(text.removeprefix(CONDITIONAL), f"{expression}.reference"),)
    if text.startswith("Patient/") and text.count("/") == 1 and len(text) > 8:
        own = text.removeprefix("Patient/")
        return Identifier(OUR_ID, own.lower()), logical(source, own)
    if text.startswith(("http://", "https://")) and "/Patient/" in text:
        return (absolute(text),)
    if text:
        raise Refusal(422, "not-found", "reference is to no Patient that can be found", f"{expression}.reference")
    if subject.identifier and (named := identifiers_in([subject.identifier])):
        return named
    raise Refusal(422, "required", "a reference or an identifier with system and value is needed", expression)


def logical(source: str, id_: str) -> Identifier:
    """The id that a source gives to its own Patient resource."""
    return Identifier(f"urn:careloop:source:{source}:Patient", id_)


def absolute(url: str) -> Identifier:
    """The address of a Patient on another server, whatever version of it."""
    base, _, rest = url.rpartition("/Patient/")
    return Identifier(f"{base}/Patient", rest.split("/")[0])


def token(text: str, expression: str) -> Identifier:
    """`system|value` of a search or condition."""
    system, _, value = text.partition("|")
    if not system or not value:
        raise Refusal(400, "value", "expected system|value", expression)
    return Identifier(system, value)
