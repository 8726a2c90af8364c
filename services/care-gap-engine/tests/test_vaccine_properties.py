"""What holds for any history: order of arrival, no exception, and nothing changes that was not announced."""

import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from care_gap_engine import schedules
from care_gap_engine.domain.vaccines import antigens
from care_gap_engine.domain.vaccines.forecaster import Forecast, GroupOutcome, forecast
from care_gap_engine.domain.vaccines.model import Schedule
from care_gap_engine.domain.vaccines.patient import Dose, Observation, Person
from care_gap_engine.domain.vaccines.schedule import load_schedule

OFFICIAL = Path(__file__).parents[4] / "shared" / "immunization" / "schedule.json"
HISTORIES = 5_000
OFFICIAL_HISTORIES = 400
STEPS = 8
AS_OF = date(2025, 11, 10)


def a_history(schedule: Schedule, chance: random.Random) -> tuple[Person, list[Dose], list[Observation], date]:
    """Anybody, at any age, with anything given at any time by any source, also what makes no sense."""
    as_of = AS_OF + timedelta(days=chance.randint(-400, 400))
    age = chance.choice([300, 800, 3_000, 7_000, 20_000, 33_000])
    birth = as_of - timedelta(days=chance.randint(0, age))
    span = (as_of - birth).days + 60
    family = [*a_family(schedule, chance), *chance.sample([*schedule.products], 2), "99999"]
    doses = [
        Dose(
            cvx=chance.choice(family),
            given=birth + timedelta(days=chance.randint(-30, span)) if chance.random() > 0.03 else None,
            maker=chance.choice([None, "EXB", "SKB"]),
            volume=chance.choice([None, 0.1, 0.5]),
            status=chance.choice(["completed"] * 12 + ["not-done", "entered-in-error"]),
            expired_on=chance.choice([None, None, None, birth + timedelta(days=span // 2)]),
            substandard=chance.random() < 0.03,
            source=chance.choice(["", "registry", "ehr"]),
            source_id=str(number),
        )
        for number in range(chance.randint(0, 9))
    ]
    if doses and doses[0].given and chance.random() < 0.3:
        doses.append(replace(doses[0], source="elsewhere", source_id="copy"))
    observations = [
        Observation(code, *chance.choice([(None, None), (birth, None), (as_of, None), (birth, as_of), (as_of, birth)]))
        for code in chance.sample([*schedule.observations], chance.choice([0, 0, 1, 2]))
    ]
    gender = chance.choice(["female", "male", "unknown"])
    return Person(birth, gender, chance.choice([None, "US", "CA"])), doses, observations, as_of


def a_family(schedule: Schedule, chance: random.Random) -> list[str]:
    """Some products of one antigen, so that histories become long."""
    antigen = chance.choice([*schedule.antigens])
    holding = [cvx for cvx, one in schedule.products.items() if any(a.antigen == antigen for a in one.associations)]
    return chance.sample(holding, min(5, len(holding)))


def without_recheck(found: Forecast) -> list[GroupOutcome]:
    """The answer without what is announced."""
    return [replace(group, recheck_on=None) for group in found.groups]


def a_day_between(first: date, end: date, chance: random.Random) -> date:
    return first + timedelta(days=chance.randrange((end - first).days))


def check_order(schedule: Schedule, chance: random.Random, count: int) -> None:
    for _ in range(count):
        person, doses, observations, as_of = a_history(schedule, chance)
        expected = forecast(schedule, person, doses, observations, as_of)
        chance.shuffle(doses)
        chance.shuffle(observations)
        assert forecast(schedule, person, doses, observations, as_of) == expected


def check_announcements(schedule: Schedule, chance: random.Random, count: int) -> None:
    """A group of a history, walked from one announced day to the next: in between it stays as it is."""
    for _ in range(count):
        person, doses, observations, as_of = a_history(schedule, chance)
        group = {chance.choice(schedule.groups).name}
        before = forecast(schedule, person, doses, observations, as_of, group)
        for _ in range(STEPS):
            announced = before.groups[0].recheck_on
            if announced is None:
                announced = before.as_of + timedelta(days=20_000)
            assert announced > before.as_of
            for day in (announced - timedelta(days=1), a_day_between(before.as_of, announced, chance)):
                after = forecast(schedule, person, doses, observations, day, group)
                assert without_recheck(after) == without_recheck(before), (person, doses, observations, day)
            before = forecast(schedule, person, doses, observations, announced, group)


def test_any_order_of_arrival_gives_the_same_answer_and_nothing_raises() -> None:
    check_order(schedules.demo(), random.Random(1), HISTORIES)


def test_time_alone_changes_nothing_that_was_not_announced() -> None:
    check_announcements(schedules.demo(), random.Random(2), 1_000)


def check_also_rans(schedule: Schedule, monkeypatch: pytest.MonkeyPatch, chance: random.Random, count: int) -> None:
    for _ in range(count):
        history = a_history(schedule, chance)
        expected = [replace(group, recheck_on=None) for group in forecast(schedule, *history).groups]
        with monkeypatch.context() as patch:
            patch.setattr(antigens, "without_also_rans", lambda relevant, *_: relevant)
            assert [replace(group, recheck_on=None) for group in forecast(schedule, *history).groups] == expected


def test_what_is_left_out_beforehand_would_not_have_been_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    check_also_rans(schedules.demo(), monkeypatch, random.Random(5), 1_000)


@pytest.fixture(scope="module")
def official() -> Schedule:
    if not OFFICIAL.exists():
        pytest.skip("the CDC's schedule is not in ../shared/immunization")
    return load_schedule(OFFICIAL.name, OFFICIAL.read_bytes())


def test_any_order_of_arrival_gives_the_same_answer_by_the_official_schedule(official: Schedule) -> None:
    check_order(official, random.Random(3), OFFICIAL_HISTORIES)


def test_time_alone_changes_nothing_unannounced_by_the_official_schedule(official: Schedule) -> None:
    check_announcements(official, random.Random(4), 800)


def test_what_is_left_out_of_the_official_schedule_would_not_have_been_selected(
    official: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_also_rans(official, monkeypatch, random.Random(6), 300)
