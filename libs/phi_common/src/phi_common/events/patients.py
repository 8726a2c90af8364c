"""Who a patient is: as an EHR reports it, and as the golden record has it."""

from datetime import date
from enum import Enum
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict

from phi_common import topics
from phi_common.events import Class, Event, open_enum


class Sex(Enum):
    """Administrative sex as FHIR codes it."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"
    UNKNOWN = "unknown"


class Use(Enum):
    """What a phone number is good for: only `mobile` may get a text."""

    MOBILE = "mobile"
    HOME = "home"
    WORK = "work"
    OTHER = "other"


class Basis(Enum):
    """On what ground a patient was erased. Codes only, and none that tells of a condition or a treatment."""

    REQUEST = "request"
    RETENTION_ENDED = "retention-ended"
    WRONG_PERSON = "wrong-person"
    OTHER = "other"


class Phone(BaseModel):
    """One number, as the source wrote it in `PatientReported`, in E.164 form in `ContactChanged`."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    number: Annotated[str, Class.PHI]
    use: Annotated[Use, Class.PLAIN, open_enum(Use)] = Use.OTHER


class PatientReported(Event):
    """An EHR said who this person is. Absent fields were not said; an empty tuple was."""

    topic: ClassVar = topics.EHR_PATIENTS
    type: ClassVar = "PatientReported.v1"

    source: Annotated[str, Class.PLAIN]
    """The reporting system (HL7 MSH-3/4 or the FHIR client), as configured, not free text."""
    family: Annotated[str | None, Class.PHI] = None
    given: Annotated[str | None, Class.PHI] = None
    birth_date: Annotated[str | None, Class.PHI] = None
    """As recorded, FHIR `date`: year, month or day precision."""
    sex: Annotated[Sex | None, Class.QUASI, open_enum(Sex)] = None
    deceased: Annotated[bool | None, Class.PHI] = None
    phones: Annotated[tuple[Phone, ...] | None, Class.PHI] = None
    emails: Annotated[tuple[str, ...] | None, Class.PHI] = None
    language: Annotated[str | None, Class.QUASI] = None
    """BCP 47, lower case: `en`, `es`."""
    postal_code: Annotated[str | None, Class.PHI] = None
    facility: Annotated[str | None, Class.QUASI] = None


class ProfileChanged(Event):
    """What the rules may know of a person; the whole current value, not a difference."""

    topic: ClassVar = topics.PROFILE_PATIENTS
    type: ClassVar = "ProfileChanged.v1"

    birth_date: Annotated[date | None, Class.PHI] = None
    sex: Annotated[Sex, Class.QUASI, open_enum(Sex)] = Sex.UNKNOWN
    deceased: Annotated[bool, Class.PHI] = False
    facility: Annotated[str | None, Class.QUASI] = None
    zone: Annotated[str, Class.QUASI] = "UTC"
    """IANA zone of the facility."""


class PatientErased(Event):
    """Forget this patient: keys, clear rows and whatever was derived. It may come again, and nothing undoes it."""

    topic: ClassVar = topics.PROFILE_PATIENTS
    type: ClassVar = "PatientErased.v1"

    basis: Annotated[Basis, Class.PLAIN, open_enum(Basis)] = Basis.OTHER


class ContactChanged(Event):
    """How a person can be reached; the whole current value, not a difference. Numbers are E.164, mobile ones first."""

    topic: ClassVar = topics.PROFILE_CONTACTS
    type: ClassVar = "ContactChanged.v1"

    family: Annotated[str | None, Class.PHI] = None
    given: Annotated[str | None, Class.PHI] = None
    phones: Annotated[tuple[Phone, ...], Class.PHI] = ()
    emails: Annotated[tuple[str, ...], Class.PHI] = ()
    language: Annotated[str, Class.QUASI] = "en"
    zone: Annotated[str, Class.QUASI] = "UTC"
    """IANA zone for quiet hours: of the person where known, else of the facility."""
