"""Relevant patient series of one antigen, evaluated and forecast, and the best of them (4.3 to 4.5 and chapter 5)."""

from dataclasses import dataclass

from care_gap_engine.domain.vaccines.contraindications import Safety, determine_safety
from care_gap_engine.domain.vaccines.evaluate import evaluate_series
from care_gap_engine.domain.vaccines.forecast import SeriesForecast, forecast_series
from care_gap_engine.domain.vaccines.model import RISK, Antigen, Indication, Series
from care_gap_engine.domain.vaccines.patient import Patient
from care_gap_engine.domain.vaccines.selection import best_series, is_complete


@dataclass(frozen=True, slots=True)
class AntigenOutcome:
    """What the series of one antigen come to for one person."""

    safety: Safety
    forecasts: tuple[SeriesForecast, ...]
    best: tuple[SeriesForecast, ...]


def judge_antigen(antigen: Antigen, patient: Patient) -> AntigenOutcome:
    """Evaluate and forecast every relevant series (4.4) and select among them (4.5).

    A series that asks whether another series group is complete comes after those that do not ask.
    """
    relevant = [one for one in antigen.series if is_relevant(one, patient)]
    safety = determine_safety(antigen, patient)
    found: dict[str, SeriesForecast] = {}
    complete: frozenset[str] = frozenset()
    for asking in (False, True):
        for series in relevant:
            if bool(series.asks_for_groups) is asking:
                found[series.name] = forecast_series(evaluate_series(series, patient, complete), safety)
        complete = frozenset(one.series.group for one in found.values() if is_complete(one))
    forecasts = tuple(found[series.name] for series in relevant)
    return AntigenOutcome(safety, forecasts, tuple(best_series(forecasts)))


def is_relevant(series: Series, patient: Patient) -> bool:
    """Chapter 5: the gender fits, and a risk series has an indication that holds at the person's age."""
    if series.genders and patient.gender not in series.genders:
        return False
    return series.kind != RISK or any(is_indicated(one, patient) for one in series.indications)


def is_indicated(indication: Indication, patient: Patient) -> bool:
    """Whether an indication's observation holds, in its age range, on the as-of day (table 5-3)."""
    return patient.observed(indication.observation) and at_age(indication, patient)


def at_age(indication: Indication, patient: Patient) -> bool:
    """Whether the person is in an indication's age range on the as-of day."""
    ages = patient.ages
    begin = ages[indication.begin] if indication.begin else None
    return patient.as_of.within(begin, ages[indication.end] if indication.end else None)
