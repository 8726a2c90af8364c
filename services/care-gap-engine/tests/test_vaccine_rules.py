"""Rules that the made-up schedule does not use, each shown on a changed copy of it."""

import json
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from typing import Any

import pytest

from care_gap_engine.domain.vaccines.forecast import Status, Why
from care_gap_engine.domain.vaccines.forecaster import GroupOutcome, forecast
from care_gap_engine.domain.vaccines.patient import Dose, Observation, Person
from care_gap_engine.domain.vaccines.progress import DoseStatus, Reason
from care_gap_engine.domain.vaccines.schedule import load_schedule

DEMO = (files("care_gap_engine.schedules") / "demo.json").read_text()
ADULT, CHILD = date(1990, 1, 1), date(2024, 6, 1)
ILL = (Observation("921"),)
Tree = dict[str, Any]


def on(text: str, cvx: str, **more: object) -> Dose:
    return Dose(cvx, date.fromisoformat(text), **more)


def changed(
    change: Callable[[Tree], object], group: str, *doses: Dose, as_of: str, born: date = CHILD,
    observed: tuple[Observation, ...] = (), gender: str = "female", country: str | None = None,
) -> GroupOutcome:  # fmt: skip
    tree = json.loads(DEMO)
    change(tree)
    schedule = load_schedule("changed", json.dumps(tree).encode())
    person = Person(born, gender, country)
    return forecast(schedule, person, doses, observed, date.fromisoformat(as_of), {group}).groups[0]


def series(tree: Tree, antigen: str, number: int = 0) -> Tree:
    found: Tree = tree["antigens"][antigen]["series"][number]
    return found


def dose(tree: Tree, antigen: str, number: int, of_series: int = 0) -> Tree:
    found: Tree = series(tree, antigen, of_series)["seriesDose"][number - 1]
    return found


def another(tree: Tree, antigen: str, number: int, name: str, **selection: str) -> Tree:
    """One more series, a copy of one that is there."""
    copy: Tree = json.loads(json.dumps(series(tree, antigen, number)))
    copy["seriesName"] = name
    copy["selectSeries"].update(selection)
    tree["antigens"][antigen]["series"].append(copy)
    return copy


def a_completed_series_skips(tree: Tree) -> None:
    completed = {"conditionType": "Completed Series", "seriesGroups": "1"}
    dose(tree, "Delta", 1, 1)["conditionalSkip"] = [{"context": "Both", "set": [{"condition": [completed]}]}]


@pytest.mark.parametrize(
    ("given", "number", "first"),
    [
        (["2025-10-01"], 2, "Delta risk 2-dose series"),
        ([], 1, None),
    ],
    ids=["the dose that completes the other series still counts here", "nothing given"],
)
def test_a_completed_series_skips_only_what_comes_after_it(given: list[str], number: int, first: str | None) -> None:
    doses = [on(day, "9022") for day in given]
    found = changed(a_completed_series_skips, "Delta", *doses, as_of="2025-10-02", born=ADULT, observed=ILL)
    assert found.forecasts[0].kind == "Risk"
    assert found.forecasts[0].dose_number == number
    assert [one.series for one in found.doses] == ([first] if first else [])


def test_after_a_completed_series_the_next_dose_is_held_against_the_next_target() -> None:
    """The spray completes the season series and is no product of the risk series."""
    doses = [on("2025-10-01", "9021"), on("2026-04-10", "9022")]
    plain = changed(lambda tree: None, "Delta", *doses, as_of="2026-04-11", born=ADULT, observed=ILL)
    assert (plain.forecasts[0].kind, plain.forecasts[0].dose_number) == ("Risk", 2)
    skipped = changed(a_completed_series_skips, "Delta", *doses, as_of="2026-04-11", born=ADULT, observed=ILL)
    assert (skipped.forecasts[0].kind, skipped.forecasts[0].status) == ("Risk", Status.COMPLETE)


def test_an_override_interval_takes_the_first_day_but_not_before_the_last_dose_of_the_group() -> None:
    def gamma_is_slow(tree: Tree) -> None:
        dose(tree, "Gamma", 2)["interval"][0]["minInt"] = "3 months"
        tree["schedule"]["liveVirusConflicts"] = {}

    def beta_hurries(tree: Tree) -> None:
        gamma_is_slow(tree)
        dose(tree, "Beta", 2)["interval"][0]["intervalPriority"] = "override"

    both, later = on("2025-06-01", "9011"), on("2025-07-15", "9013", substandard=True)
    [slow] = changed(gamma_is_slow, "Beta/Gamma", both, as_of="2025-09-02").forecasts
    [hurried] = changed(beta_hurries, "Beta/Gamma", both, as_of="2025-09-02").forecasts
    [held] = changed(beta_hurries, "Beta/Gamma", both, later, as_of="2025-09-02").forecasts
    days = [one.earliest.isoformat() for one in (slow, hurried, held) if one.earliest]
    assert days == ["2025-09-01", "2025-07-01", "2025-07-15"]


def test_a_group_that_need_not_be_whole_goes_on_without_a_contraindicated_antigen() -> None:
    def only_gamma(tree: Tree) -> None:
        tree["schedule"]["vaccineGroups"]["vaccineGroup"][1]["administerFullVaccineGroup"] = "No"
        tree["antigens"]["Beta"]["contraindications"] = {}

    seen = (Observation("914"),)
    [one] = changed(only_gamma, "Beta/Gamma", as_of="2025-07-01", observed=seen).forecasts
    assert (one.status, one.series) == (Status.NOT_COMPLETE, ("Beta 2-dose series",))
    [whole] = changed(
        lambda tree: tree["antigens"]["Beta"].update(contraindications={}), "Beta/Gamma", as_of="2025-07-01",
        observed=seen,
    ).forecasts  # fmt: skip
    assert whole.status is Status.CONTRAINDICATED


def test_the_highest_priority_then_the_lower_preference_then_the_file_decide() -> None:
    def more(tree: Tree) -> None:
        another(tree, "Delta", 1, "of low priority", seriesPriority="B", seriesPreference="1")
        another(tree, "Delta", 1, "of high preference", seriesPreference="3")
        another(tree, "Delta", 1, "first of two", seriesPreference="0")
        another(tree, "Delta", 1, "second of two", seriesPreference="0")

    found = changed(more, "Delta", as_of="2025-10-01", born=ADULT, observed=ILL)
    assert found.forecasts[0].series == ("first of two",)


def test_two_risk_series_of_two_observations_are_ordered_by_the_file_not_by_arrival() -> None:
    def one_more(tree: Tree) -> None:
        extra = another(tree, "Delta", 1, "for laboratories")
        extra["indication"][0]["observationCode"] = {"code": "913"}

    seen = [Observation("921"), Observation("913")]
    names = {
        changed(one_more, "Delta", as_of="2025-10-01", born=ADULT, observed=tuple(order)).forecasts[0].series
        for order in (seen, seen[::-1])
    }
    assert names == {("Delta risk 2-dose series",)}


@pytest.mark.parametrize(("doses", "expected"), [(1, "Alpha 3-dose series"), (2, "for looking back")])
def test_a_series_for_evaluation_only_counts_when_it_is_complete(doses: int, expected: str) -> None:
    def look_back(tree: Tree) -> None:
        extra = another(tree, "Alpha", 1, "for looking back", seriesPreference="9")
        extra["seriesType"] = "Evaluation Only"
        extra["seriesDose"][0]["age"] = [{"absMinAge": "6 weeks - 4 days", "minAge": "6 weeks"}]

    given = [on("2024-08-01", "9001"), on("2024-10-01", "9001")][:doses]
    [one] = changed(look_back, "Alpha", *given, as_of="2024-10-02").forecasts
    assert one.series == (expected,)


@pytest.mark.parametrize(
    ("day", "reason"),
    [("2024-08-20", Reason.TOO_YOUNG), ("2024-08-21", Reason.NONE)],
    ids=["the last day of the old rule", "the first day of the new one"],
)
def test_rules_are_in_force_from_and_to_a_day(day: str, reason: Reason) -> None:
    def milder(tree: Tree) -> None:
        first = dose(tree, "Alpha", 1)
        new = {**first["age"][0], "effectiveDate": "20240821"}
        first["age"] = [{**new, "absMinAge": "6 months", "minAge": "6 months", "cessationDate": "20240820"}, new]
        first["age"][0].pop("effectiveDate")

    found = changed(milder, "Alpha", on(day, "9001"), as_of="2024-08-25")
    assert found.doses[0].reason is reason


def test_a_count_at_a_dose_is_of_the_doses_before_it() -> None:
    doses = [on("2024-10-01", "9022"), on("2025-06-01", "9022")]
    found = changed(lambda tree: None, "Delta", *doses, as_of="2025-07-01", born=date(2020, 1, 1))
    assert [one.target for one in found.doses] == [1, 2]


def test_live_vaccines_of_one_day_do_not_disturb_each_other() -> None:
    doses = [on("2025-10-01", "9011"), on("2025-10-01", "9021")]
    found = changed(lambda tree: None, "Delta", *doses, as_of="2025-10-02", born=date(2020, 1, 1))
    assert [one.status for one in found.doses] == [DoseStatus.VALID]


def test_a_series_that_was_begun_too_late_is_no_candidate() -> None:
    def early_only(tree: Tree) -> None:
        series(tree, "Alpha", 1)["selectSeries"]["maxAgeToStart"] = "13 months"

    [one] = changed(early_only, "Alpha", on("2025-06-20", "9001"), as_of="2025-06-21").forecasts
    assert one.series == ("Alpha late 2-dose series",)
    [one] = changed(early_only, "Alpha", on("2025-08-20", "9001"), as_of="2025-08-21").forecasts
    assert one.series == ("Alpha 3-dose series",)


def test_a_product_series_with_all_doses_valid_is_ahead() -> None:
    def as_long(tree: Tree) -> None:
        for number in (0, 2):
            series(tree, "Alpha", number)["seriesDose"] = [dict(dose(tree, "Alpha", 1, number)) for _ in range(3)]
            for place, one in enumerate(series(tree, "Alpha", number)["seriesDose"], 1):
                one["doseNumber"] = f"Dose {place}"

    for maker, name in (("EXB", "Alpha B 2-dose series"), (None, "Alpha 3-dose series")):
        [one] = changed(as_long, "Alpha", on("2024-08-01", "9002", maker=maker), as_of="2024-08-02").forecasts
        assert one.series == (name,)


def test_of_two_records_the_product_of_today_is_used() -> None:
    def unspecified_first(tree: Tree) -> None:
        tree["schedule"]["cvxToAntigenMap"]["cvxMap"].insert(0, tree["schedule"]["cvxToAntigenMap"]["cvxMap"].pop(2))

    doses = [on("2024-08-01", "9003", source="ehr"), on("2024-08-01", "9001", source="registry")]
    found = changed(unspecified_first, "Alpha", *doses, as_of="2024-09-01")
    assert [one.dose.cvx for one in found.doses] == ["9001"]


@pytest.mark.parametrize(
    ("country", "status"),
    [(None, Status.NOT_COMPLETE), ("CA", Status.NOT_COMPLETE), ("US", Status.IMMUNE), ("U.S.", Status.IMMUNE)],
)
def test_immunity_by_birth_may_ask_for_the_country(country: str | None, status: Status) -> None:
    def born_here(tree: Tree) -> None:
        for antigen in ("Beta", "Gamma"):
            tree["antigens"][antigen]["immunity"]["dateOfBirth"]["birthCountry"] = "U.S."

    found = changed(born_here, "Beta/Gamma", as_of="2025-07-01", born=date(1950, 1, 1), country=country)
    assert found.forecasts[0].status is status


@pytest.mark.parametrize(("born", "shared"), [("1998-10-02", False), ("1998-10-01", True), ("1979-10-01", False)])
def test_guidance_may_make_it_a_shared_decision_at_some_ages(born: str, shared: bool) -> None:
    def discuss(tree: Tree) -> None:
        series(tree, "Delta")["seriesAdminGuidance"] = [
            "Shared clinical decision-making is recommended for persons 27-45 years of age."
        ]

    found = changed(discuss, "Delta", as_of="2025-10-01", born=date.fromisoformat(born))
    assert found.forecasts[0].shared_decision is shared


def test_the_name_may_make_it_a_shared_decision_at_any_age() -> None:
    def discuss(tree: Tree) -> None:
        series(tree, "Delta")["seriesName"] = "Delta Shared Clinical Decision Making"

    assert changed(discuss, "Delta", as_of="2025-10-01", born=ADULT).forecasts[0].shared_decision


@pytest.mark.parametrize(("day", "status"), [("2025-12-31", "not valid"), ("2026-01-01", "valid")])
def test_an_interval_may_count_from_a_product_of_any_antigen(day: str, status: str) -> None:
    def wait(tree: Tree) -> None:
        dose(tree, "Delta", 1, 1)["interval"] = [
            {"fromPrevious": "N", "fromMostRecent": "9011; 9012", "absMinInt": "3 months", "minInt": "3 months"}
        ]

    doses = [on("2025-10-01", "9011"), on(day, "9022")]
    found = changed(wait, "Delta", *doses, as_of="2026-01-02", born=ADULT, observed=ILL)
    assert found.doses[0].status == ("valid" if status == "valid" else DoseStatus.VALID)
    assert found.forecasts[0].dose_number == (2 if status == "valid" else 1)


def test_an_interval_may_count_from_an_observation() -> None:
    def wait(tree: Tree) -> None:
        dose(tree, "Delta", 1, 1)["interval"] = [
            {"fromPrevious": "N", "fromRelevantObs": {"code": "914"}, "absMinInt": "0 days", "minInt": "27 weeks"}
        ]

    seen = (*ILL, Observation("914", date(2025, 9, 1)))
    found = changed(wait, "Delta", as_of="2025-10-02", born=ADULT, observed=seen)
    assert found.forecasts[0].earliest == date(2026, 3, 9)
    undated = changed(wait, "Delta", as_of="2025-10-02", born=ADULT, observed=(*ILL, Observation("914")))
    assert undated.forecasts[0].earliest == date(2009, 1, 1)


@pytest.mark.parametrize(("gender", "why"), [("female", Why.DUE), ("unknown", Why.DUE), ("male", None)])
def test_a_series_may_ask_for_a_gender(gender: str, why: Why | None) -> None:
    def for_women(tree: Tree) -> None:
        series(tree, "Delta")["requiredGender"] = ["Female", "Unknown"]

    found = changed(for_women, "Delta", as_of="2025-10-01", born=ADULT, gender=gender)
    assert [one.why for one in found.forecasts] == ([why] if why else [])


def test_a_series_for_later_says_nothing_before_its_age() -> None:
    def later(tree: Tree) -> None:
        series(tree, "Delta")["selectSeries"]["minAgeToStart"] = "50 years"

    found = changed(later, "Delta", as_of="2025-10-01", born=ADULT)
    assert found.forecasts == ()
    assert found.recheck_on == date(2040, 1, 1)
    begun = changed(later, "Delta", on("2025-09-05", "9022"), as_of="2025-10-01", born=ADULT)
    assert begun.forecasts[0].status is Status.COMPLETE


def test_an_unknown_maker_is_not_the_one_that_a_product_names() -> None:
    def one_maker(tree: Tree) -> None:
        first = dose(tree, "Alpha", 1, 2)
        first.pop("allowableVaccine", None)

    for maker, name in (("EXB", "Alpha B 2-dose series"), (None, "Alpha 3-dose series")):
        [one] = changed(one_maker, "Alpha", on("2024-08-01", "9002", maker=maker), as_of="2024-08-02").forecasts
        assert one.series == (name,)
