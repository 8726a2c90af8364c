"""Explanations: nothing is left without words, in either language."""

from datetime import date
from string import Formatter

import pytest

from care_gap_engine import schedules
from care_gap_engine.domain.vaccines import words
from care_gap_engine.domain.vaccines.explain import explain, explain_aside
from care_gap_engine.domain.vaccines.forecast import Status, Why
from care_gap_engine.domain.vaccines.forecaster import forecast
from care_gap_engine.domain.vaccines.patient import Aside, Dose, Person
from care_gap_engine.domain.vaccines.progress import Reason

DEMO = schedules.demo()
DOSES = [
    Dose("9001", date(2024, 8, 1), maker="EXA", source="registry", source_id="r1"),
    Dose("9003", date(2024, 8, 1), source="ehr", source_id="e1"),
    Dose("9001", date(2024, 8, 20), source="ehr", source_id="e2"),
    Dose("77777", date(2024, 8, 21), source="ehr", source_id="e3"),
    Dose("9001", None, recorded="2024-07", source="ehr", source_id="e4"),
    Dose("9001", date(2024, 9, 1), status="not-done", source="ehr", source_id="e5"),
]


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_status_and_reason_has_words(language: str) -> None:
    assert words.STANDING[language].keys() == set(Status)
    assert words.WHY[language].keys() == set(Why)
    assert words.ASIDES[language].keys() == set(Aside)
    assert words.REASONS[language].keys() == set(Reason) - {Reason.NONE}


def test_both_languages_fill_the_same_slots() -> None:
    def slots(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text)} - {None}

    assert words.PHRASES["en"].keys() == words.PHRASES["es"].keys()
    for key, text in words.PHRASES["en"].items():
        assert slots(text) == slots(words.PHRASES["es"][key]), key


def test_what_counted_what_did_not_and_what_is_next() -> None:
    found = forecast(DEMO, Person(date(2024, 6, 1)), DOSES, [], date(2024, 9, 10), {"Alpha"})
    told = explain(found, found.groups[0], DEMO, "en")
    assert told.doses == (
        "2024-08-01, Alpha A (CVX 9001): counts as dose 1 of Alpha 3-dose series"
        " (one vaccination, 2 records: registry r1, ehr e1)",
        "2024-08-20, Alpha A (CVX 9001): does not count for Alpha 3-dose series:"
        " given too soon after an earlier dose",
    )  # fmt: skip
    assert told.standing == (
        "Not complete: a dose is needed.",
        "Next: dose 2, from 2024-09-17 on, recommended on 2024-10-01.",
        "Overdue from 2024-11-28 on.",
        "Not after 2031-05-31.",
        "Products that fit: Alpha A, Alpha B.",
        "To be looked at again on 2024-09-17.",
    )
    assert told.said_by.startswith("CareLoop (made up, not medical advice), version 1, in force since 2025-09-01.")
    assert explain_aside(found, DEMO, "en") == (
        "2024-07, Alpha A (CVX 9001): not counted: the day is not known",
        "2024-08-21, CVX 77777: not counted: the schedule does not know this product code",
        "2024-09-01, Alpha A (CVX 9001): not counted: not given",
        "2024-08-01, Alpha, unspecified (CVX 9003): not counted: another record of the same vaccination",
    )


def test_the_same_in_spanish() -> None:
    found = forecast(DEMO, Person(date(2024, 6, 1)), DOSES, [], date(2024, 9, 10), {"Alpha"})
    told = explain(found, found.groups[0], DEMO, "es")
    assert told.doses[1].endswith("aplicada demasiado pronto después de una dosis anterior")
    assert told.standing[1] == "Próxima: dosis 2, a partir del 2024-09-17, recomendada el 2024-10-01."
    assert explain_aside(found, DEMO, "es")[1].endswith("el calendario no conoce este código de producto")


def test_where_the_schedule_asks_for_nothing_that_is_said() -> None:
    found = forecast(DEMO, Person(date(1959, 1, 1)), [], [], date(2026, 6, 1), {"Delta"})
    assert explain(found, found.groups[0], DEMO, "en").standing[0] == (
        "No dose recommended: the season of the schedule is over."
    )
