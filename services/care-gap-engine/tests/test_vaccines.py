"""The CDSi logic by table, on the made-up schedule: each rule of evaluation, forecast, selection and joining."""

from datetime import date, timedelta

import pytest

from care_gap_engine import schedules
from care_gap_engine.domain.vaccines.antigens import judge_antigen
from care_gap_engine.domain.vaccines.days import Ages, Watch, add, period
from care_gap_engine.domain.vaccines.forecast import Status, Why
from care_gap_engine.domain.vaccines.forecaster import GroupForecast, GroupOutcome, forecast
from care_gap_engine.domain.vaccines.patient import Aside, Dose, Observation, Person, organize
from care_gap_engine.domain.vaccines.progress import DoseStatus, Reason
from care_gap_engine.domain.vaccines.seasons import seasons_over
from care_gap_engine.domain.vaccines.undecided import undecided

DEMO = schedules.demo()
BORN = date(2024, 6, 1)
ALPHA_A, ALPHA_B, ALPHA_ANY, ALPHA_ADULT = "9001", "9002", "9003", "9004"
BETA_GAMMA, SPRAY, SHOT = "9011", "9021", "9022"


def on(text: str, cvx: str = ALPHA_A, **more: object) -> Dose:
    return Dose(cvx, date.fromisoformat(text), **more)


def outcome(
    group: str, *doses: Dose, as_of: str, born: date = BORN, gender: str = "female",
    observed: tuple[Observation, ...] = (),
) -> GroupOutcome:  # fmt: skip
    found = forecast(DEMO, Person(born, gender), doses, observed, date.fromisoformat(as_of), {group})
    return found.groups[0]


def dates(one: GroupForecast) -> tuple[str | None, ...]:
    return tuple(day.isoformat() if day else None for day in (one.earliest, one.recommended, one.past_due, one.latest))


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        ("2025-01-31", "1 month", "2025-03-01"),
        ("2024-01-31", "1 month", "2024-03-01"),
        ("2024-02-29", "1 year", "2025-03-01"),
        ("2024-02-29", "1 year + 1 month", "2025-04-01"),
        ("2025-08-31", "6 months", "2026-03-01"),
        ("2025-12-15", "12 months - 4 days", "2026-12-11"),
        ("2024-06-01", "16 years - 4 months", "2040-02-01"),
        ("2024-06-01", "7 months + 4 weeks", "2025-01-29"),
        ("2024-06-01", "0 days", "2024-06-01"),
        ("2024-06-01", "9999 years", "2999-12-31"),
    ],
)
def test_periods_add_years_then_months_then_days(start: str, length: str, expected: str) -> None:
    assert date.fromordinal(add(date.fromisoformat(start).toordinal(), period(length))).isoformat() == expected


@pytest.mark.parametrize("text", ["", "soon", "4 weeks 2 days", "4 weeks -", "6 fortnights", "1.5 years"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="period"):
        period(text)


def test_a_watch_announces_the_nearest_day_ahead_only() -> None:
    watch = Watch(100)
    assert watch.reached(100)
    assert not watch.reached(130)
    assert not watch.reached(120)
    assert watch.within(None, 110)
    assert watch.next_change == 110


@pytest.mark.parametrize(
    ("doses", "expected"),
    [
        ([on("2024-07-09")], [(DoseStatus.VALID, Reason.NONE)]),
        ([on("2024-07-08")], [(DoseStatus.NOT_VALID, Reason.TOO_YOUNG)]),
        ([on("2031-06-01")], [(DoseStatus.EXTRANEOUS, Reason.TOO_OLD)]),
        ([on("2024-08-01"), on("2024-08-25")], [(DoseStatus.VALID, Reason.NONE)] * 2),
        (
            [on("2024-08-01"), on("2024-08-24")],
            [(DoseStatus.VALID, Reason.NONE), (DoseStatus.NOT_VALID, Reason.TOO_SOON)],
        ),
        ([on("2024-08-01", "9004")], [(DoseStatus.NOT_VALID, Reason.PRODUCT)]),
        ([on("2024-08-01", ALPHA_ANY)], [(DoseStatus.VALID, Reason.NONE)]),
        ([on("2024-08-01", volume=0.25)], [(DoseStatus.VALID, Reason.LOW_VOLUME)]),
        ([on("2024-08-01", substandard=True)], [(DoseStatus.SUBSTANDARD, Reason.SUBSTANDARD)]),
        ([on("2024-08-01", expired_on=date(2024, 7, 31))], [(DoseStatus.SUBSTANDARD, Reason.SUBSTANDARD)]),
        ([on("2024-08-01", expired_on=date(2024, 8, 1))], [(DoseStatus.VALID, Reason.NONE)]),
        (
            [on("2024-08-01"), on("2024-10-01"), on("2025-06-01"), on("2025-12-01")],
            [(DoseStatus.VALID, Reason.NONE)] * 3 + [(DoseStatus.EXTRANEOUS, Reason.SERIES_COMPLETE)],
        ),
        (
            [on("2024-08-01"), on("2024-10-01"), on("2025-06-01", ALPHA_ADULT)],
            [(DoseStatus.VALID, Reason.NONE)] * 2 + [(DoseStatus.NOT_VALID, Reason.INADVERTENT)],
        ),
    ],
    ids=[
        "in the grace", "a day before the grace", "at the maximum age", "interval in the grace",
        "interval a day too short", "product of another age", "unspecified but allowed", "low volume", "flagged",
        "lot expired", "lot expires today", "one too many", "inadvertent",
    ],
)  # fmt: skip
def test_doses_are_judged_with_their_reason(doses: list[Dose], expected: list[tuple[DoseStatus, Reason]]) -> None:
    found = outcome("Alpha", *doses, as_of="2032-01-01")
    assert [(one.status, one.reason) for one in found.doses] == expected


def test_a_dose_that_is_not_valid_moves_the_next_one_but_an_inadvertent_one_does_not() -> None:
    [early] = outcome("Alpha", on("2024-08-01"), on("2024-08-20"), as_of="2024-09-01").forecasts
    assert dates(early)[0] == "2024-09-17"
    three = [on("2024-08-01"), on("2024-10-01"), on("2025-06-10", ALPHA_ADULT)]
    [inadvertent] = outcome("Alpha", *three, as_of="2025-07-01").forecasts
    assert dates(inadvertent)[0] == "2025-06-10"


def test_an_allowable_interval_serves_where_the_preferable_one_is_missed() -> None:
    doses = [on("2024-08-01"), on("2025-04-15"), on("2025-05-30")]
    found = outcome("Alpha", *doses, as_of="2025-07-01")
    assert [one.status for one in found.doses] == [DoseStatus.VALID] * 3
    assert found.forecasts[0].status is Status.COMPLETE


def test_a_child_without_doses_gets_the_default_series() -> None:
    found = outcome("Alpha", as_of="2024-06-02")
    [one] = found.forecasts
    assert (one.status, one.why, one.dose_number) == (Status.NOT_COMPLETE, Why.DUE, 1)
    assert dates(one) == ("2024-07-13", "2024-08-01", "2024-09-28", "2031-05-31")
    assert [product.cvx for product in one.products] == [ALPHA_A, ALPHA_B]
    assert found.recheck_on == date(2024, 7, 13)


def test_a_late_start_changes_the_series() -> None:
    [one] = outcome("Alpha", on("2025-07-01"), as_of="2025-07-02").forecasts
    assert one.series == ("Alpha late 2-dose series",)
    assert (one.dose_number, *dates(one)) == (2, "2025-08-26", "2025-08-26", "2025-09-29", "2031-05-31")


def test_the_order_is_settled_by_the_schedule_when_two_series_are_in_process() -> None:
    [one] = outcome("Alpha", on("2024-08-01", ALPHA_B, maker="EXB"), as_of="2024-09-01").forecasts
    assert one.series == ("Alpha B 2-dose series",)
    [one] = outcome("Alpha", on("2024-08-01", ALPHA_B), as_of="2024-09-01").forecasts
    assert one.series == ("Alpha 3-dose series",)


@pytest.mark.parametrize(
    ("as_of", "why"),
    [("2031-05-31", Why.DUE), ("2031-06-01", Why.TOO_OLD)],
)
def test_the_maximum_age_ends_a_series(as_of: str, why: Why) -> None:
    [one] = outcome("Alpha", as_of=as_of).forecasts
    assert one.why is why


def test_a_dose_that_cannot_come_in_time_ages_out_early() -> None:
    [one] = outcome("Alpha", on("2031-05-01"), as_of="2031-05-02").forecasts
    assert (one.status, one.why) == (Status.AGED_OUT, Why.NO_TIME_LEFT)


def test_the_skip_is_asked_again_on_the_earliest_day() -> None:
    """On the as-of day the second dose is still wanted; by its earliest day the child is two, and it is not."""
    [one] = outcome("Alpha", on("2024-08-01"), on("2026-05-15", ALPHA_ADULT), as_of="2026-05-16").forecasts
    assert one.dose_number == 2
    assert one.series == ("Alpha 3-dose series",)
    assert dates(one)[0] == "2026-07-10"


@pytest.mark.parametrize(
    ("second", "status", "reason"),
    [
        ("2025-07-24", DoseStatus.NOT_VALID, Reason.CONFLICT),
        ("2025-07-25", DoseStatus.VALID, Reason.NONE),
        ("2025-07-01", DoseStatus.VALID, Reason.NONE),
    ],
)
def test_live_vaccines_keep_their_distance_but_not_on_one_day(second: str, status: DoseStatus, reason: Reason) -> None:
    born = date(2023, 1, 1)
    found = outcome("Beta/Gamma", on("2025-07-01", SPRAY), on(second, BETA_GAMMA), as_of="2025-12-01", born=born)
    assert [(one.status, one.reason) for one in found.doses] == [(status, reason)]


def test_a_forecast_waits_for_the_whole_conflict() -> None:
    [one] = outcome("Beta/Gamma", on("2025-09-10", SPRAY), as_of="2025-09-20", born=date(2023, 1, 1)).forecasts
    assert dates(one)[0] == "2025-10-08"


def test_a_group_given_whole_takes_the_least_advanced_antigen() -> None:
    [one] = outcome("Beta/Gamma", on("2025-06-01", "9012"), as_of="2025-07-15").forecasts
    assert one.dose_number == 1
    assert dates(one) == ("2025-07-01", "2025-07-01", "2025-10-28", None)
    assert one.series == ("Beta 2-dose series", "Gamma 2-dose series")


@pytest.mark.parametrize(
    ("observed", "born", "status"),
    [
        ((Observation("911"), Observation("912")), BORN, Status.IMMUNE),
        ((Observation("0911"), Observation("912")), BORN, Status.IMMUNE),
        ((Observation("911"),), BORN, Status.NOT_COMPLETE),
        ((Observation("914"),), BORN, Status.CONTRAINDICATED),
        ((Observation("914", None, date(2025, 7, 1)),), BORN, Status.NOT_COMPLETE),
        ((Observation("914", date(2025, 7, 2)),), BORN, Status.NOT_COMPLETE),
        ((), date(1959, 12, 31), Status.IMMUNE),
        ((), date(1960, 1, 1), Status.NOT_COMPLETE),
        ((Observation("913"),), date(1959, 12, 31), Status.NOT_COMPLETE),
    ],
)
def test_immunity_and_contraindications(observed: tuple[Observation, ...], born: date, status: Status) -> None:
    found = outcome("Beta/Gamma", as_of="2025-07-01", born=born, observed=observed)
    assert found.forecasts[0].status is status
    assert found.contraindications == (("914",) if status is Status.CONTRAINDICATED else ())


def test_a_contraindicated_product_is_not_offered_and_the_others_are() -> None:
    [one] = outcome("Alpha", as_of="2024-06-02", observed=(Observation("902"),)).forecasts
    assert one.status is Status.NOT_COMPLETE
    assert [product.cvx for product in one.products] == [ALPHA_B]


def test_a_season_begins_ends_and_counts_its_doses() -> None:
    born = date(1990, 1, 1)
    [one] = outcome("Delta", as_of="2025-07-01", born=born).forecasts
    assert dates(one)[:2] == ("2025-09-01", "2025-09-01")
    [one] = outcome("Delta", on("2024-10-01", SHOT), as_of="2025-10-01", born=born).forecasts
    assert one.dose_number == 1
    [one] = outcome("Delta", on("2025-10-01", SHOT), as_of="2025-10-02", born=born).forecasts
    assert one.status is Status.COMPLETE
    assert outcome("Delta", as_of="2026-04-30", born=born).forecasts[0].status is Status.NOT_COMPLETE
    [one] = outcome("Delta", as_of="2026-05-01", born=born).forecasts
    assert (one.status, one.why) == (Status.NOT_RECOMMENDED, Why.SEASON_OVER)


def test_a_schedule_that_has_outlived_its_season_is_told() -> None:
    assert seasons_over(DEMO, date(2026, 4, 30)) == ()
    assert seasons_over(DEMO, date(2026, 5, 1)) == ("Delta",)


def test_a_recurring_target_is_followed_by_itself() -> None:
    doses = [on("2025-09-05", SHOT), on("2025-10-05", SHOT)]
    [one] = outcome("Delta", *doses, as_of="2025-10-06").forecasts
    assert (one.status, one.dose_number, dates(one)[0]) == (Status.NOT_COMPLETE, 3, "2025-11-02")


def test_a_risk_series_needs_its_observation_and_its_age() -> None:
    ill = (Observation("921"),)
    young = outcome("Delta", as_of="2025-10-01", born=date(2007, 6, 1), observed=ill)
    assert [one.kind for one in young.forecasts] == ["Standard"]
    adult = outcome("Delta", as_of="2025-10-01", born=date(2006, 6, 1), observed=ill)
    assert [(one.kind, one.series) for one in adult.forecasts] == [("Risk", ("Delta risk 2-dose series",))]


def test_an_age_decides_what_a_product_counts_for() -> None:
    patient = organize(DEMO, Person(date(1960, 1, 1)), [on("2009-12-31", "9031"), on("2010-01-01", "9031")], [], BORN)
    held = {name: [given.dose.given for given in found] for name, found in patient.by_antigen.items()}
    assert held == {"Beta": [date(2009, 12, 31)], "Gamma": [date(2010, 1, 1)]}


def test_records_of_one_shot_are_one_dose_and_both_are_shown() -> None:
    doses = [
        on("2024-08-01", ALPHA_ANY, source="ehr", source_id="e1"),
        on("2024-08-01", source="registry", source_id="r1", maker="EXA"),
    ]
    found = forecast(DEMO, Person(BORN), doses, [], date(2024, 9, 1), {"Alpha"})
    [judged] = found.groups[0].doses
    assert judged.dose.source_id == "r1"
    assert [dose.source_id for dose in judged.sources] == ["r1", "e1"]
    assert [(dose.source_id, reason) for dose, reason in found.aside] == [("e1", Aside.DUPLICATE)]


def test_two_records_of_one_source_or_of_two_families_are_two_doses() -> None:
    same = [on("2024-08-01", source="ehr", source_id="1"), on("2024-08-01", source="ehr", source_id="2")]
    assert len(outcome("Alpha", *same, as_of="2024-09-01").doses) == 2
    other = [on("2025-08-01", BETA_GAMMA, source="ehr"), on("2025-08-01", "9012", source="registry")]
    assert len(outcome("Beta/Gamma", *other, as_of="2025-09-01").doses) == 2


def test_nothing_is_dropped_silently() -> None:
    aside = [
        on("2024-08-01", status="not-done"),
        on("2024-08-02", status="entered-in-error"),
        Dose(ALPHA_A, None, recorded="2024-08"),
        on("2024-08-03", "77777"),
        on("2025-01-01"),
    ]
    found = forecast(DEMO, Person(BORN), aside, [], date(2024, 9, 1))
    assert {(dose, reason) for dose, reason in found.aside} == set(
        zip(aside, (Aside.REFUSED, Aside.ERROR, Aside.UNDATED, Aside.UNKNOWN, Aside.FUTURE), strict=True)
    )
    assert all(not group.doses for group in found.groups)


def test_a_dose_of_the_future_is_announced() -> None:
    found = outcome("Delta", on("2025-09-05", SHOT), as_of="2025-09-03", born=date(1990, 1, 1))
    assert found.recheck_on == date(2025, 9, 5)


def test_what_nobody_has_answered_is_listed() -> None:
    ages = Person(date(1990, 1, 1))
    asked = organize(DEMO, ages, [], [], date(2025, 10, 1))
    [one] = undecided(asked, DEMO.groups)
    assert (one.vaccine_group, one.observation, one.title) == ("Delta", "921", "Lives with a lung disease")
    answered = organize(DEMO, ages, [], [Observation("921", None, date(2020, 1, 1))], date(2025, 10, 1))
    assert undecided(answered, DEMO.groups) == ()


def test_an_unknown_gender_gets_the_series_for_anybody() -> None:
    assert outcome("Delta", as_of="2025-10-01", gender="unknown").forecasts[0].status is Status.NOT_COMPLETE


def test_the_order_of_observations_does_not_order_series() -> None:
    known = [Observation("921"), Observation("914")]
    people = [
        organize(DEMO, Person(date(1990, 1, 1)), [], seen, BORN + timedelta(days=500)) for seen in (known, known[::-1])
    ]
    names = [[one.series.name for one in judge_antigen(DEMO.antigens["Delta"], person).best] for person in people]
    assert names[0] == names[1] == ["Delta risk 2-dose series"]


def test_ages_are_days_of_one_person() -> None:
    ages = Ages(BORN.toordinal())
    week = timedelta(days=6).days + BORN.toordinal()
    assert ages.within(week, None, period("7 days"))
    assert not ages.within(week + 1, None, period("7 days"))
