"""When a message goes out, when none may, and when a person takes over."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outreach import domain
from outreach.domain.channels import choose
from outreach.domain.confirmations import confirmation_id
from outreach.domain.hours import within_day
from outreach.domain.state import Conversation, Desk, Outcome, Status, message_id
from phi_common.decision import Decision, TimePassed
from phi_common.events import Event
from phi_common.events.care_gap import ClosedBy, GapClosed, GapOpened
from phi_common.events.consent import Channel, OptOutConfirmationDue, Permission, PreferenceChanged
from phi_common.events.outreach import (
    CoordinatorReviewRequested,
    MessageDelivered,
    MessageFailed,
    MessageSent,
    OptOutConfirmationSent,
    OutreachScheduled,
    OutreachSuppressed,
    ReviewReason,
    Suppression,
)
from phi_common.events.patients import ContactChanged, Phone, ProfileChanged, Use

P, GAP, PERMIT = UUID(int=1), UUID(int=2), UUID(int=3)
ZONE = "America/New_York"
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
MOBILE = Phone(number="+12025550111", use=Use.MOBILE)


class Patient:
    """One conversation with its clock; keeps every event."""

    def __init__(self) -> None:
        self.state, self.now, self.events = Conversation(), NOW, []

    def take(self, decided: Decision[Conversation]) -> list[Event]:
        self.handed = decided.state.desk.handed
        self.withdrawn = decided.state.desk.withdrawn
        self.state = replace(decided.state, desk=Desk())
        self.events += decided.events
        return list(decided.events)

    def contact(self, *phones: Phone, zone: str = ZONE) -> "Patient":
        self.take(domain.change_contact(self.state, ContactChanged(patient_id=P, phones=phones, zone=zone), self.now))
        return self

    def says(self, channel: Channel, permission: Permission, version: int, *, preferred: bool = False) -> "Patient":
        said = PreferenceChanged(
            patient_id=P, channel=channel, permission=permission, preferred=preferred, version=version, since=self.now
        )
        self.take(domain.change_preference(self.state, said, self.now))
        return self

    def allows(self, *channels: Channel) -> "Patient":
        for channel in channels:
            self.says(channel, Permission.ALLOWED, 1)
        return self

    def opens(self, gap: UUID = GAP) -> "Patient":
        opened = GapOpened(patient_id=P, gap_id=gap, rule="hba1c-diabetes", rule_version="1", due=date(2026, 3, 2))
        self.take(domain.open_gap(self.state, opened, self.now))
        return self

    def closes(self, gap: UUID = GAP) -> list[Event]:
        closed = GapClosed(
            patient_id=P, gap_id=gap, rule="hba1c-diabetes", rule_version="1", by=ClosedBy.EVIDENCE, on=date(2026, 3, 2)
        )
        return self.take(domain.close_gap(self.state, closed, self.now))

    def profile(self, *, deceased: bool) -> list[Event]:
        changed = ProfileChanged(patient_id=P, deceased=deceased)
        return self.take(domain.change_profile(self.state, changed, self.now))

    def at(self, now: datetime, *outcomes: Outcome) -> list[Event]:
        self.now = now
        state = replace(self.state, desk=Desk(outcomes=outcomes))
        return self.take(domain.pass_time(state, TimePassed(P), now))

    def hears(self, state: str, number: int = 1, **more: object) -> list[Event]:
        message = message_id(GAP, number)
        return self.at(self.now, Outcome(message, GAP, state, self.now, permit_id=PERMIT, **more))


def day(n: int) -> datetime:
    """Ten in the morning where the patient lives, n days on."""
    return datetime(2026, 3, 2 + n, 10, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_two_messages_fourteen_days_apart_then_a_person():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    (first,) = patient.at(NOW)
    assert isinstance(first, OutreachScheduled)
    assert (first.attempt, first.channel, first.due) == (1, Channel.SMS, NOW)
    assert patient.handed[0].address == MOBILE.number
    assert names(patient.hears("sent")) == ["MessageSent"]
    assert patient.state.due == day(14)
    assert patient.at(day(14) - timedelta(seconds=1)) == []
    assert [e.attempt for e in patient.at(day(14))] == [2]
    patient.hears("sent", 2)
    (review,) = patient.at(datetime(2026, 3, 30, 14, tzinfo=UTC))
    assert isinstance(review, CoordinatorReviewRequested)
    assert review.reason is ReviewReason.NO_RESPONSE
    assert patient.state.due is None
    assert patient.at(NOW + timedelta(days=400)) == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-02T12:59:59", "2026-03-02T13:00:00"),
        ("2026-03-02T13:00:00", "2026-03-02T13:00:00"),
        ("2026-03-03T01:45:00", "2026-03-03T01:45:00"),
        ("2026-03-03T01:45:01", "2026-03-03T13:00:00"),
        ("2026-03-08T04:00:00", "2026-03-08T12:00:00"),
        ("2026-10-31T23:59:00", "2026-10-31T23:59:00"),
        ("2026-11-01T03:00:00", "2026-11-01T13:00:00"),
    ],
    ids=[
        "before eight",
        "at eight",
        "at a quarter to nine",
        "too late",
        "clocks go forward",
        "evening",
        "clocks go back",
    ],
)
def test_the_persons_day(now: str, expected: str):
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert within_day(instant, ZONE) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_sweep_that_comes_at_night_waits_for_the_morning():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    assert patient.at(datetime(2026, 3, 3, 4, tzinfo=UTC)) == []
    assert patient.state.due == datetime(2026, 3, 3, 13, tzinfo=UTC)


def test_nothing_is_judged_before_the_contact_is_known():
    patient = Patient().allows(Channel.SMS).opens()
    assert patient.state.due is None
    assert patient.at(NOW) == []
    assert names(patient.contact(MOBILE).at(NOW)) == ["OutreachScheduled"]


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (lambda p: p.contact(MOBILE), Suppression.NO_CONSENT),
        (lambda p: p.contact(MOBILE).allows(Channel.EMAIL), Suppression.NO_CONSENT),
        (lambda p: p.contact(MOBILE).says(Channel.SMS, Permission.BLOCKED, 1), Suppression.OPTED_OUT),
        (lambda p: p.contact().allows(Channel.SMS), Suppression.NO_ADDRESS),
        (lambda p: p.contact(Phone(number="+12025550112", use=Use.HOME)).allows(Channel.SMS), Suppression.NO_ADDRESS),
    ],
    ids=["no record", "a channel we do not serve", "blocked", "no phone", "landline"],
)
def test_suppressed_once_and_no_review(arrange, reason):
    patient = arrange(Patient()).opens()
    (event,) = patient.at(NOW)
    assert (event.attempt, event.reason) == (1, reason)
    assert patient.state.sequences[GAP].status is Status.SUPPRESSED
    assert patient.at(NOW + timedelta(days=60)) == []


def test_consent_given_later_starts_a_suppressed_sequence():
    patient = Patient().contact(MOBILE).opens()
    patient.at(NOW)
    assert names(patient.allows(Channel.SMS).at(NOW)) == ["OutreachScheduled"]


def test_opted_out_between_attempts_goes_to_a_person():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    patient.hears("sent")
    patient.says(Channel.SMS, Permission.BLOCKED, 2)
    suppressed, review = patient.at(day(14))
    assert (suppressed.attempt, suppressed.reason) == (2, Suppression.OPTED_OUT)
    assert review.reason is ReviewReason.UNREACHABLE
    assert patient.says(Channel.SMS, Permission.ALLOWED, 3).at(day(20)) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(Channel.SMS, False), (Channel.PORTAL, False)], Channel.PORTAL),
        ([(Channel.SMS, True), (Channel.PORTAL, False)], Channel.SMS),
        ([(Channel.PORTAL, True), (Channel.SMS, True)], Channel.SMS),
        ([(Channel.SMS, False)], Channel.SMS),
    ],
    ids=["portal first", "preferred", "last preferred wins", "the only one"],
)
def test_choice_of_channel(said, expected):
    patient = Patient().contact(MOBILE)
    for version, (channel, preferred) in enumerate(said, 1):
        patient.says(channel, Permission.ALLOWED, version, preferred=preferred)
    assert choose(patient.state) is expected


def test_an_older_preference_changes_nothing():
    patient = (
        Patient().contact(MOBILE).says(Channel.SMS, Permission.BLOCKED, 5).says(Channel.SMS, Permission.ALLOWED, 4)
    )
    assert patient.state.preferences[Channel.SMS].permission is Permission.BLOCKED


def test_closing_calls_back_what_is_unsent():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    assert patient.closes() == []
    assert patient.withdrawn == (message_id(GAP, 1),)
    (event,) = patient.hears("cancelled")
    assert event.reason is Suppression.GAP_CLOSED
    assert patient.state.due is None


def test_closing_too_late_tells_what_happened():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    patient.closes()
    assert names(patient.hears("sent")) == ["MessageSent"]
    assert patient.at(NOW + timedelta(days=60)) == []


def test_a_death_ends_everything_and_its_correction_resumes():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    (event,) = patient.profile(deceased=True)
    assert event.reason is Suppression.DECEASED
    assert patient.at(day(14)) == []
    patient.profile(deceased=False)
    assert names(patient.at(day(14))) == ["OutreachScheduled"]


def test_a_death_after_both_attempts_asks_nobody():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW), patient.hears("sent"), patient.at(day(14)), patient.hears("sent", 2)
    assert patient.profile(deceased=True) == []
    assert patient.at(NOW + timedelta(days=40)) == []


@pytest.mark.parametrize(
    ("outcome", "expected", "reason"),
    [
        ({"state": "failed", "reason": "rejected"}, ["MessageFailed"], ReviewReason.UNREACHABLE),
        ({"state": "failed", "reason": "expired"}, ["MessageFailed"], ReviewReason.UNREACHABLE),
        ({"state": "unknown", "reason": "unknown-outcome"}, ["MessageFailed"], ReviewReason.UNKNOWN_OUTCOME),
        ({"state": "sent"}, ["MessageSent"], ReviewReason.NO_RESPONSE),
        (
            {"state": "sent", "carrier": "delivered", "carrier_at": NOW},
            ["MessageSent", "MessageDelivered"],
            ReviewReason.NO_RESPONSE,
        ),
        (
            {"state": "sent", "carrier": "undelivered", "carrier_at": NOW},
            ["MessageSent", "MessageFailed"],
            ReviewReason.UNREACHABLE,
        ),
    ],
)
def test_every_outcome_counts_as_an_attempt_and_is_told_once(outcome, expected, reason):
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    assert names(patient.hears(number=1, **outcome)) == expected
    assert patient.hears(number=1, **outcome) == []
    patient.at(day(14))
    patient.hears(number=2, **outcome)
    (review,) = patient.at(NOW + timedelta(days=29))
    assert review.reason is reason


def test_consents_refusal_stops_the_sequence():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    (event,) = patient.hears("refused", reason="opted-out")
    assert event.reason is Suppression.OPTED_OUT
    assert patient.state.sequences[GAP].status is Status.SUPPRESSED


def test_a_new_number_calls_back_the_message_to_the_old_one():
    patient = Patient().contact(MOBILE).allows(Channel.SMS).opens()
    patient.at(NOW)
    patient.contact(Phone(number="+12025550199", use=Use.MOBILE))
    assert patient.withdrawn == (message_id(GAP, 1),)
    assert names(patient.hears("cancelled")) == ["OutreachSuppressed"]
    assert names(patient.at(day(14))) == ["OutreachScheduled"]


OPT_OUT = UUID(int=50)
CONFIRMED = Outcome(confirmation_id(OPT_OUT), None, "sent", NOW, permit_id=PERMIT, optout_id=OPT_OUT)


def test_the_answer_to_a_stop_goes_where_it_came_from_at_once_also_at_night():
    patient = Patient().contact(MOBILE).says(Channel.SMS, Permission.BLOCKED, 2)
    patient.now = datetime(2026, 3, 3, 7, tzinfo=UTC)
    due = OptOutConfirmationDue(patient_id=P, optout_id=OPT_OUT, channel=Channel.SMS, address="+12025550199")
    assert patient.take(domain.confirm_opt_out(patient.state, due, patient.now)) == []
    (handed,) = patient.handed
    assert (handed.address, handed.optout_id, handed.gap_id) == ("+12025550199", OPT_OUT, None)
    assert (handed.due, handed.send_by) == (patient.now, patient.now + timedelta(minutes=5))
    assert handed.message_id == confirmation_id(OPT_OUT)


def test_it_is_told_once_whatever_the_carrier_adds():
    patient = Patient().contact(MOBILE)
    (told,) = patient.at(NOW, CONFIRMED)
    assert isinstance(told, OptOutConfirmationSent)
    assert (told.optout_id, told.permit_id) == (OPT_OUT, PERMIT)
    assert patient.at(NOW, replace(CONFIRMED, carrier="delivered", carrier_at=NOW)) == []


@pytest.mark.parametrize("state", ["failed", "refused", "unknown", "cancelled"])
def test_an_answer_that_did_not_go_out_is_not_told_and_not_tried_again(state):
    patient = Patient().contact(MOBILE)
    assert patient.at(NOW, replace(CONFIRMED, state=state)) == []
    assert patient.handed == ()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 20)),
        st.tuples(st.just("allow"), st.sampled_from([Channel.SMS, Channel.PORTAL])),
        st.tuples(st.just("block"), st.sampled_from([Channel.SMS, Channel.PORTAL])),
        st.tuples(st.just("open"), st.integers(0, 2)),
        st.tuples(st.just("close"), st.integers(0, 2)),
        st.tuples(st.just("die"), st.booleans()),
        st.tuples(st.just("move"), st.sampled_from([(), (MOBILE,)])),
        st.tuples(st.just("hear"), st.sampled_from(["sent", "failed", "refused", "cancelled", "unknown"])),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_never_a_third_message_never_a_closed_channel_never_at_night(steps):
    patient, allowed, waiting = Patient().contact(MOBILE), set(), []
    for version, (what, value) in enumerate(steps, 1):
        seen = len(patient.events)
        match what:
            case "pass":
                patient.at(patient.now + timedelta(days=value, hours=value))
            case "allow":
                patient.says(value, Permission.ALLOWED, version)
                allowed.add(value)
            case "block":
                patient.says(value, Permission.BLOCKED, version)
                allowed.discard(value)
            case "open":
                patient.opens(UUID(int=10 + value))
            case "close":
                patient.closes(UUID(int=10 + value))
            case "die":
                patient.profile(deceased=value)
            case "move":
                patient.contact(*value)
            case "hear" if waiting:
                one = waiting.pop()
                reason = {"failed": "rejected", "refused": "no-consent"}.get(value)
                patient.at(patient.now, Outcome(one.message_id, one.gap_id, value, patient.now, reason, PERMIT))
        waiting += patient.handed
        for event in patient.events[seen:]:
            if isinstance(event, OutreachScheduled):
                local = event.due.astimezone(ZoneInfo(ZONE))
                assert event.channel in allowed
                assert not patient.state.deceased
                assert (8, 0) <= (local.hour, local.minute) <= (20, 45)
                assert event.due < event.send_by
    scheduled = [e for e in patient.events if isinstance(e, OutreachScheduled)]
    assert len({e.message_id for e in scheduled}) == len(scheduled)
    assert all(e.attempt <= 2 for e in patient.events if isinstance(e, OutreachScheduled | OutreachSuppressed))
    reviews = [e.gap_id for e in patient.events if isinstance(e, CoordinatorReviewRequested)]
    assert len(set(reviews)) == len(reviews)
    told = [e.message_id for e in patient.events if isinstance(e, MessageSent)]
    assert len(set(told)) == len(told)
    assert not any(isinstance(e, MessageDelivered | MessageFailed) and e.message_id not in
                   {s.message_id for s in scheduled} for e in patient.events)  # fmt: skip
