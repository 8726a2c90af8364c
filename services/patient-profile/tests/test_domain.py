"""The golden record: what a report changes, what it leaves, and what is told."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patient_profile.domain import Golden, Number, Registry, addresses, callable_numbers, e164, full_date
from phi_common.events import Event
from phi_common.events.patients import ContactChanged, PatientReported, Phone, ProfileChanged, Sex, Use

PATIENT = UUID("8f14e45f-ceea-467f-9575-7f2b5f1f3c11")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REGISTRY = Registry({"NORTH": "America/Chicago"}, "America/New_York")


def reported(**said: object) -> PatientReported:
    return PatientReported(patient_id=PATIENT, source="ehr", **said)


def after(*reports: PatientReported) -> tuple[Golden, list[Event]]:
    """The record after some reports, and what the last one told."""
    record, told = Golden(PATIENT), []
    for report in reports:
        decision = REGISTRY.report(record, report, NOW)
        record, told = decision.state, list(decision.events)
    return record, told


def kinds(told: list[Event]) -> list[type[Event]]:
    return [type(event) for event in told]


FULL = reported(
    family="Rivera", given="Ana", birth_date="1961-04-12", sex="female", language="ES", facility="NORTH",
    phones=(Phone(number="(212) 555-0199", use="home"), Phone(number="+1 212 555 0123", use="mobile")),
    emails=("ana@example.org",),
)  # fmt: skip


SAME = (Phone(number="212-555-0123", use="mobile"), Phone(number="2125550199", use="home"))


def test_the_first_report_tells_both() -> None:
    _, told = after(FULL)
    assert told == [
        ProfileChanged(
            patient_id=PATIENT, birth_date=date(1961, 4, 12), sex=Sex.FEMALE, facility="NORTH",
            zone="America/Chicago",
        ),
        ContactChanged(
            patient_id=PATIENT, family="Rivera", given="Ana", emails=("ana@example.org",), language="es",
            zone="America/Chicago",
            phones=(Phone(number="+12125550123", use=Use.MOBILE), Phone(number="+12125550199", use=Use.HOME)),
        ),
    ]  # fmt: skip


def test_an_empty_first_report_tells_the_defaults() -> None:
    _, (profile, contact) = after(reported())
    assert (profile.zone, contact.language, contact.phones) == ("America/New_York", "en", ())


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (FULL, []),
        (reported(), []),
        (reported(family="Rivera-Soto"), [ContactChanged]),
        (reported(sex="unknown"), [ProfileChanged]),
        (reported(deceased=True), [ProfileChanged]),
        (reported(phones=()), [ContactChanged]),
        (reported(phones=SAME), []),
        (reported(facility="SOUTH"), [ProfileChanged, ContactChanged]),
        (reported(postal_code="60601"), []),
    ],
)  # fmt: skip
def test_only_changes_are_told(report: PatientReported, expected: list[type[Event]]) -> None:
    assert kinds(after(FULL, report)[1]) == expected


def test_what_is_not_said_stays() -> None:
    record, _ = after(FULL, reported(given="Anna"))
    assert (record.given, record.family, record.zone) == ("Anna", "Rivera", "America/Chicago")


@pytest.mark.parametrize(("then", "expected"), [(None, True), (True, True), (False, False)])
def test_a_death_stays_until_taken_back(then: bool | None, expected: bool) -> None:
    assert after(reported(deceased=True), reported(deceased=then))[0].deceased is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(212) 555-0123", "+12125550123"),
        ("1-212-555-0123", "+12125550123"),
        ("+44 20 7946 0958", "+442079460958"),
        ("212 555 0123 ext. 4", "+12125550123"),
        ("555-0123", None),
        ("000-000-0000", None),
        ("call my daughter", None),
        ("", None),
    ],
)
def test_e164(text: str, expected: str | None) -> None:
    assert e164(text) == expected


def test_numbers_are_once_mobile_first_and_invalid_ones_counted() -> None:
    found = callable_numbers(
        [
            Phone(number="212-555-0199", use="work"),
            Phone(number="nonsense", use="mobile"),
            Phone(number="2125550123", use="home"),
            Phone(number="+12125550123", use="mobile"),
        ]
    )
    assert found == ((Number("+12125550123", Use.MOBILE), Number("+12125550199", Use.WORK)), 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1961-04-12", date(1961, 4, 12)),
        ("1961-04", None),
        ("1961", None),
        ("1961-02-30", None),
        (None, None),
    ],
)
def test_full_date(text: str | None, expected: date | None) -> None:
    assert full_date(text) == expected


def test_addresses() -> None:
    assert addresses([" a@example.org", "a@example.org", "nobody", "b@example.org"]) == (
        "a@example.org",
        "b@example.org",
    )


reports = st.builds(
    reported,
    family=st.sampled_from([None, "Rivera", "Soto"]),
    sex=st.sampled_from([None, "female", "other"]),
    deceased=st.sampled_from([None, True, False]),
    facility=st.sampled_from([None, "NORTH", "SOUTH"]),
    language=st.sampled_from([None, "es", "en"]),
)


@given(st.lists(reports, min_size=1, max_size=6))
def test_saying_it_again_tells_nothing(history: list[PatientReported]) -> None:
    record, _ = after(*history)
    again, told = after(*history, history[-1])
    assert (again, told) == (record, [])


@given(st.lists(reports, min_size=1, max_size=6))
def test_whoever_follows_the_events_knows_the_record(history: list[PatientReported]) -> None:
    record, known = Golden(PATIENT), {}
    for report in history:
        decision = REGISTRY.report(record, report, NOW)
        record = decision.state
        known |= {type(event): event for event in decision.events}
    assert known == {ProfileChanged: record.profile(), ContactChanged: record.contact()}
