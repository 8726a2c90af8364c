"""The outreach service's own database, and a patient told by events."""

from collections.abc import Awaitable, Callable
from datetime import date
from uuid import UUID

import pytest

from outreach import consumers
from phi_common.events import Event
from phi_common.events.care_gap import ClosedBy, GapClosed, GapOpened
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ContactChanged, Phone, Use
from phi_common.runtime import Runtime
from phi_common.testing import Clock, clock, record, runtime_fixture

runtime = runtime_fixture("outreach")

__all__ = ["clock", "runtime"]

RULE = "hba1c-diabetes"
DAY = date(2026, 3, 2)
TOPICS = {subscription.topic: subscription for subscription in consumers.SUBSCRIPTIONS}


@pytest.fixture
def tell(runtime: Runtime) -> Callable[..., Awaitable[None]]:
    """Give events to their subscriptions, as Kafka would."""

    async def tell(*events: Event) -> None:
        for event in events:
            await TOPICS[event.topic].handle(runtime, [record(event)])

    return tell


@pytest.fixture
def sweep(runtime: Runtime, clock: Clock) -> Callable[[], Awaitable[None]]:
    """Let the sweeper take everything that is due now."""

    async def sweep() -> None:
        while await consumers.SWEEPS[0].run(runtime, clock.now()):
            pass

    return sweep


@pytest.fixture
def story() -> Callable[..., list[Event]]:
    """A patient with a mobile number, one allowed channel and an open gap."""

    def story(patient: UUID, gap: UUID, channel: Channel = Channel.SMS, number: str = "+12025550111") -> list[Event]:
        phone = Phone(number=number, use=Use.MOBILE)
        return [
            ContactChanged(patient_id=patient, phones=(phone,), zone="America/New_York"),
            PreferenceChanged(
                patient_id=patient, channel=channel, permission=Permission.ALLOWED, version=1, since="2026-03-01T00:00Z"
            ),
            GapOpened(patient_id=patient, gap_id=gap, rule=RULE, rule_version="1", due=DAY),
        ]

    return story


@pytest.fixture
def closed() -> Callable[[UUID, UUID], Event]:
    """The end of a gap."""

    def closed(patient: UUID, gap: UUID) -> Event:
        return GapClosed(patient_id=patient, gap_id=gap, rule=RULE, rule_version="1", by=ClosedBy.EVIDENCE, on=DAY)

    return closed
