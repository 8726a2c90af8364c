"""Forecasts the next dose of a series: whether, when, and with what (chapter 7)."""

from dataclasses import dataclass
from enum import StrEnum

from care_gap_engine.domain.vaccines.contraindications import Safety
from care_gap_engine.domain.vaccines.days import LAST_DAY, Day, Watch, add
from care_gap_engine.domain.vaccines.evaluate import age_rule, in_force, interval_start
from care_gap_engine.domain.vaccines.model import AgeRule, Interval, Series, Target
from care_gap_engine.domain.vaccines.patient import Patient
from care_gap_engine.domain.vaccines.progress import Progress
from care_gap_engine.domain.vaccines.skips import find_skip


class Status(StrEnum):
    """Where a series or a vaccine group stands (3.2)."""

    COMPLETE = "complete"
    NOT_COMPLETE = "not complete"
    IMMUNE = "immune"
    CONTRAINDICATED = "contraindicated"
    AGED_OUT = "aged out"
    NOT_RECOMMENDED = "not recommended"


class Why(StrEnum):
    """The forecast reason (7.4)."""

    DUE = "a dose is needed"
    COMPLETE = "the series is complete"
    HISTORY = "not needed after what was given"
    IMMUNE = "evidence of immunity"
    CONTRAINDICATED = "a contraindication"
    SEASON_OVER = "the season is over"
    TOO_OLD = "past the maximum age"
    NO_TIME_LEFT = "the next dose cannot be given before the maximum age"


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """What is next in a series. Days are None where the schedule gives none.

    `position` is the place of the target in the series, or behind the last one. `start` is the earliest day as the
    schedule gives it; `earliest` is the day of birth where it gives none.
    """

    status: Status
    why: Why
    position: int
    target: Target | None = None
    dose_number: int | None = None
    start: Day | None = None
    earliest: Day | None = None
    recommended: Day | None = None
    past_due: Day | None = None
    latest: Day | None = None
    priority: bool = False


@dataclass(slots=True, eq=False)
class PatientSeries:
    """A relevant series of one person: the doses judged, and what is next as soon as it is asked for."""

    series: Series
    progress: Progress
    safety: Safety
    known: SeriesForecast | None = None

    @property
    def forecast(self) -> SeriesForecast:
        """Most series of a person are passed over by selection; only the others are worth the work."""
        if self.known is None:
            self.known = forecast_series(self.progress, self.safety)
        return self.known

    @property
    def is_complete(self) -> bool:
        """All targets are satisfied or skipped, and at least one is satisfied."""
        return self.forecast.status is Status.COMPLETE


def forecast_series(progress: Progress, safety: Safety) -> SeriesForecast:
    """Chapter 7 for the first target that is neither satisfied nor skipped; validated at its earliest day (7.6)."""
    targets, position = progress.series.targets, progress.position
    while position < len(targets):
        skips = targets[position].skips_at_forecast
        if skips and find_skip(skips, progress, progress.patient.as_of, LAST_DAY):
            position += 1
            continue
        found = forecast_target(progress, safety, position)
        if found.earliest is None or not skips:
            return found
        if find_skip(skips, progress, Watch(found.earliest), LAST_DAY) is None:
            return found
        position += 1
    if progress.valid:
        return SeriesForecast(Status.COMPLETE, Why.COMPLETE, position)
    return SeriesForecast(Status.NOT_RECOMMENDED, Why.HISTORY, position)


def forecast_target(progress: Progress, safety: Safety, position: int) -> SeriesForecast:
    """Determine forecast need (7.2 to 7.4, table 7-10), then generate dates (7.5)."""
    patient, target = progress.patient, progress.series.targets[position]
    if safety.immune:
        return SeriesForecast(Status.IMMUNE, Why.IMMUNE, position)
    if safety.forbids(progress.series):
        return SeriesForecast(Status.CONTRAINDICATED, Why.CONTRAINDICATED, position)
    if target.season_end is not None and patient.as_of.reached(target.season_end + 1):
        return SeriesForecast(Status.NOT_RECOMMENDED, Why.SEASON_OVER, position)
    rule = age_rule(target, patient.as_of)
    maximum = patient.ages[rule.maximum] if rule and rule.maximum else None
    if maximum is not None and patient.as_of.reached(maximum):
        return SeriesForecast(Status.AGED_OUT, Why.TOO_OLD, position)
    intervals = _started(target, progress)
    start = earliest_day(target, rule, intervals, progress)
    earliest = patient.ages.birth if start is None else start
    if maximum is not None and earliest >= maximum:
        return SeriesForecast(Status.AGED_OUT, Why.NO_TIME_LEFT, position)
    return SeriesForecast(
        Status.NOT_COMPLETE, Why.DUE, position, target,
        dose_number=dose_number(target, progress),
        start=start,
        earliest=earliest,
        recommended=recommended_day(earliest, rule, intervals, patient),
        past_due=past_due_day(earliest, rule, intervals, patient),
        latest=None if maximum is None else maximum - 1,
        priority=bool(target.intervals) and all(one.priority for one in target.intervals),
    )  # fmt: skip


def _started(target: Target, progress: Progress) -> list[tuple[Interval, Day]]:
    """The intervals in force that have something to count from, with its day."""
    found = []
    for interval in target.intervals:
        if not in_force(interval, progress.patient.as_of):
            continue
        start = interval_start(interval, progress, len(progress.patient.given))
        if start is not None:
            found.append((interval, start))
    return found


def earliest_day(
    target: Target, rule: AgeRule | None, intervals: list[tuple[Interval, Day]], progress: Progress
) -> Day | None:
    """FORECASTDTCAN-1: the latest of minimum age, minimum intervals, conflicts, season start and the last dose."""
    patient = progress.patient
    days = [add(start, one.minimum) for one, start in intervals if one.minimum]
    if rule and rule.minimum:
        days.append(patient.ages[rule.minimum])
    if target.season_start is not None:
        days.append(target.season_start)
    if progress.doses:
        days.append(progress.doses[-1].day)
    if patient.given:
        days.extend(conflict_ends(target, patient))
    return max(days, default=None)


def conflict_ends(target: Target, patient: Patient) -> list[Day]:
    """When earlier doses stop being in the way of the preferable products (6.7); a forecast uses no grace."""
    ends = []
    for vaccine in target.preferable:
        pairs = patient.schedule.conflicts.get(vaccine.cvx)
        if pairs:
            ends += [add(one.day, pairs[one.cvx].end) for one in patient.given if one.cvx in pairs]
    return ends


def recommended_day(
    earliest: Day, rule: AgeRule | None, intervals: list[tuple[Interval, Day]], patient: Patient
) -> Day:
    """FORECASTDT-2 and -5: by age, else by the longest interval, else the earliest day; never before that."""
    if rule and rule.earliest_recommended:
        return max(earliest, patient.ages[rule.earliest_recommended])
    days = [add(start, one.earliest_recommended) for one, start in intervals if one.earliest_recommended]
    return max([earliest, *days])


def past_due_day(
    earliest: Day, rule: AgeRule | None, intervals: list[tuple[Interval, Day]], patient: Patient
) -> Day | None:
    """FORECASTDT-3 and -6: the day before the latest recommended age or interval ends; None: never overdue."""
    if rule and rule.latest_recommended:
        return max(earliest, patient.ages[rule.latest_recommended] - 1)
    days = [add(start, one.latest_recommended) - 1 for one, start in intervals if one.latest_recommended]
    return max([earliest, *days]) if days else None


def dose_number(target: Target, progress: Progress) -> int:
    """FORECASTDN-1: one more than the doses that count; in a season, one more than those given since its start."""
    if target.season_start is None:
        return len(progress.valid) + 1
    return sum(1 for given in progress.valid if given.day >= target.season_start) + 1
