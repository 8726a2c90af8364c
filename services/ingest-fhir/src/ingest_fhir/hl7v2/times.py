"""HL7 timestamps as FHIR `dateTime` text: same precision, same offset, nothing invented."""

import re
from datetime import datetime

from ingest_fhir.hl7v2.reader import Segment

TIME = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?P<fraction>\.\d{1,6})?)?)?)?)?)?(?P<offset>[+-]\d{4})?",
    re.ASCII,
)


def fhir_time(segment: Segment, field: int) -> str | None:
    """The field as FHIR text; `None` absent, empty deleted. Without an offset it is local to the facility."""
    value = segment.value(field)
    if not value:
        return value
    text = in_fhir(value)
    if text is None:
        raise segment.problem(field, "102", "not a date or time of the form YYYY[MM[DD[HHMM[SS]]]][+ZZZZ]")
    return text


def in_fhir(value: str) -> str | None:
    """`202603021015-0500` is `2026-03-02T10:15-05:00`; `None` when it is no real instant."""
    found = TIME.fullmatch(value)
    if found is None:
        return None
    part = found.groupdict(default="")
    text = "-".join(filter(None, (part["year"], part["month"], part["day"])))
    if part["hour"]:
        text += f"T{part['hour']}:{part['minute'] or '00'}"
        text += f":{part['second']}{part['fraction']}" if part["second"] else ""
        text += f"{part['offset'][:3]}:{part['offset'][3:]}" if part["offset"] else ""
    try:
        datetime.fromisoformat(text if part["day"] else f"{part['year']}-{part['month'] or '01'}-01")
    except ValueError:
        return None
    return text
