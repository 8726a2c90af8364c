"""Clinical facts as an EHR recorded them. Times are kept as recorded: FHIR `dateTime` text with its own precision."""

from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

from phi_common import topics
from phi_common.events import Class, Event, open_enum


class ObservationStatus(Enum):
    """FHIR observation-status; only final, amended and corrected count as evidence."""

    REGISTERED = "registered"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"
    OTHER = "other"


class ConditionStatus(Enum):
    """FHIR condition-clinical, with verification `refuted` and `entered-in-error` folded in."""

    ACTIVE = "active"
    RECURRENCE = "recurrence"
    RELAPSE = "relapse"
    INACTIVE = "inactive"
    REMISSION = "remission"
    RESOLVED = "resolved"
    REFUTED = "refuted"
    ENTERED_IN_ERROR = "entered-in-error"
    OTHER = "other"


class Fact(Event):
    """What every clinical fact carries: where it came from, so that a correction replaces and a merge can be undone."""

    source: Annotated[str, Class.PLAIN]
    source_id: Annotated[str, Class.PLAIN]
    """Opaque digest of the source's own identity of this fact; the same fact reported again has the same one."""
    source_message: Annotated[UUID, Class.PLAIN]
    """The kept raw message."""
    system: Annotated[str, Class.PLAIN]
    """Code system URI (LOINC `http://loinc.org`, ICD-10-CM `http://hl7.org/fhir/sid/icd-10-cm`, ...)."""
    code: Annotated[str, Class.PHI]


class ObservationReceived(Fact):
    """A measurement or laboratory result."""

    topic: ClassVar = topics.CLINICAL_FACTS
    type: ClassVar = "ObservationReceived.v1"

    status: Annotated[ObservationStatus, Class.PLAIN, open_enum(ObservationStatus)]
    effective: Annotated[str | None, Class.PHI] = None
    value: Annotated[str | None, Class.PHI] = None
    """Decimal or text, exactly as sent; None when the source gave no value."""
    unit: Annotated[str | None, Class.QUASI] = None


class ConditionRecorded(Fact):
    """A diagnosis or problem."""

    topic: ClassVar = topics.CLINICAL_FACTS
    type: ClassVar = "ConditionRecorded.v1"

    status: Annotated[ConditionStatus, Class.PHI, open_enum(ConditionStatus)]
    onset: Annotated[str | None, Class.PHI] = None
    abatement: Annotated[str | None, Class.PHI] = None
    recorded: Annotated[str | None, Class.PHI] = None
