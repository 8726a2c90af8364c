"""Event classes: the contract between services. Nothing but values lives here.

An event is frozen, names its topic and its versioned type, and is additive only: a field that is added has a default,
anything else is a new class with a new version. Each field says by `Annotated` what its disclosure would mean.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Class(Enum):
    """What it would mean if a field were seen: nothing, a hint beside others, or protected health information."""

    PLAIN = "plain"
    QUASI = "quasi"
    PHI = "phi"


class Event(BaseModel):
    """Something that happened to one patient. `patient_id` is a random UUID, never an MRN, and is the Kafka key."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    topic: ClassVar[str]
    type: ClassVar[str]

    trace: ClassVar[str] = ""
    """The traceparent that this one came with, or is to go out with. It stands beside the payload, never in it."""

    patient_id: Annotated[UUID, Class.PLAIN]

    def traced(self, traceparent: str) -> Self:
        """This event, just made, with its traceparent. Not a field: no part of the schema, and equal without it."""
        self.__dict__["trace"] = traceparent
        return self


def open_enum(values: type[Enum]) -> BeforeValidator:
    """Read an unknown value of an enum as its member `other`: a newer writer must not stop an older reader."""

    known = {member.value for member in values}

    def read(value: object) -> object:
        return value if value is None or isinstance(value, values) or value in known else "other"

    return BeforeValidator(read)


def event_classes(root: type[Event] = Event) -> Iterator[type[Event]]:
    """Every concrete event class that has been imported, by type name."""
    for found in root.__subclasses__():
        if "type" in found.__dict__:
            yield found
        yield from event_classes(found)
