"""Which care is due, and when that ends."""

from datetime import date
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

from phi_common import topics
from phi_common.events import Class, Event, open_enum


class GapState(Enum):
    """Where a rule stands for a patient."""

    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"
    EXCLUDED = "excluded"
    DUE_SOON = "due-soon"
    OPEN = "open"
    OVERDUE = "overdue"
    CLOSED = "closed"
    OTHER = "other"


class GapEvent(Event):
    """What every gap event carries. `rule` names the service that is due, so it is protected information."""

    gap_id: Annotated[UUID, Class.PLAIN]
    """One episode: a gap that closes and opens again has a new one."""
    rule: Annotated[str, Class.PHI]
    rule_version: Annotated[str, Class.PLAIN]


class GapOpened(GapEvent):
    """A patient is due for something that the protocol or the care plan asks for."""

    topic: ClassVar = topics.GAPS
    type: ClassVar = "GapOpened.v1"

    due: Annotated[date, Class.PHI]
    state: Annotated[GapState, Class.QUASI, open_enum(GapState)] = GapState.OPEN


class GapDueSoon(GapEvent):
    """A patient will be due within the rule's horizon."""

    topic: ClassVar = topics.GAPS
    type: ClassVar = "GapDueSoon.v1"

    due: Annotated[date, Class.PHI]


class ClosedBy(Enum):
    """Why a gap ended."""

    EVIDENCE = "evidence"
    NOT_APPLICABLE = "not-applicable"
    EXCLUDED = "excluded"
    RETRACTED = "retracted"
    OTHER = "other"


class GapClosed(GapEvent):
    """The gap is no more: the service is on record, or the rule no longer applies."""

    topic: ClassVar = topics.GAPS
    type: ClassVar = "GapClosed.v1"

    by: Annotated[ClosedBy, Class.QUASI, open_enum(ClosedBy)]
    on: Annotated[date, Class.PHI]
