"""The deciders: every rule of the house about gaps, as tables and as properties."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_gap_engine.domain.chart import Chart
from care_gap_engine.domain.decide import LIVE
from care_gap_engine.domain.explain import explain
from care_gap_engine.domain.rules import add_months
from care_gap_engine.packs import PROTOCOLS
from phi_common.decision import DeadLettered, TimePassed
from phi_common.events import Event
from phi_common.events.care_gap import ClosedBy, GapClosed, GapDueSoon, GapOpened, GapState
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.events.patients import ProfileChanged

LOINC, ICD = "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"
PATIENT = UUID("8f14e45f-ceea-467f-9575-7f2b5f1f3c11")
MESSAGE = UUID("0193a0c0-0000-7000-8000-000000000001")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TODAY = NOW.date()
RULE = PROTOCOLS.rules[0]
numbers = count()


def diabetes(
    code: str = "E11.9", status: str = "active", source_id: str | None = None, **more: str
) -> ConditionRecorded:
    return ConditionRecorded(
        patient_id=PATIENT, source="ehr", source_id=source_id or f"dx-{next(numbers)}",
        source_message=MESSAGE, system=ICD, code=code, status=status, **more,
    )  # fmt: skip


def result(on: date | str | None, source_id: str | None = None, **more: str | None) -> ObservationReceived:
    said = {"system": LOINC, "code": "4548-4", "status": "final", "value": "7.1", "unit": "%"} | more
    return ObservationReceived(
        patient_id=PATIENT, source="ehr", source_id=source_id or f"obs-{next(numbers)}",
        source_message=MESSAGE, effective=on.isoformat() if isinstance(on, date) else on, **said,
    )  # fmt: skip


def profile(**more: object) -> ProfileChanged:
    return ProfileChanged(patient_id=PATIENT, **more)


def after(
    *messages: Event | TimePassed | DeadLettered, chart: Chart | None = None, now: datetime = NOW
) -> tuple[Chart, list[Event]]:
    """The chart after some messages, and all that was told."""
    deciders = {
        ConditionRecorded: PROTOCOLS.diagnose, ObservationReceived: PROTOCOLS.observe,
        ProfileChanged: PROTOCOLS.change_profile, TimePassed: PROTOCOLS.pass_time,
        DeadLettered: PROTOCOLS.doubt,
    }  # fmt: skip
    chart, told = chart or Chart(PATIENT), []
    for message in messages:
        decision = deciders[type(message)](chart, message, now)
        chart = decision.state
        told += decision.events
    return chart, told


def state(chart: Chart) -> GapState:
    return chart.gap(RULE.id).state


def kinds(events: Sequence[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], GapState.NOT_APPLICABLE),
        ([result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes()], GapState.UNKNOWN),
        ([diabetes(), result(ago(10))], GapState.CLOSED),
        ([diabetes(), result("2025-09-02")], GapState.OPEN),
        ([diabetes(), result("2025-09-03")], GapState.DUE_SOON),
        ([diabetes(), result("2025-09-01")], GapState.OVERDUE),
        ([diabetes(), result("2025-11-01")], GapState.DUE_SOON),
        ([diabetes(), result("2025-11-02")], GapState.CLOSED),
        ([diabetes(), result("2025-11")], GapState.DUE_SOON),
        ([diabetes(), result("2025")], GapState.OVERDUE),
        ([diabetes(), result("2026")], GapState.CLOSED),
        ([diabetes("E08.9"), result(ago(10))], GapState.CLOSED),
        ([diabetes("E139"), result(ago(10))], GapState.CLOSED),
        ([diabetes("O24.419"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes("E11.A"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes("E10.A1"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes("R73.03"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes(status="resolved"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes(status="refuted"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes(status="recurrence"), result(ago(400))], GapState.OVERDUE),
        ([diabetes(abatement="2026-03-02"), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes(abatement="2026-03-03"), result(ago(400))], GapState.OVERDUE),
        ([diabetes(), result(ago(10), value=">14.0")], GapState.CLOSED),
        ([diabetes(), result(ago(10), code="97506-0")], GapState.CLOSED),
        ([diabetes(), result(ago(400)), profile(deceased=True)], GapState.NOT_APPLICABLE),
        ([profile(deceased=True), diabetes(), result(ago(400))], GapState.NOT_APPLICABLE),
        ([diabetes(), result(ago(400)), profile(birth_date=date(1960, 1, 1))], GapState.OVERDUE),
    ],
)  # fmt: skip
def test_state(messages: list[Event], expected: GapState) -> None:
    chart, _ = after(*messages)
    assert state(chart) is expected


NEAR_MISSES = {
    "other code": {"code": "2345-7"},
    "other system": {"system": "urn:local"},
    "preliminary": {"status": "preliminary"},
    "registered": {"status": "registered"},
    "cancelled": {"status": "cancelled"},
    "entered in error": {"status": "entered-in-error"},
    "unknown status": {"status": "brand-new"},
    "no value": {"value": None},
    "not a number": {"value": "pending"},
    "empty": {"value": ""},
    "no date": {"on": None},
    "unreadable date": {"on": "2026-02-30"},
    "tomorrow": {"on": "2026-03-03"},
    "one day outside": {"on": "2025-09-01"},
}


@pytest.mark.parametrize("change", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_near_misses_do_not_close(change: dict[str, str | None]) -> None:
    chart, _ = after(diabetes(), result(ago(400)))
    chart, told = after(result(**({"on": ago(10)} | change)), chart=chart)
    assert state(chart) is GapState.OVERDUE
    assert told == []
    alone, _ = after(diabetes(), result(**({"on": ago(10)} | change)))
    assert state(alone) in (GapState.UNKNOWN, GapState.OVERDUE)


def test_an_old_result_opens_exactly_one_gap() -> None:
    chart, told = after(
        diabetes(), result("2025-01-26"), diabetes(), result("2025-01-20"), TimePassed(PATIENT), profile()
    )
    assert [(type(one), one.due, one.state) for one in told] == [(GapOpened, date(2025, 7, 26), GapState.OVERDUE)]
    assert chart.next_change is None


def test_unknown_tells_nobody() -> None:
    assert after(diabetes(), profile(), TimePassed(PATIENT))[1] == []


def test_a_year_of_one_patient() -> None:
    chart, told = after(profile(zone="America/New_York"), diabetes(), result("2026-03-01"))
    assert (told, state(chart)) == ([], GapState.CLOSED)
    assert chart.next_change == datetime(2026, 7, 3, 4, tzinfo=UTC)
    chart, told = after(TimePassed(PATIENT), chart=chart, now=chart.next_change - timedelta(seconds=1))
    assert (told, state(chart)) == ([], GapState.CLOSED)
    chart, told = after(TimePassed(PATIENT), chart=chart, now=chart.next_change)
    assert kinds(told) == [GapDueSoon]
    soon = told[0].gap_id
    assert chart.next_change == datetime(2026, 9, 1, 4, tzinfo=UTC)
    chart, told = after(TimePassed(PATIENT), TimePassed(PATIENT), chart=chart, now=chart.next_change)
    assert [(type(one), one.gap_id, one.due) for one in told] == [(GapOpened, soon, date(2026, 9, 1))]
    chart, told = after(TimePassed(PATIENT), chart=chart, now=chart.next_change)
    assert (told, state(chart), chart.next_change) == ([], GapState.OVERDUE, None)
    chart, told = after(result("2026-09-20"), chart=chart, now=datetime(2026, 9, 21, 12, tzinfo=UTC))
    assert [(type(one), one.gap_id, one.by, one.on) for one in told] == [
        (GapClosed, soon, ClosedBy.EVIDENCE, date(2026, 9, 20))
    ]
    chart, told = after(TimePassed(PATIENT), chart=chart, now=datetime(2027, 4, 1, tzinfo=UTC))
    assert kinds(told) == [GapOpened]
    assert told[0].gap_id != soon


def test_a_retracted_result_opens_a_new_episode() -> None:
    chart, first = after(diabetes(), result(ago(400)), result(ago(10), "mine"))
    assert kinds(first) == [GapOpened, GapClosed]
    chart, again = after(result(ago(10), "mine", status="entered-in-error"), chart=chart)
    assert kinds(again) == [GapOpened]
    assert again[0].gap_id != first[0].gap_id
    assert [fact.status for fact in chart.news] == ["active", "final", "final", "entered-in-error"]
    assert len(chart.facts) == 2


def test_a_retracted_only_result_leaves_unknown_and_ends_the_gap() -> None:
    _, told = after(diabetes(), result(ago(400), "only"), result(ago(400), "only", status="entered-in-error"))
    assert [getattr(one, "by", None) for one in told] == [None, ClosedBy.RETRACTED]


def test_a_retracted_diagnosis_ends_the_gap() -> None:
    _, told = after(diabetes(source_id="dx"), result(ago(400)), diabetes(source_id="dx", status="entered-in-error"))
    assert [getattr(one, "by", None) for one in told] == [None, ClosedBy.NOT_APPLICABLE]


def test_a_diagnosis_corrected_to_something_else_no_longer_counts() -> None:
    chart, _ = after(diabetes(source_id="dx"), result(ago(400)), diabetes("R73.03", source_id="dx"))
    assert state(chart) is GapState.NOT_APPLICABLE


def test_a_late_preliminary_report_does_not_undo_a_final_one() -> None:
    chart, _ = after(diabetes(), result(ago(10), "one"), result(ago(10), "one", status="preliminary"))
    assert state(chart) is GapState.CLOSED


def test_a_final_report_replaces_a_preliminary_one() -> None:
    chart, _ = after(diabetes(), result(ago(10), "one", status="preliminary"), result(ago(10), "one"))
    assert state(chart) is GapState.CLOSED
    assert len(chart.facts) == 2


def test_a_future_result_does_not_count_even_when_its_day_comes() -> None:
    chart, _ = after(diabetes(), result("2026-06-01"))
    assert state(after(TimePassed(PATIENT), chart=chart, now=NOW + timedelta(days=200))[0]) is GapState.UNKNOWN


def test_a_sweep_as_of_an_earlier_day_does_not_see_later_results() -> None:
    chart, _ = after(diabetes(), result(ago(10)))
    assert state(after(TimePassed(PATIENT), chart=chart, now=NOW - timedelta(days=30))[0]) is GapState.UNKNOWN


def test_a_younger_but_old_result_ends_the_episode_when_care_is_only_due_soon() -> None:
    chart, first = after(diabetes(), result(ago(400)))
    _, told = after(result(ago(150)), chart=chart)
    assert kinds(told) == [GapClosed, GapDueSoon]
    assert told[0].gap_id == first[0].gap_id != told[1].gap_id


def test_death_closes_and_a_correction_opens_a_new_episode() -> None:
    chart, told = after(diabetes(), result(ago(400)), profile(deceased=True))
    assert told[-1].by is ClosedBy.NOT_APPLICABLE
    assert (chart.next_change, state(chart)) == (None, GapState.NOT_APPLICABLE)
    _, told = after(profile(deceased=False), chart=chart)
    assert kinds(told) == [GapOpened]


def test_a_fact_that_cannot_be_read_makes_the_state_unknown_until_it_can() -> None:
    chart, told = after(diabetes(), result(ago(400)), DeadLettered(PATIENT, "ObservationReceived.v1"))
    assert (state(chart), told[-1].by) == (GapState.UNKNOWN, ClosedBy.OTHER)
    assert "could not be read" in explain(RULE, chart, "en").reason
    chart, told = after(result(ago(5)), chart=chart)
    assert (state(chart), told) == (GapState.UNKNOWN, [])
    reloaded = Chart(PATIENT, chart.profile, chart.facts, chart.gaps)
    assert state(after(result(ago(3), code="8480-6"), chart=reloaded)[0]) is GapState.CLOSED


def test_an_irrelevant_fact_is_kept_in_the_history_only() -> None:
    chart, told = after(result(ago(3), code="8480-6"))
    assert (chart.facts, chart.gaps, told, len(chart.news)) == ((), (), [], 1)


@pytest.mark.parametrize(
    ("zone", "effective", "expected"),
    [
        ("America/New_York", "2025-09-03T03:30:00Z", GapState.OPEN),
        ("UTC", "2025-09-03T03:30:00Z", GapState.DUE_SOON),
        ("America/New_York", "2025-09-02T23:30:00-04:00", GapState.OPEN),
        ("Asia/Tokyo", "2025-09-01T23:30:00", GapState.OVERDUE),
    ],
)
def test_days_are_those_of_the_facility(zone: str, effective: str, expected: GapState) -> None:
    chart, _ = after(profile(zone=zone), diabetes(), result(effective))
    assert state(chart) is expected


def test_the_day_changes_at_the_facilitys_midnight() -> None:
    messages = (profile(zone="America/New_York"), diabetes(), result("2025-09-02"))
    assert state(after(*messages, now=datetime(2026, 3, 2, 4, 59, tzinfo=UTC))[0]) is GapState.DUE_SOON
    assert state(after(*messages, now=datetime(2026, 3, 2, 5, 0, tzinfo=UTC))[0]) is GapState.OPEN


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2025, 8, 31), 6, date(2026, 2, 28)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2025, 12, 31), 6, date(2026, 6, 30)),
        (date(2025, 6, 15), 6, date(2025, 12, 15)),
    ],
)
def test_months(day: date, months: int, expected: date) -> None:
    assert add_months(day, months) == expected


def test_explanation_says_what_was_used_and_what_would_close() -> None:
    chart, _ = after(diabetes("E11.65"), result("2025-01-26"))
    english, spanish = explain(RULE, chart, "en"), explain(RULE, chart, "es")
    assert (
        english.reason == "The last HbA1c result is of 2025-01-26. The next one was due on 2025-07-26, 6 months later."
    )
    assert "correspondía el 2025-07-26" in spanish.reason
    assert [one.code for one in english.evidence] == ["E11.65", "4548-4"]
    assert {one.source_message for one in english.evidence} == {MESSAGE}
    assert english.closes
    assert english.missing is None
    unknown = explain(RULE, after(diabetes())[0], "en")
    assert "does not mean that the test was not done" in unknown.reason
    assert unknown.missing


def test_replays_give_the_same_ids() -> None:
    messages = [diabetes(), result(ago(400)), result(ago(10))]
    assert after(*messages) == after(*messages)


days = st.integers(-5, 900).map(ago)
results = st.builds(
    result,
    days,
    st.sampled_from([None, "a", "b"]),
    code=st.sampled_from(["4548-4", "17856-6", "2345-7"]),
    status=st.sampled_from(["final", "corrected", "preliminary", "entered-in-error"]),
    value=st.sampled_from(["7.1", None, "9"]),
)
diagnoses = st.builds(
    diabetes,
    st.sampled_from(["E11.9", "E10.9", "R73.03"]),
    st.sampled_from(["active", "resolved", "refuted"]),
)
profiles = st.builds(profile, deceased=st.booleans(), zone=st.sampled_from(["UTC", "America/New_York"]))
passing = st.just(TimePassed(PATIENT))
histories = st.lists(st.one_of(results, diagnoses, profiles, passing), max_size=12)
unnamed = st.lists(st.one_of(st.builds(result, days, value=st.sampled_from(["7.1", None])), diagnoses), max_size=8)


@given(unnamed.flatmap(lambda facts: st.tuples(st.just(facts), st.permutations(facts))))
def test_the_order_of_facts_does_not_matter(orders: tuple[list[Event], list[Event]]) -> None:
    (one, _), (other, _) = after(*orders[0]), after(*orders[1])
    assert one.facts == other.facts
    assert one.next_change == other.next_change
    mine, others = one.gap(RULE.id), other.gap(RULE.id)
    assert (mine.state, mine.due, mine.evidence) == (others.state, others.due, others.evidence)


@given(histories)
def test_closing_evidence_closes(history: list[Event]) -> None:
    chart, _ = after(*history)
    chart, _ = after(profile(deceased=False), diabetes(), result(ago(1)), chart=chart)
    assert state(chart) is GapState.CLOSED


@given(st.lists(st.tuples(st.one_of(results, diagnoses, profiles, passing), st.integers(0, 120)), max_size=15))
def test_never_two_live_episodes_and_each_opens_once(history: list[tuple[Event, int]]) -> None:
    chart, now, live, opened = Chart(PATIENT), NOW, set(), []
    for message, wait in history:
        now += timedelta(days=wait)
        chart, told = after(message, chart=chart, now=now)
        for event in told:
            if isinstance(event, GapClosed):
                assert event.gap_id in live
                live.remove(event.gap_id)
            else:
                live.add(event.gap_id)
            if isinstance(event, GapOpened):
                opened.append(event.gap_id)
            assert len(live) <= 1
        assert (state(chart) in LIVE) == bool(live)
        assert chart.next_change is None or chart.next_change > now
    assert len(opened) == len(set(opened))


@given(histories)
def test_nobody_dead_has_a_gap(history: list[Event]) -> None:
    chart, _ = after(*history, profile(deceased=True))
    assert state(chart) is GapState.NOT_APPLICABLE
    assert chart.next_change is None
