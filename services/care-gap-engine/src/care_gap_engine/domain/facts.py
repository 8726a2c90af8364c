"""Clinical facts as this service keeps them: bitemporal, and replaced by source identity."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from phi_common.events.clinical import ConditionRecorded, ConditionStatus, ObservationReceived
from phi_common.events.clinical import ObservationStatus as Status

OBSERVATION = "observation"
CONDITION = "condition"

RETRACTING = frozenset({Status.ENTERED_IN_ERROR.value, ConditionStatus.REFUTED.value})
CONCLUSIVE = frozenset({Status.FINAL.value, Status.AMENDED.value, Status.CORRECTED.value})
PROVISIONAL = frozenset({Status.REGISTERED.value, Status.PRELIMINARY.value})
PRESENT = frozenset({ConditionStatus.ACTIVE.value, ConditionStatus.RECURRENCE.value, ConditionStatus.RELAPSE.value})


@dataclass(frozen=True, slots=True)
class Fact:
    """What a source said at `recorded` about something true from `effective`.

    It holds until the next report of the same `source` and `source_id`; the history keeps all of them.
    """

    source: str
    source_id: str
    message: UUID
    kind: str
    system: str
    code: str
    status: str
    recorded: datetime
    effective: str | None = None
    ended: str | None = None
    value: str | None = None
    unit: str | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """The source's own name for this fact."""
        return self.source, self.source_id

    @property
    def retracted(self) -> bool:
        """The source took it back: it was never true."""
        return self.status in RETRACTING

    @property
    def is_present_condition(self) -> bool:
        """A diagnosis that its source calls active."""
        return self.kind == CONDITION and self.status in PRESENT

    def replaces(self, other: "Fact") -> bool:
        """A later report replaces an earlier one, but a provisional one does not undo a final one."""
        return not (self.status in PROVISIONAL and other.status in CONCLUSIVE)


def observed(event: ObservationReceived, now: datetime) -> Fact:
    """The fact that a result event tells."""
    return Fact(
        event.source, event.source_id, event.source_message, OBSERVATION, event.system, event.code,
        event.status.value, now, event.effective, None, event.value, event.unit,
    )  # fmt: skip


def diagnosed(event: ConditionRecorded, now: datetime) -> Fact:
    """The fact that a diagnosis event tells."""
    return Fact(
        event.source, event.source_id, event.source_message, CONDITION, event.system, event.code,
        event.status.value, now, event.onset, event.abatement,
    )  # fmt: skip


def day_of(text: str | None, zone: ZoneInfo) -> date | None:
    """The local calendar day of a clinical time as recorded; None where it cannot be read.

    A year or a month stands for its first day: evidence of unsure age counts as the oldest it can be, so that
    care falls due too early rather than too late. A time without an offset is the facility's own.
    """
    if text is None:
        return None
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        if len(text) == 7:
            return date.fromisoformat(text + "-01")
        if len(text) == 4:
            return date(int(text), 1, 1)
        instant = datetime.fromisoformat(text)
        return (instant.astimezone(zone) if instant.tzinfo else instant).date()
    except (ValueError, OverflowError):
        return None
