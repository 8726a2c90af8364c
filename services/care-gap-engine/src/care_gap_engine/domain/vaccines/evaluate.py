"""Evaluates the doses that were given against the targets of a series (chapter 6)."""

from collections.abc import Iterable

from care_gap_engine.domain.vaccines.days import Day, Watch, add
from care_gap_engine.domain.vaccines.model import AgeRule, Interval, Series, Target, Vaccine
from care_gap_engine.domain.vaccines.patient import Given, Patient
from care_gap_engine.domain.vaccines.progress import DoseStatus, Judgement, Progress, Reason
from care_gap_engine.domain.vaccines.skips import can_be_skipped


def evaluate_series(series: Series, patient: Patient, complete_groups: frozenset[str]) -> Progress:
    """Hold every dose of the antigen, in order, against the target that is next (4.4)."""
    progress = Progress(series, patient, patient.by_antigen.get(series.antigen, []), complete_groups)
    for given in progress.doses:
        target = next_target(progress, given)
        status, reason = judge(given, target, progress)
        progress.judgements[given] = Judgement(given, status, reason, target.number if target else None)
        record(given, target, status, reason, progress)
    return progress


def next_target(progress: Progress, given: Given) -> Target | None:
    """The first target that is neither satisfied nor skipped on the day of a dose (6.2)."""
    targets = progress.series.targets
    while progress.position < len(targets):
        target = targets[progress.position]
        if given.substandard or not can_be_skipped(target.skips_at_evaluation, progress, given.reference, given.day):
            return target
        progress.position += 1
    return None


def judge(given: Given, target: Target | None, progress: Progress) -> tuple[DoseStatus, Reason]:
    """The status of a dose against its target (6.1 to 6.10); the first reason found."""
    if given.substandard:
        return DoseStatus.SUBSTANDARD, Reason.SUBSTANDARD
    if target is None:
        return DoseStatus.EXTRANEOUS, Reason.SERIES_COMPLETE
    if given.cvx in target.inadvertent:
        return DoseStatus.NOT_VALID, Reason.INADVERTENT
    reason = age_reason(given, target, progress.patient)
    if reason is Reason.TOO_OLD:
        return DoseStatus.EXTRANEOUS, reason
    if reason is Reason.NONE and too_soon(given, target, progress):
        reason = Reason.TOO_SOON
    if reason is Reason.NONE and conflicts(given, progress):
        reason = Reason.CONFLICT
    if reason is not Reason.NONE:
        return DoseStatus.NOT_VALID, reason
    return product_status(given, target, progress.patient)


def record(given: Given, target: Target | None, status: DoseStatus, reason: Reason, progress: Progress) -> None:
    """Satisfy the target (6.10). A recurring target is followed by a copy of itself, so it stays."""
    if status is DoseStatus.VALID and target is not None:
        progress.valid.append(given)
        progress.satisfied[target.number] = given
        progress.previous = given
        progress.position += not target.recurring
    elif status is DoseStatus.NOT_VALID and reason is not Reason.INADVERTENT:
        progress.previous = given


def age_rule(target: Target, reference: Watch) -> AgeRule | None:
    """The age rule in force on a day; a target without one takes any age."""
    return next((rule for rule in target.ages if reference.within(*rule.effective)), None)


def age_reason(given: Given, target: Target, patient: Patient) -> Reason:
    """Evaluate age (6.4). The grace before the minimum age is in the schedule's absolute minimum."""
    rule = age_rule(target, given.reference)
    if rule is None:
        return Reason.NONE
    if rule.absolute_minimum is not None and given.day < patient.ages[rule.absolute_minimum]:
        return Reason.TOO_YOUNG
    if rule.maximum is not None and given.day >= patient.ages[rule.maximum]:
        return Reason.TOO_OLD
    return Reason.NONE


def too_soon(given: Given, target: Target, progress: Progress) -> bool:
    """Evaluate preferable and allowable intervals (6.5, 6.6): all of the first kind, else all of the second."""
    if not target.intervals:
        return False
    earlier = progress.patient.given[: progress.patient.given.index(given)]
    if _all_reached(target.intervals, given, progress, earlier):
        return False
    return not target.allowable_intervals or not _all_reached(target.allowable_intervals, given, progress, earlier)


def _all_reached(intervals: Iterable[Interval], given: Given, progress: Progress, earlier: list[Given]) -> bool:
    for interval in intervals_in_force(intervals, given.reference):
        start = interval_start(interval, progress, earlier)
        length = interval.absolute_minimum
        if start is not None and length is not None and given.day < add(start, length):
            return False
    return True


def intervals_in_force(intervals: Iterable[Interval], reference: Watch) -> list[Interval]:
    """The intervals that hold on a day."""
    return [interval for interval in intervals if reference.within(*interval.effective)]


def interval_start(interval: Interval, progress: Progress, earlier: list[Given]) -> Day | None:
    """The day from which an interval counts (CALCDTINT-1, -2, -8, -9); None when there is nothing to wait for."""
    start: Given | None = None
    if interval.from_previous:
        start = progress.previous
    elif interval.from_target is not None:
        start = progress.satisfied.get(interval.from_target)
    elif interval.from_most_recent:
        start = next((one for one in reversed(earlier) if one.cvx in interval.from_most_recent), None)
    elif interval.from_observation is not None:
        return progress.patient.observed_on(interval.from_observation)
    return start.day if start is not None else None


def conflicts(given: Given, progress: Progress) -> bool:
    """Evaluate vaccine conflict (6.7) with every earlier dose of any antigen.

    The shorter end holds after a dose that is valid here or is not judged in this series.
    """
    pairs = progress.patient.schedule.conflicts.get(given.cvx)
    if pairs is None:
        return False
    for earlier in progress.patient.given:
        pair = pairs.get(earlier.cvx) if earlier.day <= given.day and earlier is not given else None
        if pair is None or given.day < add(earlier.day, pair.begin):
            continue
        judged = progress.judgements.get(earlier)
        spared = judged is None or judged.status is DoseStatus.VALID
        if given.day < add(earlier.day, pair.minimum_end if spared else pair.end):
            return True
    return False


def product_status(given: Given, target: Target, patient: Patient) -> tuple[DoseStatus, Reason]:
    """Evaluate for a preferable, then for an allowable vaccine (6.8, 6.9). A low volume is told, never held against."""
    preferable = next((one for one in target.preferable if is_preferable(one, given, patient)), None)
    if preferable is not None:
        volume = given.dose.volume
        low = volume is not None and preferable.volume is not None and volume < preferable.volume
        return DoseStatus.VALID, Reason.LOW_VOLUME if low else Reason.NONE
    for one in target.allowable:
        if one.cvx == given.cvx and patient.ages.within(given.day, one.begin, one.end):
            return DoseStatus.VALID, Reason.NONE
    return DoseStatus.NOT_VALID, Reason.PRODUCT


def is_preferable(vaccine: Vaccine, given: Given, patient: Patient) -> bool:
    """Table 6-26: product, age, and the maker where the schedule names one."""
    return (
        vaccine.cvx == given.cvx
        and (vaccine.maker is None or vaccine.maker == given.dose.maker)
        and patient.ages.within(given.day, vaccine.begin, vaccine.end)
    )
