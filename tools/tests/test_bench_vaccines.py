"""The vaccine benchmark measures people who really have doses, by the schedule that ships too."""

from datetime import date
from pathlib import Path

import pytest

from care_gap_engine import schedules
from careloop.bench import vaccines

AS_OF = date(2025, 9, 1)


def test_routine_groups_are_those_with_a_standard_series() -> None:
    assert vaccines.routine_groups(schedules.demo()) == {"Alpha", "Beta/Gamma", "Delta"}


@pytest.mark.parametrize("delay", vaccines.DELAYS_IN_DAYS)
def test_a_patient_has_got_what_was_due(delay: int) -> None:
    person, doses = vaccines.a_patient(schedules.demo(), 30, delay, AS_OF)
    assert len(doses) >= 4
    assert all(person.birth < dose.given <= AS_OF for dose in doses if dose.given)


def test_figures_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaccines, "OFFICIAL", tmp_path / "absent.json")
    monkeypatch.setattr(vaccines, "SECONDS", 0)
    monkeypatch.setattr(vaccines, "ROUNDS", 1)
    out = tmp_path / "figures.json"
    figures = vaccines.run(None, out)
    assert out.read_text().startswith("{")
    assert figures["vaccine_groups"] == 3
    assert figures["ms_per_patient"] > 0
    assert figures["patients_per_s"] > 0
