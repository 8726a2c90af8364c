"""The shape of a decider: `(state, event, now) -> Decision(state, events)`, pure, one event at a time."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from phi_common.events import Event

State = TypeVar("State")


@dataclass(frozen=True)
class Decision(Generic[State]):
    """What follows from one event: the subject's new state, and what to tell the others."""

    state: State
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Command:
    """Something a person or another program asks of one subject; services derive their own frozen classes."""

    patient_id: UUID


@dataclass(frozen=True)
class TimePassed(Command):
    """A due instant of this subject has come."""


@dataclass(frozen=True)
class DeadLettered(Command):
    """An event of this subject could not be handled and waits as a dead letter."""

    type: str


class Refused(Exception):
    """A decider will not do what a command asks; `reason` is a code for the caller, without patient data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
