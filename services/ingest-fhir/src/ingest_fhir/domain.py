"""What a message says, whatever language it was in: about whom, which facts, and how they become events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from phi_common.events import Event
from phi_common.events.clinical import (
    ConditionRecorded,
    ConditionStatus,
    ObservationReceived,
    ObservationStatus,
)
from phi_common.events.patients import PatientReported, Phone, Sex

OUR_ID = "urn:careloop:patient-id"
"""The identifier system of our own patient ids. We alone create them; senders may refer to them."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name that one authority gave to one person or record."""

    system: str
    value: str

    def __str__(self) -> str:
        return f"{self.system}|{self.value}"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an event adds to a statement: whose it is, who said so, in which message; `source_id` blinds its key."""

    patient_id: UUID
    source: str
    message_id: UUID
    source_id: Callable[[str], str]


class Statement(Protocol):
    """One thing that a message says of its patient."""

    def event(self, origin: Origin) -> Event:
        """The event that tells it to the other services."""


@dataclass(frozen=True, slots=True)
class Demographics:
    """Who the person is. `None` was not said; an empty text or tuple says that there is none (any more)."""

    family: str | None = None
    given: str | None = None
    birth_date: str | None = None
    sex: Sex | None = None
    deceased: bool | None = None
    phones: tuple[Phone, ...] | None = None
    emails: tuple[str, ...] | None = None
    language: str | None = None
    postal_code: str | None = None
    facility: str | None = None

    def event(self, origin: Origin) -> PatientReported:
        """The report of this person."""
        said = {name: getattr(self, name) for name in self.__slots__}
        return PatientReported(patient_id=origin.patient_id, source=origin.source, **said)


@dataclass(frozen=True, slots=True)
class Result:
    """A measurement or laboratory result; `key` is what its source calls this very fact."""

    key: str
    system: str
    code: str
    status: ObservationStatus
    effective: str | None = None
    value: str | None = None
    unit: str | None = None

    def event(self, origin: Origin) -> ObservationReceived:
        """The result as an event."""
        return ObservationReceived(
            patient_id=origin.patient_id,
            source=origin.source,
            source_id=origin.source_id(self.key),
            source_message=origin.message_id,
            system=self.system,
            code=self.code,
            status=self.status,
            effective=self.effective,
            value=self.value,
            unit=self.unit,
        )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A diagnosis or problem; `key` is what its source calls this very fact."""

    key: str
    system: str
    code: str
    status: ConditionStatus
    onset: str | None = None
    abatement: str | None = None
    recorded: str | None = None

    def event(self, origin: Origin) -> ConditionRecorded:
        """The diagnosis as an event."""
        return ConditionRecorded(
            patient_id=origin.patient_id,
            source=origin.source,
            source_id=origin.source_id(self.key),
            source_message=origin.message_id,
            system=self.system,
            code=self.code,
            status=self.status,
            onset=self.onset,
            abatement=self.abatement,
            recorded=self.recorded,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """One understood message or resource about one person, with the bytes it came in."""

    kind: str
    source: str
    identifiers: tuple[Identifier, ...]
    """The first one that is known decides who the person is."""
    statements: tuple[Statement, ...]
    raw: bytes
    unless: Identifier | None = None
    """Conditional create: store nothing when a record of this kind with this identifier is there."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that was not understood. It is kept, sealed, with the reason that its sender was given."""

    kind: str
    source: str
    raw: bytes
    problem: str


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a report went: the resource it became, and whether it had been there before."""

    kind: str
    id: UUID
    patient_id: UUID
    existed: bool = False

    @property
    def location(self) -> str:
        """Its address."""
        return f"/fhir/{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told; stored under the request's key and given again for a repeat."""

    status: int
    body: bytes = b""
    location: str = ""


class KeyReused(Exception):
    """The same request key came with another body."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is stored or refused as a whole: one HL7 message or one FHIR request."""

    reports: tuple[Report, ...]
    by: str
    action: str
    answer: Callable[[list[Filed]], Answer]
    request_hash: bytes
    key: str = ""
    """Scope and name of the request; empty when the sender gave none."""
    traceparent: str = ""
