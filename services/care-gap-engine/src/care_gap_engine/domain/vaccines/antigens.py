"""Relevant patient series of one antigen, and the best of them (4.3 to 4.5 and chapter 5)."""

from dataclasses import dataclass

from care_gap_engine.domain.vaccines.contraindications import Safety, determine_safety
from care_gap_engine.domain.vaccines.days import Day
from care_gap_engine.domain.vaccines.evaluate import evaluate_series
from care_gap_engine.domain.vaccines.forecast import PatientSeries
from care_gap_engine.domain.vaccines.model import STANDARD, Antigen, Indication, Series
from care_gap_engine.domain.vaccines.patient import Given, Patient
from care_gap_engine.domain.vaccines.selection import best_series

NO_GROUPS: dict[str, Day] = {}


@dataclass(frozen=True, slots=True)
class AntigenOutcome:
    """What the series of one antigen come to for one person."""

    safety: Safety
    best: list[PatientSeries]


def judge_antigen(antigen: Antigen, patient: Patient) -> AntigenOutcome:
    """Evaluate every relevant series (4.4) and select among them (4.5)."""
    safety = determine_safety(antigen, patient)
    doses = patient.by_antigen.get(antigen.name, [])
    relevant = without_also_rans(relevant_series(antigen, patient), patient, doses)
    found = {
        series.name: PatientSeries(series, evaluate_series(series, patient, doses, NO_GROUPS), safety)
        for series in relevant
        if not series.asks_for_groups
    }
    if len(found) < len(relevant):
        complete = complete_groups(relevant, found)
        for series in relevant:
            if series.asks_for_groups:
                found[series.name] = PatientSeries(series, evaluate_series(series, patient, doses, complete), safety)
    return AntigenOutcome(safety, best_series([found[series.name] for series in relevant]))


def complete_groups(relevant: list[Series], found: dict[str, PatientSeries]) -> dict[str, Day]:
    """The series groups that are complete, of those that a condition "Completed Series" asks for (table 6-7).

    With the day of the dose that completed each first: an earlier dose was given to somebody who was not yet done.
    """
    asked = frozenset[str]().union(*(series.asks_for_groups for series in relevant))
    complete: dict[str, Day] = {}
    for one in found.values():
        if one.series.group in asked and one.is_complete:
            done = one.progress.valid[-1].day
            complete[one.series.group] = min(done, complete.get(one.series.group, done))
    return complete


def relevant_series(antigen: Antigen, patient: Patient) -> list[Series]:
    """Chapter 5: the gender fits, and a risk series has an indication that holds at the person's age."""
    found = {one.order: one for one in antigen.series_for_all if not one.genders or patient.gender in one.genders}
    for code in patient.observations if antigen.risk_series else ():
        for series in antigen.risk_series.get(code, ()):
            if series.order not in found and is_indicated(series, patient):
                found[series.order] = series
    return [found[order] for order in sorted(found)]


def without_also_rans(relevant: list[Series], patient: Patient, doses: list[Given]) -> list[Series]:
    """Leave out standard series that stand beside a default and that no dose can begin: none is selected (8.1, 8.2).

    Nothing comes of them but work, and they are most of the series. Where a series asks whether another is complete,
    all are kept: a series that was begun too late to be selected may be complete.
    """
    defaults = {one.group for one in relevant if one.default}
    if any(one.asks_for_groups for one in relevant):
        return relevant
    return [
        one
        for one in relevant
        if one.default or one.kind != STANDARD or one.group not in defaults or can_be_begun(one, patient, doses)
    ]


def can_be_begun(series: Series, patient: Patient, doses: list[Given]) -> bool:
    """Whether some dose may satisfy the first target, and does so before the maximum age to start."""
    if not doses:
        return False
    ages, earliest, latest = patient.ages, series.begins_at, series.max_age_to_start
    if earliest is not None and doses[-1].day < ages[earliest]:
        return False
    return latest is None or doses[0].day < ages[latest]


def is_indicated(series: Series, patient: Patient) -> bool:
    """Whether the gender fits and an observation holds, in its age range, on the as-of day (chapter 5)."""
    if series.genders and patient.gender not in series.genders:
        return False
    return any(patient.observed(one.observation) and at_age(one, patient) for one in series.indications)


def at_age(indication: Indication, patient: Patient) -> bool:
    """Whether the person is in an indication's age range on the as-of day."""
    ages = patient.ages
    begin = ages[indication.begin] if indication.begin else None
    return patient.as_of.within(begin, ages[indication.end] if indication.end else None)
