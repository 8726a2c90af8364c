"""Never more messages than a person's budget, over all gaps and channels; what is over it waits and is not lost."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outreach import domain
from outreach.domain.budget import DEFAULT, Budget, next_allowed
from outreach.domain.state import Conversation, Desk, Outcome
from outreach.settings import BudgetSettings
from phi_common.decision import TimePassed
from phi_common.events.care_gap import GapOpened
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.outreach import OutreachScheduled, OutreachSuppressed, Suppression
from phi_common.events.patients import ContactChanged, Phone, Use

P, PERMIT = UUID(int=1), UUID(int=3)
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], 0 * DAY),
        ([-1 * DAY], 0 * DAY),
        ([MOMENT - DAY], MOMENT),
        ([0 * DAY], DAY),
        ([-6 * DAY, -4 * DAY, -2 * DAY], DAY),
        ([-7 * DAY, -4 * DAY, -2 * DAY], 0 * DAY),
        ([-28 * DAY, -20 * DAY, -12 * DAY, -8 * DAY], 2 * DAY),
        ([-30 * DAY, -20 * DAY, -12 * DAY, -8 * DAY], 0 * DAY),
        ([-29 * DAY, -6 * DAY, -3 * DAY, 0 * DAY], DAY),
        ([-3 * DAY, -2 * DAY, -1 * DAY, 0 * DAY], 27 * DAY),
        ([-5 * DAY] * 9, 25 * DAY),
        ([-29 * DAY, -28 * DAY, -20 * DAY, -12 * DAY, -8 * DAY], 2 * DAY),
    ],
    ids=[
        "nothing yet",
        "a day ago",
        "not quite a day ago",
        "just now",
        "three in a week",
        "the first of three a week ago",
        "four in a month",
        "the first of four a month ago",
        "the strictest limit counts",
        "all limits at once",
        "more than there should be",
        "five in a month: two have to be over",
    ],
)
def test_the_next_instant_that_is_free(sent, expected):
    assert next_allowed([NOW + one for one in sent], NOW, DEFAULT) == NOW + expected


def test_the_practice_sets_it(monkeypatch):
    assert BudgetSettings().budget == DEFAULT
    monkeypatch.setenv("OUTREACH_BUDGET_DAY", "2")
    assert BudgetSettings().budget.limits[0] == (DAY, 2)
    monkeypatch.setenv("OUTREACH_BUDGET_DAY", "0")
    with pytest.raises(ValueError, match="day"):
        BudgetSettings()


class Patient:
    """Somebody with both channels open, whose messages go out when the test says so."""

    def __init__(self, budget: Budget = DEFAULT) -> None:
        self.budget, self.now, self.state = budget, NOW, Conversation()
        self.events, self.waiting, self.sent = [], [], []
        phone = Phone(number="+12025550111", use=Use.MOBILE)
        self.take(domain.change_contact(self.state, ContactChanged(patient_id=P, phones=(phone,), zone="UTC"), NOW))
        self.prefers(Channel.SMS, 1)
        self.prefers(Channel.PORTAL, 2)

    def take(self, decided):
        self.waiting += decided.state.desk.handed
        self.state = replace(decided.state, desk=Desk())
        self.events += decided.events

    def prefers(self, channel, version):
        said = PreferenceChanged(
            patient_id=P, channel=channel, permission=Permission.ALLOWED, preferred=True, version=version, since=NOW
        )
        self.take(domain.change_preference(self.state, said, self.now))

    def opens(self, number):
        opened = GapOpened(patient_id=P, gap_id=UUID(int=number), rule="x", rule_version="1", due=date(2026, 3, 2))
        self.take(domain.open_gap(self.state, opened, self.now))

    def passes(self, by=timedelta(0), *outcomes):
        self.now += by
        state = replace(self.state, desk=Desk(outcomes=outcomes))
        self.take(domain.pass_time(state, TimePassed(P), self.now, self.budget))

    def hears(self, state="sent"):
        one = self.waiting.pop(0)
        state, expired = ("failed", True) if self.now > one.send_by else (state, False)
        if state == "sent":
            self.sent.append(self.now)
        reason = {"refused": "no-consent", "failed": "expired" if expired else "rejected"}.get(state)
        self.passes(timedelta(0), Outcome(one.message_id, one.gap_id, state, self.now, reason, PERMIT))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_five_gaps_on_one_day_are_not_five_messages_and_none_is_lost():
    patient = Patient()
    for number in range(10, 15):
        patient.opens(number)
    patient.passes()
    assert len(patient.waiting) == 1
    deferred = patient.of(OutreachSuppressed)
    assert [(e.reason, e.at, e.until) for e in deferred] == [(Suppression.BUDGET, NOW, NOW + DAY)] * 4
    patient.hears()
    for _ in range(300):
        patient.passes(6 * HOUR)
        if patient.waiting:
            patient.hears()
    assert sorted({(e.gap_id.int, e.attempt) for e in patient.of(OutreachScheduled)}) == [
        (number, attempt) for number in range(10, 15) for attempt in (1, 2)
    ]


def test_the_budget_is_one_over_all_channels():
    patient = Patient()
    patient.opens(10)
    patient.passes()
    patient.hears()
    patient.prefers(Channel.SMS, 3)
    patient.opens(11)
    patient.passes(HOUR)
    assert [e.channel for e in patient.of(OutreachScheduled)] == [Channel.PORTAL]
    patient.passes(23 * HOUR)
    assert [e.channel for e in patient.of(OutreachScheduled)] == [Channel.PORTAL, Channel.SMS]


def test_a_day_counts_from_when_the_message_really_went_out():
    patient = Patient()
    patient.opens(10)
    patient.passes()
    patient.passes(4 * HOUR)
    patient.hears()
    patient.opens(11)
    patient.passes(20 * HOUR)
    assert len(patient.of(OutreachScheduled)) == 1
    patient.passes(4 * HOUR)
    assert len(patient.of(OutreachScheduled)) == 2


def test_a_message_that_is_still_on_its_way_may_go_out_any_moment():
    patient = Patient()
    patient.opens(10)
    patient.passes()
    patient.opens(11)
    patient.passes(26 * HOUR)
    assert len(patient.of(OutreachScheduled)) == 1


def test_what_was_held_back_leaves_the_day_free():
    patient = Patient()
    patient.opens(10)
    patient.passes()
    patient.hears("refused")
    patient.opens(11)
    patient.passes(HOUR)
    assert len(patient.of(OutreachScheduled)) == 2


def test_the_wait_ends_within_the_persons_day():
    patient = Patient()
    patient.now = NOW.replace(hour=20, minute=40)
    patient.opens(10)
    patient.passes()
    patient.hears()
    patient.passes(10 * timedelta(minutes=1))
    patient.opens(11)
    patient.passes()
    patient.passes(timedelta(hours=11, minutes=10))
    (deferred,) = patient.of(OutreachSuppressed)
    assert deferred.until == NOW.replace(day=3, hour=20, minute=40)


HISTORY = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(10, 16)),
        st.tuples(st.just("pass"), st.integers(0, 40)),
        st.tuples(st.just("hear"), st.sampled_from(["sent", "sent", "sent", "failed", "refused", "unknown"])),
        st.tuples(st.just("prefer"), st.sampled_from([Channel.SMS, Channel.PORTAL])),
    ),
    max_size=120,
)
BUDGETS = [DEFAULT, Budget(((DAY, 2), (7 * DAY, 3), (30 * DAY, 9))), Budget(((DAY, 1), (7 * DAY, 1), (30 * DAY, 2)))]


@settings(max_examples=400, deadline=None)
@given(HISTORY, st.sampled_from(BUDGETS))
def test_never_more_than_the_budget_in_any_window(history, budget):
    """Whatever opens, and however late a message leaves after it was handed over."""
    patient = Patient(budget)
    for version, (what, value) in enumerate(history, 3):
        match what:
            case "open":
                patient.opens(value)
            case "pass":
                patient.passes(value * HOUR)
            case "prefer":
                patient.prefers(value, version)
            case "hear" if patient.waiting:
                patient.hears(value)
    for length, many in budget.limits:
        for end in patient.sent:
            assert sum(end - length < one <= end for one in patient.sent) <= many
    for event in patient.of(OutreachSuppressed):
        assert event.reason is not Suppression.BUDGET or event.until > event.at
