"""The vaccine forecaster on one core: every routine vaccine group of a schedule for one person after the other."""

import json
import statistics
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from care_gap_engine import schedules
from care_gap_engine.domain.vaccines.forecaster import forecast
from care_gap_engine.domain.vaccines.model import STANDARD, Schedule
from care_gap_engine.domain.vaccines.patient import Dose, Person
from care_gap_engine.domain.vaccines.schedule import load_schedule
from careloop.paths import ROOT

OFFICIAL = ROOT.parent / "shared" / "immunization" / "schedule.json"
AGES_IN_MONTHS = (0, 2, 5, 8, 13, 20, 30, 50, 66, 90, 134, 140, 160, 194, 220, 300, 420, 620, 800, 960)
DELAYS_IN_DAYS = (0, 9, 60)
"""How late these people come for what is due: on time, a little late, badly late."""
MOST_VISITS = 80
SECONDS, ROUNDS = 3, 7
LIMIT_MS, GOAL_MS = 1.5, 0.5
Patient = tuple[Person, list[Dose]]


def routine_groups(schedule: Schedule) -> set[str]:
    """The vaccine groups that are recommended to people without any special risk."""
    return {
        series.vaccine_group
        for antigen in schedule.antigens.values()
        for series in antigen.series
        if series.kind == STANDARD
    }  # fmt: skip


def a_patient(schedule: Schedule, months: int, delay: int, as_of: date) -> Patient:
    """Somebody who got what the schedule asked for, each dose so many days late."""
    birth = as_of - timedelta(days=int(months * 30.44) + 3)
    person = Person(birth, "female" if months % 4 else "male")
    doses: list[Dose] = []
    groups = routine_groups(schedule)
    for _ in range(MOST_VISITS):
        found = forecast(schedule, person, doses, [], as_of, groups)
        due = [
            Dose(one.products[0].cvx, one.recommended + timedelta(days=delay), source="bench")
            for group in found.groups
            for one in group.forecasts[:1]
            if one.recommended and one.products and one.recommended + timedelta(days=delay) <= as_of
        ]
        if not due:
            break
        first = min(dose.given for dose in due if dose.given)
        doses += [dose for dose in due if dose.given == first]
    return person, doses


def measure(schedule: Schedule, patients: list[Patient], as_of: date) -> tuple[float, float]:
    """Milliseconds for one patient in one pass over all of them: of the processor, and by the clock on the wall."""
    groups = routine_groups(schedule)
    wall, processor = time.perf_counter(), time.process_time()
    for person, doses in patients:
        forecast(schedule, person, doses, [], as_of, groups)
    spent = time.process_time() - processor, time.perf_counter() - wall
    return spent[0] / len(patients) * 1000, spent[1] / len(patients) * 1000


def run(schedule_file: Path | None, out: Path | None) -> dict[str, Any]:
    """Measure by a schedule file, else by the CDC's beside this clone, else by the one that ships."""
    found = schedule_file or (OFFICIAL if OFFICIAL.exists() else None)
    schedule = load_schedule(found.name, found.read_bytes()) if found else schedules.demo()
    as_of = schedule.publication.effective_from
    patients = [a_patient(schedule, months, delay, as_of) for months in AGES_IN_MONTHS for delay in DELAYS_IN_DAYS]
    passes: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(passes) < ROUNDS or time.perf_counter() - began < SECONDS:
        passes.append(measure(schedule, patients, as_of))
    spent = statistics.median(processor for processor, _ in passes)
    figures = {
        "schedule": f"{schedule.publication.publisher} {schedule.publication.version}",
        "vaccine_groups": len(routine_groups(schedule)),
        "patients": len(patients),
        "doses_per_patient": round(sum(len(doses) for _, doses in patients) / len(patients), 1),
        "passes": len(passes),
        "ms_per_patient": round(spent, 3),
        "ms_per_patient_best": round(min(processor for processor, _ in passes), 3),
        "wall_ms_per_patient": round(statistics.median(wall for _, wall in passes), 3),
        "patients_per_s": round(1000 / spent),
        "within_limit": spent <= LIMIT_MS,
        "within_goal": spent <= GOAL_MS,
    }
    text = json.dumps(figures, indent=1)
    if out:
        out.write_text(text + "\n")
    print(text)
    return figures
