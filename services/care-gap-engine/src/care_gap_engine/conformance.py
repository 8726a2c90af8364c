"""`python -m care_gap_engine conformance cdsi`: the forecaster against the CDC's official test cases."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from care_gap_engine.domain.vaccines.errors import ScheduleError
from care_gap_engine.domain.vaccines.forecaster import Forecast, GroupOutcome, forecast
from care_gap_engine.domain.vaccines.model import Schedule
from care_gap_engine.domain.vaccines.patient import Dose, Observation, Person
from care_gap_engine.domain.vaccines.schedule import load_schedule
from care_gap_engine.schedules import case_groups

GENDERS = {"F": "female", "M": "male"}
COUNTS = ("agree", "agree_forecast", "agree_dates", "agree_status", "agree_doses")


class CaseDose(msgspec.Struct):
    """A dose of a case, and how it is to be judged."""

    day: date | None = msgspec.field(name="date")
    cvx: str
    expected_status: str
    mvx: str | None = None


class CaseObservation(msgspec.Struct):
    """An observation of a case."""

    code: str
    day: date | None = msgspec.field(default=None, name="date")


class Expected(msgspec.Struct):
    """What a case expects of its vaccine group."""

    series_status: str
    forecast_num: str | None = None
    earliest: date | None = None
    recommended: date | None = None
    past_due: date | None = None


class Case(msgspec.Struct):
    """One line of the cases."""

    case_id: str
    set: str
    dob: date
    gender: str
    assessment_date: date
    vaccine_group: str
    doses: list[CaseDose]
    observations: list[CaseObservation]
    expected: Expected
    title: str = ""


@dataclass(frozen=True)
class Answer:
    """What is compared: status, dose number, the three dates, and the status of each dose."""

    status: str
    dose_number: int | None
    dates: tuple[date | None, date | None, date | None]
    doses: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """For the report."""
        earliest, recommended, past_due = (day.isoformat() if day else None for day in self.dates)
        return {
            "status": self.status, "dose_number": self.dose_number, "earliest": earliest,
            "recommended": recommended, "past_due": past_due, "doses": list(self.doses),
        }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """The command line; the answer is 2 when a file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m care_gap_engine conformance", description=__doc__)
    parser.add_argument("what", choices=["cdsi"])
    parser.add_argument("--cases", type=Path, required=True, help="JSON lines, one case each")
    parser.add_argument("--schedule", type=Path, required=True, help="compact JSON, or the official ZIP")
    parser.add_argument("--json", type=Path, help="write the report here too")
    chosen = parser.parse_args(arguments)
    try:
        schedule = load_schedule(chosen.schedule.name, chosen.schedule.read_bytes())
        report = compare(schedule, list(read_cases(chosen.cases)))
    except (OSError, ScheduleError, msgspec.MsgspecError) as wrong:
        sys.stderr.write(f"conformance: {wrong}\n")
        return 2
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(summary(report))
    return 0


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of a file; raises `msgspec.MsgspecError` with the line."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=Case)
            except msgspec.MsgspecError as wrong:
                raise msgspec.ValidationError(f"{path.name}, line {number}: {wrong}") from None


def compare(schedule: Schedule, cases: Sequence[Case]) -> dict[str, Any]:
    """Judge every case and count agreement in all, by set and by vaccine group of each set."""
    total: Counter[str] = Counter()
    by_set: dict[str, Counter[str]] = {}
    by_group: dict[str, dict[str, Counter[str]]] = {}
    disagreements = []
    for case in cases:
        group = group_name(schedule, case.vaccine_group)
        wanted, got, others = expected(case), *answers(schedule, case, group)
        counts = agreement(wanted, got)
        for counter in (
            total,
            by_set.setdefault(case.set, Counter()),
            by_group.setdefault(case.set, {}).setdefault(group, Counter()),
        ):
            counter.update(counts)
        if not counts["agree"]:
            disagreements.append({
                "case_id": case.case_id, "set": case.set, "vaccine_group": group, "title": case.title,
                "expected": wanted.told(), "got": got.told(), "other_forecasts": [one.told() for one in others],
            })  # fmt: skip
    said = schedule.publication
    return {
        "schedule": {
            "publisher": said.publisher, "version": said.version, "effective_from": said.effective_from.isoformat(),
            "licence": said.licence,
        },
        **_counts(total),
        "by_set": {name: _counts(found) for name, found in sorted(by_set.items())},
        "by_vaccine_group": {
            name: {group: _counts(found) for group, found in sorted(groups.items())}
            for name, groups in sorted(by_group.items())
        },
        "disagreements": disagreements,
    }  # fmt: skip


def _counts(found: Counter[str]) -> dict[str, int]:
    return {name: found[name] for name in ("cases", *COUNTS)}


def group_name(schedule: Schedule, called: str) -> str:
    """The schedule's name of a case's vaccine group."""
    known = {group.name for group in schedule.groups}
    return called if called in known else case_groups().get(called, called)


def expected(case: Case) -> Answer:
    """What a case expects."""
    said = case.expected
    number = said.forecast_num if said.forecast_num and said.forecast_num.isdecimal() else None
    return Answer(
        said.series_status.lower(),
        int(number) if number else None,
        (said.earliest, said.recommended, said.past_due),
        tuple(dose.expected_status.lower() for dose in case.doses),
    )


def answers(schedule: Schedule, case: Case, group: str) -> tuple[Answer, list[Answer]]:
    """Ours for the case's group, risk before standard: the one that is compared, and the other one if any."""
    doses = [Dose(one.cvx, one.day, one.mvx, source_id=str(place)) for place, one in enumerate(case.doses)]
    found = forecast(
        schedule,
        Person(case.dob, GENDERS.get(case.gender, "unknown")),
        doses,
        [Observation(one.code, one.day) for one in case.observations],
        case.assessment_date,
    )
    judged = statuses(found, group)
    said = tuple(judged.get(dose, "not judged") for dose in doses)
    outcome = next((one for one in found.groups if one.vaccine_group == group), None)
    told = _forecasts(outcome, said)
    return told[0], told[1:]


def _forecasts(outcome: GroupOutcome | None, doses: tuple[str, ...]) -> list[Answer]:
    if outcome is None or not outcome.forecasts:
        return [Answer("no relevant series", None, (None, None, None), doses)]
    return [
        Answer(one.status.value, one.dose_number, (one.earliest, one.recommended, one.past_due), doses)
        for one in outcome.forecasts
    ]


def statuses(found: Forecast, group: str) -> dict[Dose, str]:
    """The status of each dose in the named group, or in its own group when it holds no antigen of that one."""
    judged: dict[Dose, str] = {}
    for outcome in sorted(found.groups, key=lambda one: one.vaccine_group == group):
        for dose in outcome.doses:
            if dose.status is not None:
                judged[dose.dose] = dose.status.value
    return judged


def agreement(wanted: Answer, got: Answer) -> Counter[str]:
    """What of two answers is equal."""
    status, dates = wanted.status == got.status, wanted.dates == got.dates
    number, doses = wanted.dose_number == got.dose_number, wanted.doses == got.doses
    return Counter(
        cases=1,
        agree=int(status and dates and number and doses),
        agree_forecast=int(status and dates and number),
        agree_dates=int(status and dates),
        agree_status=int(status),
        agree_doses=int(doses),
    )


def summary(report: dict[str, Any]) -> str:
    """The report for people, without the single cases."""
    said = report["schedule"]
    lines = [f"{said['publisher']} {said['version']}, effective {said['effective_from']}. {said['licence']}", ""]
    row = "{:<34}" + "{:>15}" * (1 + len(COUNTS))
    lines.append(row.format("", "cases", *COUNTS))
    for name, found in report["by_set"].items():
        lines.append(row.format(name, *found.values()))
        lines += [row.format(f"  {group}", *one.values()) for group, one in report["by_vaccine_group"][name].items()]
    ids = [one["case_id"] for one in report["disagreements"]]
    return "\n".join([*lines, "", f"{len(ids)} disagree: {', '.join(ids) or '-'}", ""])
