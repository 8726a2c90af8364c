"""The conformance command: its own count on made-up cases, and the CDC's official cases where they are at hand."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from care_gap_engine import conformance
from care_gap_engine.conformance import Case
from care_gap_engine.domain.vaccines.schedule import load_schedule

OFFICIAL = Path(__file__).parents[4] / "shared" / "immunization"
DEMO = (files("care_gap_engine.schedules") / "demo.json").read_bytes()
needs_official = pytest.mark.skipif(not OFFICIAL.exists(), reason="the CDC's files are not in ../shared/immunization")


def a_case(case_id: str, group: str, doses: list[tuple[str, str, str]], expected: dict[str, str | None],
           **more: object) -> dict[str, Any]:  # fmt: skip
    return {
        "case_id": case_id, "set": "healthy", "title": case_id, "dob": "2024-06-01", "gender": "F",
        "assessment_date": "2024-11-01", "observations": [], "vaccine_group": group, "expected": expected,
        "doses": [{"date": day, "cvx": cvx, "mvx": None, "expected_status": status} for day, cvx, status in doses],
        **more,
    }  # fmt: skip


CASES = [
    a_case(
        "first", "Alpha", [],
        {"series_status": "not complete", "forecast_num": "1", "earliest": "2024-07-13", "recommended": "2024-08-01",
         "past_due": "2024-09-28"},
    ),
    a_case(
        "second", "Alpha", [("2024-08-01", "9001", "valid"), ("2024-08-20", "9001", "not valid")],
        {"series_status": "not complete", "forecast_num": "2", "earliest": "2024-09-17", "recommended": "2024-10-01",
         "past_due": "2024-11-28"},
    ),
    a_case(
        "too old", "Alpha", [], {"series_status": "aged out", "forecast_num": None}, assessment_date="2031-06-01",
    ),
    a_case(
        "of another group", "Beta/Gamma", [("2024-08-01", "9001", "valid")],
        {"series_status": "not complete", "forecast_num": "1", "earliest": "2025-06-01", "recommended": "2025-06-01",
         "past_due": "2025-10-28"},
    ),
    a_case(
        "at risk", "Delta", [("2025-09-10", "9022", "valid")],
        {"series_status": "not complete", "forecast_num": "2", "earliest": "2026-03-10", "recommended": "2026-03-10",
         "past_due": "2026-09-09"},
        set="condition", dob="1990-01-01", assessment_date="2025-10-01",
        observations=[{"code": "0921", "date": None, "text": "x"}],
    ),
]  # fmt: skip


def lines(cases: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(case) + "\n" for case in cases)


def run(tmp_path: Path, cases: str, schedule: bytes = DEMO) -> tuple[int, dict[str, Any]]:
    (tmp_path / "cases.jsonl").write_text(cases)
    (tmp_path / "schedule.json").write_bytes(schedule)
    out = tmp_path / "out.json"
    code = conformance.main(
        ["cdsi", "--cases", str(tmp_path / "cases.jsonl"), "--schedule", str(tmp_path / "schedule.json"),
         "--json", str(out)]
    )  # fmt: skip
    return code, json.loads(out.read_text()) if out.exists() else {}


def test_all_of_ours_agree_and_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(tmp_path, lines(CASES))
    assert code == 0
    assert report["disagreements"] == []
    assert [report[name] for name in ("cases", *conformance.COUNTS)] == [5] * 6
    assert report["by_set"]["condition"]["agree"] == 1
    assert report["by_vaccine_group"]["healthy"]["Alpha"]["cases"] == 3
    assert "CareLoop (made up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda case: case["expected"].update(series_status="complete"), {"forecast", "dates", "status"}),
        (lambda case: case["expected"].update(forecast_num="3"), {"forecast"}),
        (lambda case: case["expected"].update(earliest="2024-09-18"), {"forecast", "dates"}),
        (lambda case: case["expected"].update(past_due=None), {"forecast", "dates"}),
        (lambda case: case["doses"][1].update(expected_status="valid"), {"doses"}),
    ],
)
def test_each_difference_is_counted_where_it_belongs(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], lost: set[str]
) -> None:
    case = json.loads(json.dumps(CASES[1]))
    change(case)
    _, report = run(tmp_path, lines([case]))
    assert report["agree"] == 0
    assert {name for name in ("forecast", "dates", "status", "doses") if not report[f"agree_{name}"]} == lost
    [found] = report["disagreements"]
    assert (found["case_id"], found["got"]["status"]) == ("second", "not complete")
    assert found["got"]["doses"] == ["valid", "not valid"]
    assert found["expected"] != found["got"]


def test_files_that_cannot_be_read_end_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, lines(CASES) + '{"case_id": 1}\n') == (2, {})
    assert "cases.jsonl, line 6: " in capsys.readouterr().err
    assert run(tmp_path, lines(CASES), DEMO[:-9]) == (2, {})
    assert "schedule.json: " in capsys.readouterr().err


def test_the_command_needs_neither_settings_nor_servers(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(lines(CASES))
    (tmp_path / "demo.json").write_bytes(DEMO)
    done = subprocess.run(
        [sys.executable, "-m", "care_gap_engine", "conformance", "cdsi", "--cases", "cases.jsonl",
         "--schedule", "demo.json", "--json", "out.json"],
        cwd=tmp_path, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 disagree" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["agree"] == len(CASES)


def test_the_names_of_official_cases_are_known() -> None:
    class Named:
        groups = ()

    assert conformance.group_name(Named, "POL") == "Polio"  # type: ignore[arg-type]
    assert conformance.group_name(Named, "HepB") == "HepB"  # type: ignore[arg-type]


def renamed(value: Any, key: str = "", above: str = "") -> Any:
    """A schedule or case with every name and code of its content changed, everywhere in the same way."""
    if isinstance(value, dict):
        return {
            f"A-{name}" if key == "antigens" else name: renamed(inner, name, key)
            for name, inner in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [renamed(inner, key, above) for inner in value]
    if value is None:
        return None
    if key in LISTED:
        return "; ".join(LISTED[key] + part.strip().lstrip("0") for part in str(value).split(";"))
    if key == "name" and above in ("vaccineGroup", "vaccineGroupMap"):
        return f"G-{value}"
    if key == "code" and above in ("observationCode", "fromRelevantObs", "observations"):
        return f"O{value.lstrip('0')}"
    return PREFIXED[key] + value if key in PREFIXED else value


LISTED = {
    "cvx": "C", "vaccineTypes": "C", "fromMostRecent": "C", "observationCode": "O", "guidelineCode": "O",
    "exclusionCode": "O", "seriesGroup": "S", "seriesGroups": "S", "equivalentSeriesGroups": "S",
}  # fmt: skip
PREFIXED = {
    "antigen": "A-", "targetDisease": "A-", "seriesName": "N-", "vaccineType": "T-", "tradeName": "T-", "mvx": "M-",
    "shortDescription": "T-", "observationTitle": "T-", "vaccine_group": "G-", "vaccineGroup": "G-",
}  # fmt: skip


def answers(schedule: bytes, cases: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    loaded = load_schedule("schedule", schedule)
    found = [msgspec.convert(case, Case) for case in cases]
    return [
        conformance.answers(loaded, case, conformance.group_name(loaded, case.vaccine_group)) for case in found
    ]  # fmt: skip


def test_names_and_codes_mean_nothing() -> None:
    plain = answers(DEMO, CASES)
    assert answers(json.dumps(renamed(json.loads(DEMO))).encode(), renamed(CASES)) == plain
    assert {one.status for one, _ in plain} == {"not complete", "aged out"}


@pytest.fixture(scope="module")
def official_cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (OFFICIAL / "cases.jsonl").read_text().splitlines()]


@needs_official
def test_names_and_codes_mean_nothing_by_the_official_schedule(official_cases: list[dict[str, Any]]) -> None:
    schedule = (OFFICIAL / "schedule.json").read_bytes()
    loaded = load_schedule("schedule", schedule)
    for case in official_cases:
        case["vaccine_group"] = conformance.group_name(loaded, case["vaccine_group"])
    other = json.dumps(renamed(json.loads(schedule))).encode()
    assert answers(other, renamed(official_cases)) == answers(schedule, official_cases)


@needs_official
def test_the_official_cases() -> None:
    report = conformance.compare(
        load_schedule("schedule.json", (OFFICIAL / "schedule.json").read_bytes()),
        list(conformance.read_cases(OFFICIAL / "cases.jsonl")),
    )
    healthy, condition = report["by_set"]["healthy"], report["by_set"]["condition"]
    assert healthy == dict.fromkeys(healthy, 525)
    assert condition["cases"] == 166
    assert condition["agree_forecast"] >= 150
    assert condition["agree_dates"] >= 152
    explained = (Path(__file__).parents[3] / "docs" / "vaccines.md").read_text()
    assert [one["case_id"] for one in report["disagreements"] if one["case_id"] not in explained] == []


@needs_official
def test_the_official_files_are_what_they_say() -> None:
    cases = list(conformance.read_cases(OFFICIAL / "cases.jsonl"))
    assert Counter(case.set for case in cases) == {"healthy": 525, "condition": 166}
    assert max(case.assessment_date for case in cases) <= date(2026, 12, 31)
