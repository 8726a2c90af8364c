"""Selects the patient series that tell what is due (chapter 8)."""

from collections.abc import Callable, Iterable, Sequence

from care_gap_engine.domain.vaccines.days import LAST_DAY, Day, add
from care_gap_engine.domain.vaccines.evaluate import age_rule
from care_gap_engine.domain.vaccines.forecast import PatientSeries, Status
from care_gap_engine.domain.vaccines.model import EVALUATION_ONLY, RISK
from care_gap_engine.domain.vaccines.progress import DoseStatus


def best_series(forecasts: Sequence[PatientSeries]) -> list[PatientSeries]:
    """The series of one antigen that count: none, one, or one of each series group that is needed."""
    groups: dict[str, list[PatientSeries]] = {}
    for one in forecasts:
        groups.setdefault(one.series.group, []).append(one)
    prioritized: dict[str, PatientSeries] = {}
    for name, members in groups.items():
        chosen = prioritized_series(members)
        if chosen is not None and may_start(chosen):
            prioritized[name] = chosen
    return [one for one in prioritized.values() if is_best(one, prioritized)]


def may_start(one: PatientSeries) -> bool:
    """A series for a later age says nothing yet, unless the person is in it already."""
    patient, age = one.progress.patient, one.series.min_age_to_start
    return age is None or bool(one.progress.valid) or patient.as_of.reached(patient.ages[age])


def is_best(one: PatientSeries, prioritized: dict[str, PatientSeries]) -> bool:
    """Determine best patient series (8.8, table 8-14)."""
    if one.is_complete:
        return True
    equivalent = [prioritized[name] for name in one.series.equivalent_groups if name in prioritized]
    if one.series.kind == EVALUATION_ONLY or any(other.is_complete for other in equivalent):
        return False
    return one.series.kind == RISK or not any(other.series.kind == RISK for other in equivalent)


def prioritized_series(members: Sequence[PatientSeries]) -> PatientSeries | None:
    """One series of a series group (8.1 to 8.7); None when none of them comes into question.

    Begun series that can no longer go on (too old, season over) are scored like those in process: most doses first.
    """
    scorable = scorable_series(members)
    default = next((one for one in members if one.series.default), None)
    if not scorable:
        return default
    if len(scorable) == 1:
        return scorable[0]
    complete = [one for one in scorable if one.is_complete]
    in_process = [one for one in scorable if is_in_process(one)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        return highest(complete, points_of_complete)
    if len(in_process) == 1:
        return in_process[0]
    if in_process:
        return highest(in_process, points_in_process)
    if any(one.progress.valid for one in scorable):
        return highest(scorable, points_in_process)
    return default or highest(scorable, points_without_doses)


def scorable_series(members: Sequence[PatientSeries]) -> list[PatientSeries]:
    """Pre-filter patient series (8.1, SELECTB-24 and SELECTSCORE-2)."""
    candidates = [one for one in members if not _is_contraindicated(one)] or list(members)
    highest_priority = min((one.series.priority for one in members if one.series.kind == RISK), default="")
    untouched = not any(one.progress.valid or one.series.default for one in members)
    return [one for one in candidates if _is_scorable(one, highest_priority, untouched)]


def _is_contraindicated(one: PatientSeries) -> bool:
    """Asked first of what is known of the antigen, so that a healthy person's series are not forecast for it."""
    return one.safety.warns and one.forecast.status is Status.CONTRAINDICATED


def _is_scorable(one: PatientSeries, highest_priority: str, untouched: bool) -> bool:
    if one.series.kind == RISK:
        return one.series.priority == highest_priority
    if one.series.kind == EVALUATION_ONLY:
        return one.is_complete
    return untouched or _started_in_time(one)


def _started_in_time(one: PatientSeries) -> bool:
    valid, age = one.progress.valid, one.series.max_age_to_start
    return bool(valid) and (age is None or valid[0].day < one.progress.patient.ages[age])


def is_in_process(one: PatientSeries) -> bool:
    """At least one target is satisfied, and more is to come (SELECTB-16)."""
    return one.forecast.status is Status.NOT_COMPLETE and bool(one.progress.valid)


Points = Callable[[Sequence[PatientSeries]], list[int]]


def highest(members: Sequence[PatientSeries], points: Points) -> PatientSeries:
    """Select prioritized patient series (8.7): the most points; ties go to the lower preference number."""
    scores = points(members)
    order = [(-score, one.series.preference) for score, one in zip(scores, members, strict=True)]
    return members[order.index(min(order))]


def points_of_complete(members: Sequence[PatientSeries]) -> list[int]:
    """Complete patient series (8.4)."""
    return leading([_valid(one) for one in members], 1)


def points_in_process(members: Sequence[PatientSeries]) -> list[int]:
    """In-process patient series (8.5, table 8-9)."""
    finishes = [finish_day(one) for one in members]
    completable = [is_completable(one, day) for one, day in zip(members, finishes, strict=True)]
    return added(
        [2 if one.series.product and _all_valid(one) else -2 for one in members],
        [3 if possible else -3 for possible in completable],
        leading([_valid(one) for one in members], 2),
        leading([-_missing(one) for one in members], 2),
        leading([-day if possible else -LAST_DAY for day, possible in zip(finishes, completable, strict=True)], 1),
    )


def points_without_doses(members: Sequence[PatientSeries]) -> list[int]:
    """No valid doses (8.6, table 8-11)."""
    return added(
        leading([-(one.forecast.start or LAST_DAY) for one in members], 1),
        [1 if is_completable(one, finish_day(one)) else -1 for one in members],
        [-1 if one.series.product else 1 for one in members],
    )


def leading(values: Sequence[int], points: int) -> list[int]:
    """Points for the highest value alone; nothing for those who share it; minus points for the others."""
    top = max(values)
    shared = values.count(top) > 1
    return [-points if value != top else 0 if shared else points for value in values]


def added(*columns: Iterable[int]) -> list[int]:
    """The sum of points of each series."""
    return [sum(row) for row in zip(*columns, strict=True)]


def finish_day(one: PatientSeries) -> Day:
    """SELECTB-12: the earliest day of the next dose plus the longest minimum interval of those after it."""
    earliest = one.forecast.earliest
    if earliest is None:
        return LAST_DAY
    later = (interval for target in one.series.targets[one.forecast.position + 1 :] for interval in target.intervals)
    days = [add(earliest, interval.minimum) for interval in later if interval.minimum is not None]
    return max([earliest, *days])


def is_completable(one: PatientSeries, finish: Day) -> bool:
    """SELECTB-3: it can be finished before the maximum age of its last target."""
    patient = one.progress.patient
    rule = age_rule(one.series.targets[-1], patient.as_of)
    return rule is None or rule.maximum is None or finish < patient.ages[rule.maximum]


def _valid(one: PatientSeries) -> int:
    return len(one.progress.valid)


def _missing(one: PatientSeries) -> int:
    """Targets that are not satisfied (SELECTB-5)."""
    return len(one.series.targets) - one.forecast.position


def _all_valid(one: PatientSeries) -> bool:
    """SELECTB-2: every dose of the antigen is valid in this series."""
    return all(judged.status is DoseStatus.VALID for judged in one.progress.judgements.values())
