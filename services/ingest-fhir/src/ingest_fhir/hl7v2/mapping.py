"""What ADT and ORU messages say of a patient, as the statements of `domain`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingest_fhir.domain import Demographics, Diagnosis, Identifier, Report, Result, Statement
from ingest_fhir.hl7v2.contact import contacts, language
from ingest_fhir.hl7v2.reader import Header, Invalid, Message, Problem, Segment, read
from ingest_fhir.hl7v2.times import fhir_time
from phi_common.events.clinical import ConditionStatus, ObservationStatus
from phi_common.events.patients import Sex

ADMISSIONS = frozenset({"A01", "A04", "A08", "A28", "A31"})
VERSION = re.compile(r"2\.[1-8](\.[0-9])?")
SYSTEMS = {
    "LN": "http://loinc.org",
    "LOINC": "http://loinc.org",
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "I10": "http://hl7.org/fhir/sid/icd-10-cm",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD10": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD-10": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD-10-CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "SCT": "http://snomed.info/sct",
}
STATUS = {
    "F": ObservationStatus.FINAL,
    "U": ObservationStatus.FINAL,
    "C": ObservationStatus.CORRECTED,
    "A": ObservationStatus.AMENDED,
    "P": ObservationStatus.PRELIMINARY,
    "R": ObservationStatus.PRELIMINARY,
    "D": ObservationStatus.ENTERED_IN_ERROR,
    "W": ObservationStatus.ENTERED_IN_ERROR,
    "X": ObservationStatus.CANCELLED,
    **dict.fromkeys(("I", "O", "S"), ObservationStatus.REGISTERED),
}
SEX = {
    "F": Sex.FEMALE,
    "M": Sex.MALE,
    "O": Sex.OTHER,
    "A": Sex.OTHER,
    "U": Sex.UNKNOWN,
    "N": Sex.UNKNOWN,
    "": Sex.UNKNOWN,
}
NOT_A_PERSON = frozenset({"AN", "VN"})
"""Account and visit numbers stand in PID-3 too, and name a stay, not a person."""


@dataclass(frozen=True)
class Interface:
    """What was agreed with the senders: names of sources and facilities by what MSH-3 and MSH-4 say."""

    charset: str = "utf-8"
    sources: Mapping[str, str] = field(default_factory=dict)
    """`application|facility` to the name of a source."""
    facilities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of the bytes: always a header to answer to, and either a report or a problem."""

    header: Header
    source: str
    report: Report | None = None
    problem: Problem | None = None


def understand(data: bytes, interface: Interface) -> Heard:
    """The report in these bytes, or the problem that its sender has to know. Never raises on any bytes."""
    header, source = None, "hl7v2"
    try:
        message = read(data, interface.charset)
        header = message.header
        source = interface.sources.get(f"{header.application}|{header.facility}", source)
        return Heard(header, source, report=_report(message, data, source, interface))
    except Invalid as invalid:
        return Heard(header or _salvaged(data), source, problem=invalid.problem)


def _salvaged(data: bytes) -> Header:
    """What MSH says in bytes that cannot all be read: its sender wants to know which message it was."""
    line = re.split(rb"[\r\n]", data, maxsplit=1)[0]
    try:
        return read(line.decode("ascii", "replace").encode("ascii", "replace")).header
    except Invalid:
        return Header()


def _report(message: Message, data: bytes, source: str, interface: Interface) -> Report:
    header, msh = message.header, message.segments[0]
    if header.version and not VERSION.match(header.version):
        raise msh.problem(12, "203", "version is not one of 2.1 to 2.8", reject=True)
    if not header.type:
        raise msh.problem(9, "101", "message type is missing", reject=True)
    if header.type not in ("ADT", "ORU"):
        raise msh.problem(9, "200", "message type is not ADT or ORU", reject=True)
    if header.trigger not in (ADMISSIONS if header.type == "ADT" else {"R01"}):
        raise msh.problem(9, "201", "trigger event is not taken on this interface", reject=True)
    people = list(message.all("PID"))
    if not people:
        raise Invalid(Problem("100", "segment is missing: whose message is this?", "PID"))
    if len(people) > 1:
        raise people[1].problem(0, "207", "more than one patient in one message")
    pid = people[0]
    identifiers = identifiers_of(pid, header)
    statements: list[Statement] = []
    if header.type == "ADT":
        statements.append(demographics(pid, interface.facilities.get(header.facility, header.facility)))
        statements += diagnoses(message, identifiers[0])
    else:
        statements += results(message, identifiers[0])
    return Report(f"{header.type}^{header.trigger}", source, identifiers, tuple(statements), data)


def identifiers_of(pid: Segment, header: Header) -> tuple[Identifier, ...]:
    """Every PID-3 repetition that names a person, under its own authority, else the sending facility."""
    found = []
    for repetition in pid.repetitions(3):
        value = pid.part(repetition)
        if value and pid.part(repetition, 5).upper() not in NOT_A_PERSON:
            universal, kind = pid.part(repetition, 4, 2), pid.part(repetition, 4, 3).upper()
            authority = pid.part(repetition, 4) or universal or header.facility
            if not authority:
                continue
            system = f"urn:oid:{universal}" if universal and kind == "ISO" else f"urn:hl7v2:{authority}"
            found.append(Identifier(system, value))
    if not found:
        raise pid.problem(3, "101", "no patient identifier with an assigning authority")
    return tuple(dict.fromkeys(found))


def demographics(pid: Segment, facility: str) -> Demographics:
    """PID as it stands; what it does not say stays unsaid."""
    sex = pid.value(8)
    birth = fhir_time(pid, 7)
    phones, emails = contacts(pid)
    return Demographics(
        family=pid.value(5),
        given=pid.value(5, 2) if pid.raw(5) else None,
        birth_date=birth[:10] if birth is not None else None,
        sex=None if sex is None else SEX.get(sex.upper()[:1], Sex.OTHER),
        deceased=deceased(pid),
        phones=phones,
        emails=emails,
        language=language(pid),
        postal_code=pid.value(11, 5),
        facility=facility or None,
    )


def deceased(pid: Segment) -> bool | None:
    """PID-30 and PID-29. A date outweighs an `N`: nobody is contacted while the record contradicts itself."""
    flag = pid.value(30)
    if pid.value(29):
        return True
    if flag is None:
        return None
    return True if flag.upper() in ("Y", "YES") else False if flag.upper() in ("N", "NO", "") else None


def coded(segment: Segment, position: int, method: str = "") -> tuple[str, str] | None:
    """System and code of a CE/CWE: the coding with a known system first, else the primary one."""
    text = next(iter(segment.repetitions(position)), "")
    choices = []
    for at in (1, 4):
        code, name = segment.part(text, at), segment.part(text, at + 2) or method
        if code and name:
            choices.append((SYSTEMS.get(name.upper(), f"urn:hl7v2:{name}"), code))
    known = [choice for choice in choices if choice[0] in SYSTEMS.values()]
    return next(iter(known or choices), None)


def diagnoses(message: Message, person: Identifier) -> Iterator[Diagnosis]:
    """Every coded DG1."""
    for dg1 in message.all("DG1"):
        coding = coded(dg1, 3, method=dg1.value(2) or "")
        if coding is None:
            continue
        onset = fhir_time(dg1, 5)
        removed = (dg1.value(21) or "").upper() == "D"
        yield Diagnosis(
            key="|".join(("DG1", str(person), dg1.value(20) or "|".join((*coding, onset or "")))),
            system=coding[0],
            code=coding[1],
            status=ConditionStatus.ENTERED_IN_ERROR if removed else ConditionStatus.ACTIVE,
            onset=onset or None,
        )


def results(message: Message, person: Identifier) -> Iterator[Result]:
    """Every coded OBX, each read with the OBR that it stands under."""
    obr: Segment | None = None
    for segment in message.segments:
        if segment.name == "OBR":
            obr = segment
        elif segment.name == "OBX":
            coding = coded(segment, 3)
            if coding is not None:
                yield result(segment, obr, coding, message.header, person)


def result(obx: Segment, obr: Segment | None, coding: tuple[str, str], header: Header, person: Identifier) -> Result:
    """One OBX, known by filler order, code, sub-id and time, so that a correction replaces it."""
    effective = fhir_time(obx, 14) or (fhir_time(obr, 7) if obr else None) or None
    order = (obr.value(3) or obr.value(2) or "") if obr else ""
    owner = f"{header.application}|{header.facility}|{order}" if order else str(person)
    status = (obx.value(11) or (obr.value(25) if obr else "") or "").upper()
    return Result(
        key="|".join(("OBX", owner, *coding, obx.value(4) or "", effective or "")),
        system=coding[0],
        code=coding[1],
        status=STATUS.get(status, ObservationStatus.OTHER),
        effective=effective,
        value=observed(obx) or None,
        unit=obx.value(6) or None,
    )


def observed(obx: Segment) -> str:
    """OBX-5 as decimal or text, as sent; documents and images stay in the raw message."""
    kind = (obx.value(2) or "").upper()
    if kind in ("ED", "RP"):
        return ""
    values = []
    for repetition in obx.repetitions(5):
        parts = [obx.part(repetition, n) for n in range(1, len(obx.components(repetition)) + 1)]
        if kind in ("CE", "CWE", "CF", "CNE"):
            values.append((parts[1] if len(parts) > 1 else "") or parts[0])
        elif kind == "SN":
            values.append("".join(parts))
        else:
            values.append(parts[0] if len(parts) == 1 else obx.delimiters.component.join(parts))
    return "\n".join(values)
